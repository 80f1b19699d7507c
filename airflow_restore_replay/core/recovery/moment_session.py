"""One restore to a moment for a person, from the plan to the running server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cached_property

import msgspec

from airflow_restore_replay.core.archive.search.question import Question
from airflow_restore_replay.core.archive.search.search import Search
from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import BackupFault
from airflow_restore_replay.core.flavor.filenames import TableName
from airflow_restore_replay.core.flavor.quoting import joined
from airflow_restore_replay.core.jobs.context import Reporter
from airflow_restore_replay.core.recovery.moment.outline import MomentPlan
from airflow_restore_replay.core.recovery.moment.unfinished import RestoredToMoment
from airflow_restore_replay.core.recovery.moment.wanted import Wanted
from airflow_restore_replay.core.recovery.selection import entries_of
from airflow_restore_replay.core.recovery.session import RestoreSession, Wish
from airflow_restore_replay.core.recovery.to_moment import MomentRestore
from airflow_restore_replay.core.repository.repository import Repository

#: a transaction may be stamped by a clock that is behind that of the host that read the base's position
_MARGIN_S = 3600.0


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
        self._restored = False
        first = self.moment.plan.bases[0].backup
        super().__init__(cluster, repository, self.moment.catalog, first, wish, report, cancelled)

    def plan(self) -> MomentPlan:
        tables = [joined(table.schema, table.name) for table in self.tables]
        plan = self.moment.outline(self.wish.runs, tables)
        return msgspec.structs.replace(plan, findings=[*plan.findings, *self._examine_results()])

    @property
    def tables(self) -> list[TableName]:
        """Return the tables that are taken from the result.

        Before the replay, they are those of the newest base whose file list is sound, and those that the logs name;
        after it, those that are there: the logs make tables, rename them, and drop them.
        """
        return super().tables if self._restored else self._expected

    @cached_property
    def _expected(self) -> list[TableName]:
        if self.wish.only is None:
            return []
        for base in self.moment.plan.bases:
            self.begin_with(base.backup)
            with contextlib.suppress(BackupFault):
                return self.wish.only.expected(self.files, self.manifest, self._logged)
        return self.wish.only.expected(self.files, self.manifest, self._logged)

    def _logged(self, pattern: str) -> bool:
        """Return whether the archive has anything about a table since the base."""
        since = self.manifest.goal_read_at.timestamp() - _MARGIN_S
        question = Question(tables=(pattern,), since=since)
        self.report.phase("reading binary logs", detail=pattern)
        return bool(Search(self.moment.archive, self.server_flavor, question, most=1).run().found)

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
        self._restored = True
        if self.wish.only:
            files, whose = entries_of(self.wish.target), f"{restored.target} with {self.becomes}"
            self.chosen = self.wish.only.chosen(files, self.manifest, whose)
        return restored
