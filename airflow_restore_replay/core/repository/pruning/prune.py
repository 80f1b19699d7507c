"""Execute a plan of :mod:`.plan` under the run's lease."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath

from airflow_restore_replay.core.config.sections import Retention
from airflow_restore_replay.core.errors import ManifestCorrupt, PruneUnsafe, StoreDenied
from airflow_restore_replay.core.repository.format.records import (
    Condemned,
    Pruned,
    PruneRecord,
    new_id,
    utc_now,
)
from airflow_restore_replay.core.repository.objects.lease_objects import Doing
from airflow_restore_replay.core.repository.objects.record_store import manifest_path
from airflow_restore_replay.core.repository.pruning.credibility import MAX_SKEW_S
from airflow_restore_replay.core.repository.pruning.logs import LogPlan, LogRules, ReadRules, left_alone
from airflow_restore_replay.core.repository.pruning.plan import (
    PlannedDeletion,
    plan_prune,
    still_unreferenced,
)
from airflow_restore_replay.core.repository.pruning.retention import plan_retention
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.base import ObjectInfo
from airflow_restore_replay.core.system.parallel import run_bounded

log = logging.getLogger(__name__)

_BATCH = 200
_THREADS = 8
#: after this many denials without a success, the remaining objects are not tried
_ENOUGH_DENIALS = 10
#: the lease is renewed this often, and only checked in between
_RENEW_S = 30.0


@dataclass
class PruneReport:
    """Result of a prune.

    :param deleted: ids of the deleted backups.
    :param kept: number of backups that are left.
    :param condemned_bytes: stored bytes that are deleted after the grace period.
    :param freed_bytes: stored bytes that were deleted.
    :param missing: names of objects that backups need and that are gone.
    :param denied: object that the store refused to delete → its message; only the first ones.
    :param denied_count: number of objects whose deletion was refused or, after many refusals, not tried.
    :param withheld: why nothing, or no stored bytes, was deleted.
    :param doubtful: backup id → why its record cannot be true; such backups are kept.
    :param deleted_logs: kind of reason → number of records of the archive that were deleted.
    :param kept_logs: number of records of the archive that are left.
    :param unconfirmed_logs: name of a piece of the archive → why the one that should take its place does not; both are
        kept.
    """

    cluster: str
    deleted: list[str] = field(default_factory=list)
    kept: int = 0
    condemned_objects: int = 0
    condemned_bytes: int = 0
    freed_objects: int = 0
    freed_bytes: int = 0
    missing: list[str] = field(default_factory=list)
    denied: dict[str, str] = field(default_factory=dict)
    denied_count: int = 0
    withheld: str = ""
    doubtful: dict[str, str] = field(default_factory=dict)
    deleted_logs: dict[str, int] = field(default_factory=dict)
    kept_logs: int = 0
    unconfirmed_logs: dict[str, str] = field(default_factory=dict)

    @property
    def complaint(self) -> str:
        """Return a text about problems for a person; empty if there are none."""
        said = [f"Not everything could be pruned: {self.withheld}"] if self.withheld else []
        if self.denied_count:
            path, why = next(iter(self.denied.items()))
            said.append(
                f"{self.denied_count} objects could not be deleted: they are locked, or the credentials lack the "
                f"right to delete. First {path}: {why}"
            )
        for backup_id, why in self.doubtful.items():
            said.append(f"Backup {backup_id} is kept and not counted: {why}.")
        for path, why in list(self.unconfirmed_logs.items())[:1]:
            said.append(
                f"{len(self.unconfirmed_logs)} pieces of the archive are kept although they were merged: first {path}: "
                f"{why}."
            )
        if self.missing:
            said.append(
                f"{len(self.missing)} objects that backups need are gone; run `restore-replay verify`."
            )
        return " ".join(said)


def prune(
    repository: Repository,
    policy: Retention,
    *,
    run: str,
    epoch: int,
    timezone: str = "UTC",
    now: Callable[[], datetime] = utc_now,
    logs: ReadRules = left_alone,
) -> PruneReport:
    """Delete backups that retention does not keep, and stored bytes unreferenced for the grace period.

    The call may be interrupted at any point: what is left is unreferenced, and the next prune deletes it.

    :param run, epoch: must hold the cluster's lease, which is checked before each step.
    :param logs: reads the rules of the archive; without them, it is left as it is.
    :raises LeaseLost: another run has the lease.
    :raises PruneUnsafe: clocks disagree or a listing is not complete; see the message for what was deleted.
    """
    task = _Prune(repository, policy, run, epoch, timezone, now, logs)
    return task.run()


class _Prune:
    def __init__(
        self,
        repository: Repository,
        policy: Retention,
        run: str,
        epoch: int,
        timezone: str,
        now: Callable[[], datetime],
        logs: ReadRules,
    ) -> None:
        self._repository = repository
        self._policy = policy
        self._run = run
        self._epoch = epoch
        self._timezone = timezone
        self._now = now
        self._logs = logs
        self._renewed = 0.0
        self._report = PruneReport(repository.cluster)

    def run(self) -> PruneReport:
        report = self._report
        self._refuse_skew()
        plan = plan_prune(
            self._repository, self._policy, timezone=self._timezone, now=self._now(), logs=self._logs
        )
        report.withheld, report.missing, report.doubtful = plan.withheld, plan.missing, plan.doubtful
        self._delete_manifests(plan.delete, plan.rules)
        if plan.withheld:
            report.kept = len(plan.keep) + len(plan.delete) + len(plan.too_many) - len(report.deleted)
            return report
        self._delete_logs(plan.logs, plan.rules)
        self._hold()
        try:
            catalog, objects = still_unreferenced(self._repository, plan, [*plan.condemn, *plan.sweep])
        except ManifestCorrupt as exc:
            report.withheld = exc.message
            return report
        report.kept = len(catalog.manifests)
        unreferenced = {info.path for info in objects}
        self._condemn([info for info in plan.condemn if info.path in unreferenced])
        self._sweep([info for info in plan.sweep if info.path in unreferenced])
        self._forget(plan.spent)
        self._delete(plan.leftovers)
        return report

    def _refuse_skew(self) -> None:
        """Compare this host's clock with the store's, by the time of an object written now: a lease renewal.

        :raises PruneUnsafe: they differ too much.
        """
        lease = self._repository.lease
        lease.doing = Doing(step="prune")
        lease.renew(self._run, self._epoch, self._now)
        self._renewed = time.monotonic()
        skew_s = (lease.written_at(self._epoch) - self._now()).total_seconds()
        if abs(skew_s) > MAX_SKEW_S:
            raise PruneUnsafe(
                f"The clock of {self._repository.store.url} is {skew_s:+.0f} s off this host's; at most "
                f"{MAX_SKEW_S:.0f} s are allowed. Nothing was deleted.",
                hint="Set the clocks.",
            )

    def _hold(self) -> None:
        """Check the lease, and renew it if that is due.

        :raises LeaseLost: another run may write now.
        """
        if time.monotonic() - self._renewed > _RENEW_S:
            self._repository.lease.renew(self._run, self._epoch, self._now)
            self._renewed = time.monotonic()
        else:
            self._repository.lease.check(self._run, self._epoch)

    def _delete_manifests(self, doomed: Sequence[PlannedDeletion], rules: LogRules) -> None:
        """Delete manifests, the first step. Planning may take long, so retention is applied again before."""
        if not doomed:
            return
        again = plan_retention(
            self._repository.catalog(),
            self._policy,
            now=self._now(),
            timezone=self._timezone,
            needed=rules.needed,
        )
        doomed = [d for d in doomed if d.backup_id in again.delete]
        if not doomed:
            return
        self._hold()
        self._say_before(
            deleted=[
                Pruned(backup_id=d.backup_id, reason=d.reason, total_bytes=d.total_bytes) for d in doomed
            ]
        )
        for each in doomed:
            self._hold()
            if self._deleted(manifest_path(each.backup_id)):
                self._report.deleted.append(each.backup_id)
                log.info("Deleted backup %s: %s.", each.backup_id, each.reason)

    def _delete_logs(self, plan: LogPlan, rules: LogRules) -> None:
        """Delete records of the archive, before the parts that only they need."""
        self._report.kept_logs = plan.kept + len(plan.delete)
        doomed, self._report.unconfirmed_logs = rules.confirmed(plan.delete)
        if not doomed:
            return
        self._hold()
        self._say_before(logs=[each.info.path for each in doomed])
        gone = {info.path for info in self._delete([each.info for each in doomed])}
        self._report.deleted_logs = dict(Counter(each.why for each in doomed if each.info.path in gone))
        self._report.kept_logs -= len(gone)

    def _say_before(
        self, *, deleted: Sequence[Pruned] = (), spent: Sequence[str] = (), logs: Sequence[str] = ()
    ) -> None:
        """Record which records are about to be deleted, so that they are not reported as missing."""
        at = self._now()
        self._repository.record(
            PruneRecord(
                prune_id=new_id(at),
                at=at,
                cluster=self._repository.cluster,
                run=self._run,
                lease_epoch=self._epoch,
                deleted=list(deleted),
                spent=list(spent),
                logs=list(logs),
            )
        )

    def _forget(self, spent: Sequence[ObjectInfo]) -> None:
        """Delete records of condemned objects of which none is left."""
        if not spent:
            return
        self._hold()
        self._say_before(spent=[PurePosixPath(info.path).stem for info in spent])
        self._delete(spent)

    def _condemn(self, objects: Sequence[ObjectInfo]) -> None:
        """Condemn objects, the second step: from now on no writer references them."""
        if not objects:
            return
        self._hold()
        at = self._now()
        self._repository.record(
            Condemned(
                condemned_id=new_id(at),
                at=at,
                cluster=self._repository.cluster,
                run=self._run,
                lease_epoch=self._epoch,
                objects=sorted(info.path for info in objects),
            )
        )
        self._report.condemned_objects = len(objects)
        self._report.condemned_bytes = sum(info.size_bytes for info in objects)

    def _sweep(self, objects: Sequence[ObjectInfo]) -> None:
        """Delete objects that were condemned a grace period ago, the third step."""
        gone = self._delete(objects)
        self._report.freed_objects = len(gone)
        self._report.freed_bytes = sum(info.size_bytes for info in gone)

    def _delete(self, objects: Sequence[ObjectInfo]) -> list[ObjectInfo]:
        """Delete *objects*, and return those that are gone; denied ones are counted."""
        gone: list[ObjectInfo] = []
        start = 0
        while start < len(objects):
            if start >= _ENOUGH_DENIALS and not gone:
                self._report.denied_count += len(objects) - start
                break
            self._hold()
            # The first batch is small, to detect credentials without the right to delete by few requests.
            batch = objects[start : start + (_BATCH if start else _ENOUGH_DENIALS)]
            start += len(batch)
            results = run_bounded(batch, lambda info: self._try_delete(info.path), threads=_THREADS)
            gone += [info for info, denial in results if not self._note(info.path, denial)]
        return gone

    def _deleted(self, path: str) -> bool:
        return not self._note(path, self._try_delete(path))

    def _try_delete(self, path: str) -> str:
        """Delete an object, and return why the store refused; empty if the object is gone."""
        try:
            self._repository.store.delete(path)
        except StoreDenied as exc:
            return exc.message
        return ""

    def _note(self, path: str, denial: str) -> str:
        if denial:
            self._report.denied_count += 1
            if len(self._report.denied) < _ENOUGH_DENIALS:
                self._report.denied[path] = denial
        return denial
