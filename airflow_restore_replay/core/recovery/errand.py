"""A whole restore, as a person or a node's job asks for it: what is wanted, the steps, and what came of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.jobs.context import Reporter
from airflow_restore_replay.core.recovery.copy_server import Commands
from airflow_restore_replay.core.recovery.dumping import refuse_file
from airflow_restore_replay.core.recovery.moment.unfinished import RestoredToMoment
from airflow_restore_replay.core.recovery.moment.wanted import Wanted
from airflow_restore_replay.core.recovery.plan import Plan
from airflow_restore_replay.core.recovery.restore import Restored, choose_backup
from airflow_restore_replay.core.recovery.service import Served, serve
from airflow_restore_replay.core.recovery.session import RestoreSession, Wish, refuse_plan
from airflow_restore_replay.core.recovery.to_moment import restore_to_moment
from airflow_restore_replay.core.repository.format.records import BackupState
from airflow_restore_replay.core.repository.repository import Repository


@dataclass(frozen=True)
class Done:
    """What came of a restore.

    :param moment: the same as *restored*, if it was a restore to a moment.
    :param tables: that were restored; empty for all.
    :param commands: for the server of the copy.
    :param hints: for a person who starts it.
    """

    restored: Restored
    moment: RestoredToMoment | None
    state: BackupState
    tables: list[str]
    served: Served
    commands: Commands
    hints: list[str]


@dataclass
class Errand:
    """A restore of a backup, or to a moment, into the target of a wish.

    :param report: receives the progress.
    :param say: is told of a backup that failed, and that an older one is tried.
    """

    repository: Repository
    cluster: Cluster
    wish: Wish
    report: Reporter
    say: Callable[[str], None] = lambda line: None
    cancelled: Callable[[], bool] = lambda: False

    def session(self, backup_id: str | None, *, quarantined: bool = False) -> RestoreSession:
        """Return the restore of a backup.

        :param backup_id: None takes the newest healthy one.
        :raises NoSuchBackup: there is no such backup, or it is quarantined.
        """
        catalog = self.repository.catalog()
        backup = choose_backup(catalog, backup_id, allow_quarantined=quarantined)
        return RestoreSession(
            self.cluster, self.repository, catalog, backup, self.wish, self.report, self.cancelled
        )

    def plan(self, session: RestoreSession, *, dry_run: bool) -> Plan:
        """Return what a restore of the backup would do; raise if it cannot, unless *dry_run* shows that.

        :raises RestoreReplayError: the error that a finding about the target or this host names.
        """
        if not dry_run:
            session.take_over()
        plan = session.plan()
        if not dry_run:
            refuse_plan(plan)
        return plan

    def backup(self, session: RestoreSession, plan: Plan) -> Done:
        """Restore the backup that was planned, and let a server run on it as the wish says."""
        return self._done(session, session.restore(), plan.tables)

    def to_moment(self, wanted: Wanted) -> Done:
        """Restore to a moment, and let a server run on it as the wish says."""
        if self.wish.dump:
            refuse_file(self.wish.dump)
        reached = restore_to_moment(
            self.repository,
            self.cluster,
            wanted,
            self.wish.target,
            force=self.wish.force,
            report=self.report,
            say=self.say,
            cancelled=self.cancelled,
        )
        return self._done(self.session(reached.backup_id, quarantined=True), reached, [])

    def _done(self, session: RestoreSession, restored: Restored, tables: list[str]) -> Done:
        served = serve(session, restored) if self.wish.runs else Served()
        return Done(
            restored=restored,
            moment=restored if isinstance(restored, RestoredToMoment) else None,
            state=session.backup.state,
            tables=tables,
            served=served,
            commands=served.running.commands if served.running else session.commands(restored),
            hints=[*session.server_flavor.restore_hints(), *_ownership(self.wish.target)],
        )


def _ownership(target: Path) -> list[str]:
    """Return the hint about the files' owner."""
    if os.geteuid() != 0:
        return []
    return [f"The files belong to root; for the packaged service: chown -R mysql:mysql {target}"]
