"""Refuse directories in which another account could choose what is run or removed as a replay node."""

from __future__ import annotations

import os
from pathlib import Path

from airflow_restore_replay.core.errors import PreflightFailed
from airflow_restore_replay.core.system.files import is_own_directory, others_may_write


def refuse_shared(workdir: Path) -> None:
    """Raise if another account could rename what is in *workdir*.

    :raises PreflightFailed: it could.
    """
    if workdir.exists() and (how := others_may_write(workdir)):
        raise PreflightFailed(
            f"The work directory {workdir} is not safe: {how}.",
            hint=f"Make it the agent's own, for example by chmod go-w {workdir}.",
        )


def refuse_foreign(node: Path) -> None:
    """Raise if another account could have put something in the place of *node*, the directory of a node.

    :raises PreflightFailed: it, or the work directory, belongs to another account or may be written by one.
    """
    refuse_shared(node.parent)
    if os.path.lexists(node) and not is_own_directory(node):
        raise PreflightFailed(
            f"{node} is not this account's replay node: it is a link, belongs to another account, or may be "
            "written by others.",
            hint="Look at it, and remove it yourself if it is not needed.",
        )
