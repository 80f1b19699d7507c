"""Is a primary's history the continuation of a backup's? (being filled in)"""

from __future__ import annotations

from collections.abc import Sequence

from airflow_restore_replay.core.flavor.base import Endpoint, EventStamp
from airflow_restore_replay.core.flavor.mariadb.gtid import MariaDbPosition


def last_events(
    primary: Endpoint, position: MariaDbPosition, hints: Sequence[EventStamp] = ()
) -> list[EventStamp]:
    """Not yet: no stamps."""
    return []


def check_history(primary: Endpoint, position: MariaDbPosition, recorded: Sequence[EventStamp]) -> None:
    """Not yet: accepts."""
