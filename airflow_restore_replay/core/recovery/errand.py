"""A whole restore, as a person, a task or a node's job asks for it: what is wanted, the steps, the outcome."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.jobs.context import Reporter
from airflow_restore_replay.core.recovery.copy_server import Commands
from airflow_restore_replay.core.recovery.measurements import (
    PLAN,
    RESTORE,
    START_RESTORED,
    Clock,
    measurement,
)
from airflow_restore_replay.core.recovery.moment.unfinished import RestoredToMoment
from airflow_restore_replay.core.recovery.moment.wanted import Wanted
from airflow_restore_replay.core.recovery.moment_session import MomentSession
from airflow_restore_replay.core.recovery.plan import Plan
from airflow_restore_replay.core.recovery.restore import Restored, choose_backup
from airflow_restore_replay.core.recovery.service import Served, serve
from airflow_restore_replay.core.recovery.session import RestoreSession, Wish, refuse_plan
from airflow_restore_replay.core.repository.format.records import BackupState
from airflow_restore_replay.core.repository.repository import Repository


@dataclass(frozen=True)
class Done:
    """What came of a restore.

    :param moment: the same as *restored*, if it was a restore to a moment.
    :param tables: that were restored; empty for all.
    :param commands: for the server of the copy.
    :param hints: for a person who starts it.
    :param measured: what :func:`~airflow_restore_replay.core.recovery.measurements.record_restore` records; None if the
        restore does not count.
    """

    restored: Restored
    moment: RestoredToMoment | None
    state: BackupState
    tables: list[str]
    served: Served
    commands: Commands
    hints: list[str]
    measured: dict[str, Any] | None


@dataclass
class Errand:
    """A restore of a backup, or to a moment, into the target of a wish.

    :param report: receives the progress.
    :param wanted: the moment; None for a backup alone.
    :param backup_id: the backup; empty for the newest healthy one.
    :param quarantined: that one may be quarantined.
    :param kept: the target stays after the call.
    :param say: is told of a backup that failed, and that an older one is tried.
    """

    repository: Repository
    cluster: Cluster
    wish: Wish
    report: Reporter
    wanted: Wanted | None = None
    backup_id: str = ""
    quarantined: bool = False
    kept: bool = True
    say: Callable[[str], None] = lambda line: None
    cancelled: Callable[[], bool] = lambda: False

    @cached_property
    def session(self) -> RestoreSession:
        """Return the restore of what is wanted.

        :raises NoSuchBackup: there is no such backup, or it is quarantined.
        :raises MomentRefused, LogMissing, LogCorrupt: the archive does not lead to the moment.
        """
        if self.wanted:
            return MomentSession(
                self.cluster, self.repository, self.wanted, self.wish, self.report, self.say, self.cancelled
            )
        catalog = self.repository.catalog()
        backup = choose_backup(catalog, self.backup_id or None, allow_quarantined=self.quarantined)
        return RestoreSession(
            self.cluster, self.repository, catalog, backup, self.wish, self.report, self.cancelled
        )

    def plan(self) -> Plan:
        """Return what the restore would do, and what it would refuse as findings; nothing is written."""
        return self.session.plan()

    def run(self, confirm: Callable[[RestoreSession], None] = lambda session: None) -> Done:
        """Restore, and let a server run on it as the wish says; the same errand resumes.

        :param confirm: is asked, with everything examined, before anything is written; raises to refuse.
        :raises RestoreReplayError: the error that a finding about the target or this host names, and others.
        """
        clock, session = Clock(), self.session
        session.take_over()
        plan = session.plan()
        refuse_plan(plan)
        confirm(session)
        clock.passed(PLAN)
        restored = session.restore()
        clock.passed(RESTORE)
        served = serve(session, restored) if self.wish.runs else Served()
        clock.passed(START_RESTORED)
        return Done(
            restored=restored,
            moment=restored if isinstance(restored, RestoredToMoment) else None,
            state=session.backup.state,
            tables=plan.tables,
            served=served,
            commands=served.running.commands if served.running else session.commands(restored),
            hints=[*session.server_flavor.restore_hints(), *_ownership(self.wish.target)],
            measured=self._measured(restored, clock),
        )

    def _measured(self, restored: Restored, clock: Clock) -> dict[str, Any] | None:
        """Return what the restore of a whole server into a target that stays took; None for any other.

        A resumed restore does not count, because its calls were measured for themselves only.
        """
        wish = self.wish
        if not self.kept or wish.only or wish.in_place or restored.resumed:
            return None
        phases = {} if isinstance(restored, RestoredToMoment) else {PLAN: clock.seconds[PLAN]}
        if wish.copy and not (wish.dump or wish.into):
            phases[START_RESTORED] = clock.seconds[START_RESTORED]
        return measurement(restored, phases, clock.whole)


def _ownership(target: Path) -> list[str]:
    """Return the hint about the files' owner."""
    if os.geteuid() != 0:
        return []
    return [f"The files belong to root; for the packaged service: chown -R mysql:mysql {target}"]
