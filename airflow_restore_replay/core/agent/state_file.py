"""The state file of a job, which is replaced atomically and may be read at any time."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
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

log = logging.getLogger(__name__)


class StateFile:
    """The state file of one job.

    :param key: job key; the file is named by its hash, because keys contain slashes.
    """

    def __init__(self, node: NodeDir, key: str) -> None:
        self.stem = hashlib.sha256(key.encode()).hexdigest()[:24]
        self.path = node.jobs / f"{self.stem}.json"
        self.log_path: Path = node.jobs / f"{self.stem}.log"

    def read(self) -> JobState | None:
        """Return the state as written; None if there is no readable file."""
        return _read(self.path)

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


def job_states(node: NodeDir) -> Iterator[JobState]:
    """Yield the state of every job of *node*, as written."""
    for path in sorted(node.jobs.glob("*.json")):
        if (state := _read(path)) is not None:
            yield state


def running_job(node: NodeDir) -> JobState | None:
    """Return the job of *node* whose process runs; None if there is none."""
    states = (s for s in job_states(node) if s.status is JobStatus.RUNNING)
    return next((s for s in states if running(s.process)), None)


def _read(path: Path) -> JobState | None:
    """Read a state file; None if it is missing or unreadable, because a damaged file must not block its node."""
    try:
        return decode(path.read_bytes(), JobState)
    except FileNotFoundError:
        return None
    except (OSError, RecursionError, msgspec.MsgspecError) as exc:
        log.warning("The job state %s is unreadable and counts as missing: %s", path, exc)
        return None


def _dead(state: JobState) -> JobState:
    died = AgentDied(
        f"The process of job {state.job} is gone without a result (it was at: {state.progress.phase or 'start'}).",
        hint="Killed or rebooted; a retry continues with the state of the node.",
    )
    return msgspec.structs.replace(
        state, status=JobStatus.FAILED, failure=Failure.of(died), finished_at=utc_now()
    )
