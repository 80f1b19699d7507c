"""A whole cycle in one process, without Airflow: the same decisions, jobs and nodes as in the DAG."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from airflow_restore_replay.core.archive.retention import log_rules
from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.config.sections import primary_password
from airflow_restore_replay.core.cycle.report import CycleReport
from airflow_restore_replay.core.decisions.attempts import ATTEMPTS, FULL, PROVE, REPLAY
from airflow_restore_replay.core.decisions.choose import Choice, choose, choose_base
from airflow_restore_replay.core.decisions.diagnose import Diagnosis, Next, diagnose
from airflow_restore_replay.core.errors import (
    Blame,
    Circumstance,
    LeaseHeld,
    NoSuchBackup,
    RestoreReplayError,
)
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.jobs.protocol import (
    JobName,
    JobState,
    NodeHandle,
    RunRef,
    Secrets,
)
from airflow_restore_replay.core.repository.format.records import (
    BackupState,
    Manifest,
    Proof,
    Verdict,
    new_id,
    utc_now,
)
from airflow_restore_replay.core.repository.key_sources import read_repository_keys
from airflow_restore_replay.core.repository.pruning.prune import prune
from airflow_restore_replay.core.repository.quarantine import quarantine_shared
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.runtime.base import NO_ACCESS, NodeAccess, Runtime
from airflow_restore_replay.core.runtime.client import NodeClient
from airflow_restore_replay.core.runtime.images import release_needed
from airflow_restore_replay.core.runtime.nodes import create_node, job_request
from airflow_restore_replay.core.runtime.opening import get_runtime
from airflow_restore_replay.core.times import truncate_to_seconds

Report = Callable[[str, JobState | None], None]

#: how often a job is tried while the environment is to blame, before the run fails
_TRIES = 3
_RETRY_PAUSE_S = 2.0


def run_cycle(
    cluster: Cluster,
    *,
    force_full: bool = False,
    base_backup_id: str | None = None,
    as_of: datetime | None = None,
    run: str | None = None,
    report: Report = lambda step, state: None,
    secrets: Secrets | None = None,
    access: NodeAccess = NO_ACCESS,
    retries: int = _TRIES - 1,
) -> CycleReport:
    """Run one cycle: base → node → catch up → validate → snapshot → publish, with the fallback to a fresh full.

    :param as_of: rebuild the backup of this past time: replay from the newest base before it to the end of what the
        primary had logged by then. This never makes a fresh full, and no second backup as of the same time.
    :param run: owner of the lease, which no other run may share.
    :param report: called with the step's name and None when the step starts, and with its state while it runs.
    :param secrets: the primary's password, the store's credentials and encryption keys; by default they are read from
        the sources that the cluster file names.
    :param access: to the place where nodes live.
    :param retries: how often a job is retried after a failure of the environment.
    :returns: the report, also of a failed run: its failure is not raised.
    :raises Refused: the configuration does not allow a start.
    """
    started = time.monotonic()
    cycle = _Cycle(cluster, run or f"cli/{new_id()}", report, secrets, retries)
    cycle.runtime = get_runtime(cluster, access)
    cycle.report.as_of = truncate_to_seconds(as_of) if as_of else None
    try:
        cycle.run(force_full, base_backup_id)
    except RestoreReplayError as exc:
        cycle.report.failure = Failure.of(exc)
    cycle.report.seconds = round(time.monotonic() - started, 3)
    return cycle.report


class _Cycle:
    """One call of :func:`run_cycle`: lease, attempts, proof and pruning."""

    runtime: Runtime

    def __init__(
        self, cluster: Cluster, run: str, tell: Report, secrets: Secrets | None, retries: int
    ) -> None:
        self._cluster = cluster
        self._run = run
        self._tell = tell
        self._secrets = secrets or Secrets(
            primary_password=primary_password(cluster.primary),
            keys=read_repository_keys(cluster),
        )
        self._retries = retries
        self.report = CycleReport(cluster=cluster.name, run=run)

    def run(self, force_full: bool, base_backup_id: str | None) -> None:
        self._repository = Repository.of_cluster(
            self._cluster, credentials=self._secrets.store, keys=self._secrets.keys, write=True
        )
        epoch = self._acquire()
        try:
            self._attempts(epoch, force_full, base_backup_id)
            self._prove(epoch)
            self._prune(epoch)
        finally:
            self._repository.lease.release(self._run, epoch)

    def _acquire(self) -> int:
        deadline = time.monotonic() + self._cluster.lease.wait
        while True:
            try:
                return self._repository.lease.acquire(self._run, self._cluster.lease.ttl)
            except LeaseHeld:
                if time.monotonic() > deadline:
                    raise
                self._tell("waiting for the lease", None)
                time.sleep(min(2.0, self._cluster.lease.wait))

    def _attempts(self, epoch: int, force_full: bool, base_backup_id: str | None) -> None:
        choice = self._choose(force_full, base_backup_id)
        self._note(choice)
        if choice.existing:
            self.report.published_id = choice.existing.backup_id
            return
        if choice.base:
            self._replay(epoch, REPLAY, choice.base.manifest)
        self._go_on(epoch, self._diagnose(REPLAY, choice))

    def _diagnose(self, attempt: str, choice: Choice) -> Diagnosis:
        catalog = self._repository.catalog()
        # The attempt may have cleared a backup that an earlier one blamed.
        quarantined = {b.backup_id for b in catalog.backups if b.state is BackupState.QUARANTINED}
        self.report.quarantined = [b for b in self.report.quarantined if b in quarantined]
        diagnosis = diagnose(
            catalog,
            run=self._run,
            had_base=choice.base is not None,
            as_of=self.report.as_of,
            fallback=self._cluster.fallback,
            attempt=attempt,
        )
        self.report.diagnosis = f"{diagnosis.next}: {diagnosis.reason}"
        return diagnosis

    def _choose(self, force_full: bool, base_backup_id: str | None) -> Choice:
        return choose(
            self._repository.catalog(),
            run=self._run,
            as_of=self.report.as_of,
            force_full=force_full,
            base_backup_id=base_backup_id,
            full_every=self._cluster.full_every,
            now=utc_now(),
        )

    def _go_on(self, epoch: int, diagnosis: Diagnosis) -> None:
        if diagnosis.next is Next.PUBLISHED:
            # The backup exists once its manifest does, even if the job died before it reported that.
            mine = [m.backup_id for m in self._repository.catalog().manifests if m.run == self._run]
            self.report.published_id = self.report.published_id or mine[-1]
            self.report.failure = None
        elif diagnosis.next is Next.FAIL:
            raise self._why(diagnosis)
        else:
            if diagnosis.next is Next.QUARANTINE:
                self._quarantine(diagnosis.verdict)
            if diagnosis.attempt is None:
                raise self._why(diagnosis)
            self.report.failure = None
            self._fall_back(epoch, diagnosis.attempt)

    def _fall_back(self, epoch: int, attempt: str) -> None:
        choice = choose_base(self._repository.catalog()) if ATTEMPTS[attempt].restores else None
        if choice and choice.base:
            self._note(choice)
            self._replay(epoch, attempt, choice.base.manifest)
            self._go_on(epoch, self._diagnose(attempt, choice))
        else:
            self._attempt(epoch, FULL, None)

    def _prove(self, epoch: int) -> None:
        """Restore the new backup on a second node, without the primary, if the cluster has ``prove: restored``."""
        new = self._repository.catalog().backup(self.report.published_id)
        self.report.proof = new.proof.value
        if self._cluster.prove != "restored" or new.proof is Proof.RESTORED:
            return
        try:
            self._on_node(epoch, PROVE, new.manifest)
            self.report.proof = Proof.RESTORED.value
        except RestoreReplayError:
            self._quarantine(self._repository.catalog().evidence(self._run, PROVE))
            raise

    def _prune(self, epoch: int) -> None:
        """Prune by the cluster's retention; only a run that published its backup, and proved it if required, does."""
        self._tell("prune", None)
        cluster = self._cluster
        self.report.pruned = prune(
            self._repository,
            cluster.retention,
            run=self._run,
            epoch=epoch,
            timezone=cluster.timezone,
            logs=log_rules(cluster),
        )

    def _why(self, diagnosis: Diagnosis) -> RestoreReplayError:
        failure = self.report.failure or diagnosis.failure
        return failure.to_exception() if failure else Circumstance(diagnosis.reason)

    def _note(self, choice: Choice) -> None:
        self.report.base_id = choice.base.backup_id if choice.base else ""
        self.report.reason = choice.reason
        self.report.skipped = choice.skipped

    def _quarantine(self, verdict: Verdict | None) -> None:
        if verdict is None:
            return
        self.report.quarantined.append(verdict.backup_id)
        shared = quarantine_shared(self._repository, self._repository.catalog(), verdict)
        self.report.quarantined += [v.backup_id for v in shared]

    def _replay(self, epoch: int, attempt: str, base: Manifest) -> None:
        """Run an attempt from *base*; keep its failure, which is diagnosed from the recorded verdict."""
        try:
            self._attempt(epoch, attempt, base)
        except RestoreReplayError as exc:
            self.report.failure = Failure.of(exc)

    def _attempt(self, epoch: int, attempt: str, base: Manifest | None) -> None:
        """Fill a node from *base* or the primary, and publish a backup of it."""
        self.report.published_id = str(self._on_node(epoch, attempt, base)["backup_id"])

    def _on_node(self, epoch: int, attempt: str, base: Manifest | None) -> dict[str, Any]:
        """Run the attempt's jobs on a node of its own, which is always destroyed.

        :returns: result of the last job.
        """
        result: dict[str, Any] = {}
        run = RunRef(run=self._run, attempt=attempt, lease_epoch=epoch, as_of=self.report.as_of)
        release = release_needed(self._cluster, base, self._secrets)
        key = f"{self._run}/{attempt}"
        node = create_node(self.runtime, self._cluster, run, key=key, release=release)
        try:
            for job, params in self._jobs(attempt, base):
                result = self._job(node, run, job, params)
                self.report.steps[f"{attempt}.{job.value}"] = result
        finally:
            self.runtime.destroy(node)
        return result

    def _jobs(self, attempt: str, base: Manifest | None) -> Iterator[tuple[JobName, dict[str, Any]]]:
        plan = ATTEMPTS[attempt]
        alone: dict[str, Any] = {"standalone": True} if plan.standalone else {}
        filling = {"backup_id": base.backup_id} if base else {"method": self._cluster.seed.method}
        yield plan.fill, {**filling, **alone}
        yield from ((job, alone) for job in plan.then)

    def _job(self, node: NodeHandle, run: RunRef, job: JobName, params: dict[str, Any]) -> dict[str, Any]:
        step = f"{run.attempt}.{job.value}"
        client = NodeClient(self.runtime, node)
        request = job_request(
            self._cluster, run, job, key=f"{self._run}/{step}", params=params, secrets=self._secrets
        )
        self._tell(step, None)
        for tries_left in range(self._retries, -1, -1):
            try:
                client.submit(request)
                return client.wait(request.key, on_progress=lambda state: self._tell(step, state))
            except NoSuchBackup:
                raise
            except RestoreReplayError as exc:
                if exc.blame is not Blame.ENVIRONMENT or not exc.retryable or not tries_left:
                    raise
                time.sleep(_RETRY_PAUSE_S)
        raise AssertionError("unreachable")
