"""The process of a job: state file, progress, lease renewal, cancellation, verdict."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from types import FrameType
from typing import Any

import msgspec

from airflow_restore_replay.core.agent.registry import JOBS
from airflow_restore_replay.core.agent.state_file import StateFile
from airflow_restore_replay.core.errors import JobCancelled, LeaseLost, RestoreReplayError
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.jobs.context import JobContext, Reporter
from airflow_restore_replay.core.jobs.node import NodeDir
from airflow_restore_replay.core.jobs.protocol import (
    JobRequest,
    JobState,
    JobStatus,
    Progress,
    request_digest,
)
from airflow_restore_replay.core.jobs.verdicts import (
    is_evidence,
    judge_in_context,
    record_failure,
    record_success,
)
from airflow_restore_replay.core.repository.format.records import MAX_COUNT, utc_now
from airflow_restore_replay.core.repository.objects.lease_objects import Doing
from airflow_restore_replay.core.system.processes import identify

log = logging.getLogger(__name__)

#: least time between two renewals of which one only tells a new phase, and how often the phase is looked at
_TELL_S = 30.0
_LOOK_S = 5.0


class JobRunner:
    """Runner of one job, in this process.

    :param attempt_no: number of this submission of the key.
    """

    def __init__(self, node: NodeDir, request: JobRequest, *, attempt_no: int) -> None:
        self._file = StateFile(node, request.key)
        self._stop = threading.Event()
        self._lease_lost: LeaseLost | None = None
        self._writing = threading.Lock()
        self._state = JobState(
            key=request.key,
            job=request.job,
            status=JobStatus.RUNNING,
            attempt_no=attempt_no,
            process=identify(os.getpid()),
            started_at=utc_now(),
            request=request_digest(request),
        )
        self.ctx = JobContext(node, request, Reporter(self._on_progress), self._stop.is_set)

    def run(self) -> JobState:
        """Run the job to its end; the state file has the outcome before this returns."""
        # First of all, because the job can be cancelled once its state file shows that it runs.
        signal.signal(signal.SIGTERM, self._asked_to_stop)
        self._change()
        renewal = threading.Thread(target=self._renew_lease, name="lease", daemon=True)
        try:
            if not self._recovers:
                self._renew()
                renewal.start()
            result = JOBS[self.ctx.request.job](self.ctx)
            verdict_id = "" if self._recovers else record_success(self.ctx, result)
            self._change(
                status=JobStatus.SUCCEEDED, result=result, verdict_id=verdict_id, finished_at=utc_now()
            )
        except BaseException as exc:
            self._fail(self._lease_lost or exc)
        finally:
            self._stop.set()
        return self._state

    @property
    def _recovers(self) -> bool:
        """Return whether the job holds no lease, and records by itself what it finds."""
        return self.ctx.request.run.recovers

    def _asked_to_stop(self, _: int, __: FrameType | None) -> None:
        first = not self._stop.is_set()
        self._stop.set()
        if first and self._recovers:
            # Restores run the same code for a person, whose Ctrl-C it handles by ending the servers that it started.
            raise JobCancelled(f"Job {self.ctx.request.job} was cancelled.")

    def _fail(self, exc: BaseException) -> None:
        log.error("job %s failed", self.ctx.request.job, exc_info=exc)
        failure = Failure.of(exc)
        verdict_id = ""
        if self._recovers:
            self._change(status=JobStatus.FAILED, failure=failure, finished_at=utc_now())
            return
        try:
            judgement = judge_in_context(self.ctx, exc)
            failure = judgement.failure
            if not isinstance(exc, JobCancelled | LeaseLost):
                verdict_id = record_failure(self.ctx, judgement)
        except Exception as second:
            log.exception("the verdict could not be recorded")
            # A verdict that was not recorded decides nothing, so the run must not continue as if it were recorded.
            if is_evidence(exc):
                failure = Failure.of(second)
        self._change(status=JobStatus.FAILED, failure=failure, verdict_id=verdict_id, finished_at=utc_now())

    def _on_progress(self, progress: Progress) -> None:
        # A failed write of the state file must not end a job that could still finish.
        with contextlib.suppress(OSError):
            self._change(progress=progress)

    def _change(self, **changes: Any) -> None:
        with self._writing:
            self._state = msgspec.structs.replace(self._state, **changes)
            self._file.write(self._state)

    def _renew_lease(self) -> None:
        """Renew the run's lease while the job runs; stop the job if the lease is lost."""
        interval_s = self.ctx.cluster.lease.ttl / 4
        renewed, told = time.monotonic(), ""
        while not self._stop.wait(max(0.0, min(_LOOK_S, renewed + interval_s - time.monotonic()))):
            since_s, phase = time.monotonic() - renewed, self._state.progress.phase
            if since_s < interval_s and (phase == told or since_s < _TELL_S):
                continue
            renewed, told = time.monotonic(), phase
            try:
                self._renew()
            except LeaseLost as exc:
                self._lease_lost = exc
                self._stop.set()
            except RestoreReplayError as exc:
                log.warning("lease not renewed, trying again: %s", exc)

    def _renew(self) -> None:
        """Renew the lease, and tell with it what the job is doing."""
        run, progress, lease = self.ctx.request.run, self._state.progress, self.ctx.repository.lease
        lease.doing = Doing(
            step=f"{run.attempt}.{self.ctx.request.job.value}",
            phase=progress.phase,
            done=min(progress.done, MAX_COUNT),
            total=min(progress.total, MAX_COUNT),
            unit=progress.unit,
            rate_per_s=round(progress.rate_per_s, 1),
            eta_s=None if progress.eta_s is None else round(progress.eta_s, 1),
        )
        lease.renew(run.run, run.lease_epoch)
