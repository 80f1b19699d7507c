"""One restore to a moment for a person, from the plan to the running server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import BackupFault
from airflow_restore_replay.core.jobs.context import Reporter
from airflow_restore_replay.core.recovery.moment.outline import MomentPlan
from airflow_restore_replay.core.recovery.moment.unfinished import RestoredToMoment
from airflow_restore_replay.core.recovery.moment.wanted import Wanted
from airflow_restore_replay.core.recovery.plan import named
from airflow_restore_replay.core.recovery.selection import Chosen
from airflow_restore_replay.core.recovery.session import RestoreSession, Wish
from airflow_restore_replay.core.recovery.to_moment import MomentRestore
from airflow_restore_replay.core.repository.repository import Repository


class MomentSession(RestoreSession):
    """A restore to a moment; its backup is the one that it begins with.

    :param say: tells a person what they must not overlook.
    :raises MomentRefused, LogMissing, LogCorrupt: see :attr:`MomentRestore.plan`.
    """

    def __init__(
        self,
        cluster: Cluster,
        repository: Repository,
        wanted: Wanted,
        wish: Wish,
        report: Reporter,
        say: Callable[[str], None],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self.moment = MomentRestore(
            repository,
            cluster,
            wanted,
            wish.target,
            force=wish.force,
            in_place=wish.in_place,
            report=report,
            say=say,
            cancelled=cancelled,
        )
        first = self.moment.plan.bases[0].backup
        super().__init__(cluster, repository, self.moment.catalog, first, wish, report, cancelled)

    def plan(self) -> MomentPlan:
        tables = named(self._readable()) if self.wish.only else []
        plan = self.moment.outline(self.wish.runs, tables)
        return msgspec.structs.replace(plan, findings=[*plan.findings, *self._examine_results()])

    def _readable(self) -> Chosen:
        """Return what is chosen of the newest base whose file list is sound; the restore itself falls back, too."""
        for base in self.moment.plan.bases:
            self.begin_with(base.backup)
            with contextlib.suppress(BackupFault):
                return self.chosen
        return self.chosen

    @property
    def becomes(self) -> str:
        return f"the data {self.moment.wanted}"

    @property
    def keeps_old(self) -> bool:
        return self.moment.keeps_old

    def take_over(self) -> None:
        """Do nothing: an interrupted call has no server on the target, and its others are ended by the restore."""

    def restore(self) -> RestoredToMoment:
        """Restore; resumes an interrupted restore to the same moment."""
        restored = self.moment.run()
        self.begin_with(self.catalog.backup(restored.backup_id))
        return restored
