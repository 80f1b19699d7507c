"""The state file of a job, which is replaced atomically and may be read at any time."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import msgspec

from airflow_restore_replay.core.decoding import decode, encode
from airflow_restore_replay.core.errors import AgentDied
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.jobs.node import NodeDir
from airflow_restore_replay.core.jobs.protocol import JobState, JobStatus
from airflow_restore_replay.core.repository.format.records import utc_now
from airflow_restore_replay.core.system.files import replace_file
from airflow_restore_replay.core.system.processes import running


class StateFile:
    """The state file of one job.

    :param key: job key; the file is named by its hash, because keys contain slashes.
    """

    def __init__(self, node: NodeDir, key: str) -> None:
        self.stem = hashlib.sha256(key.encode()).hexdigest()[:24]
        self.path = node.jobs / f"{self.stem}.json"
        self.log_path: Path = node.jobs / f"{self.stem}.log"

    def read(self) -> JobState | None:
        """Return the state as written; None if there is no file, or none that can be read."""
        with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError):
            return decode(self.path.read_bytes(), JobState)
        return None

    def observe(self) -> JobState | None:
        """Return the state; a running job whose process has ended counts as failed with :class:`AgentDied`."""
        state = self.read()
        if state is None or state.status is not JobStatus.RUNNING or running(state.process):
            return state
        # The job may have finished after its state was read and before its process was looked up.
        state = self.read() or state
        return state if state.status is not JobStatus.RUNNING else _dead(state)

    def write(self, state: JobState) -> None:
        replace_file(self.path, encode(state), mode=0o400)


def _dead(state: JobState) -> JobState:
    died = AgentDied(
        f"The process of job {state.job} is gone without a result (it was at: {state.progress.phase or 'start'}).",
        hint="Killed or rebooted; a retry goes on from what the node has.",
    )
    return msgspec.structs.replace(
        state, status=JobStatus.FAILED, failure=Failure.of(died), finished_at=utc_now()
    )
