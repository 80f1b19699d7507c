"""The agent's jobs by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_restore_replay.core.jobs.catch_up import catch_up
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.jobs.fill import restore, seed
from airflow_restore_replay.core.jobs.protocol import JobName
from airflow_restore_replay.core.jobs.snapshot import snapshot
from airflow_restore_replay.core.jobs.validate import validate
from airflow_restore_replay.core.recovery.jobs import drill_here, recover_here

JOBS: dict[JobName, Callable[[JobContext], dict[str, Any]]] = {
    JobName.RESTORE: restore,
    JobName.SEED: seed,
    JobName.CATCH_UP: catch_up,
    JobName.VALIDATE: validate,
    JobName.SNAPSHOT: snapshot,
    JobName.RECOVER: recover_here,
    JobName.DRILL: drill_here,
}
