"""Seeds, as far as they need no server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from airflow_restore_replay.core.errors import JobCancelled
from airflow_restore_replay.core.jobs.seed.logical import _await_no_xa


def test_a_seed_that_is_cancelled_while_it_waits_for_xa_says_so() -> None:
    """It said that the wait was over, which a retry would have taken for the primary's trouble."""
    tools = cast(Any, SimpleNamespace(prepared=lambda conn: 1))
    with pytest.raises(JobCancelled):
        _await_no_xa(tools, cast(Any, None), lambda: True)
