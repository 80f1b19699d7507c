"""Restore to a moment: a backup, and on it the archived binary logs up to there; without the primary, resumable.

All files are in the target's own file system until the end::

    <target>/.restore-replay/
        moment.json   what is restored: the goal is found once
        nodes/        one node, as a cycle has it: the restored backup, which replays
        logs/         archived files that were fetched ahead
        serving/      the server that serves them to the node

Then the node's data directory takes the place of this directory, and in a restore in place that of the old state.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import (
    BackupFault,
    Blame,
    MomentRefused,
    NodeServerCrashed,
    NotReplayable,
    ReplayConflict,
    RestoreReplayError,
    Stranded,
)
from airflow_restore_replay.core.flavor.findings import refuse
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.jobs.context import Reporter
from airflow_restore_replay.core.recovery import in_place
from airflow_restore_replay.core.recovery.copy_server import CopyRequest
from airflow_restore_replay.core.recovery.measurements import PLAN
from airflow_restore_replay.core.recovery.moment.goal import refuse_other_history
from airflow_restore_replay.core.recovery.moment.guard import end_servers, guarded
from airflow_restore_replay.core.recovery.moment.outline import MomentPlan, outline, replay_bytes
from airflow_restore_replay.core.recovery.moment.placing import put_in_place
from airflow_restore_replay.core.recovery.moment.plan import Base, Plan, bases_for, plan
from airflow_restore_replay.core.recovery.moment.replayed_node import ReplayedNode
from airflow_restore_replay.core.recovery.moment.unfinished import RestoredToMoment, State, Unfinished
from airflow_restore_replay.core.recovery.moment.wanted import Wanted
from airflow_restore_replay.core.recovery.preflight import Needs, held_bytes
from airflow_restore_replay.core.recovery.restore import event_statements, option_file_at
from airflow_restore_replay.core.recovery.target_dir import held as held_target
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import FileEntry, utc_now
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.system.beneath import Beneath


class MomentRestore:
    """A restore to a moment into the data directory *target*; :attr:`plan` is what it does.

    :param force: replace the content of *target*; by default, *target* must be empty or hold an interrupted restore to
        the same moment.
    :param in_place: *target* is a broken data directory: what is right in it is not fetched, and it stays until the new
        state is whole, if there is room.
    :param checked: run the checks that need no primary, before the server is stopped.
    :param failed: called with each backup that an older one takes the place of, or that no other can replace.
    :param say: tells a person what they must not overlook.
    """

    def __init__(
        self,
        repository: Repository,
        cluster: Cluster,
        wanted: Wanted,
        target: Path,
        *,
        force: bool = False,
        in_place: bool = False,
        checked: bool = False,
        failed: Callable[[str, RestoreReplayError], None] = lambda backup_id, exc: None,
        report: Reporter,
        say: Callable[[str], None] = lambda line: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self.repository = repository
        self.cluster = cluster
        self.wanted = wanted
        self.target = target
        self.force = force
        self.in_place = in_place
        self.unfinished = Unfinished(target)
        self.scratch = self.unfinished.path
        self.report = report
        self.say = say
        self.cancelled = cancelled
        self.checked = checked
        self.failed = failed
        self.flavor = get_flavor(cluster.flavor)
        self.started = time.monotonic()

    @cached_property
    def catalog(self) -> Catalog:
        return self.repository.catalog()

    @cached_property
    def archive(self) -> Archive:
        return Archive.read(self.repository)

    @cached_property
    def resumed(self) -> State | None:
        """Return the state of the interrupted restore that is resumed, if there is one."""
        if self.force:
            return None
        return self.unfinished.of(self.wanted, self.cluster.name, in_place=self.in_place)

    @cached_property
    def plan(self) -> Plan:
        """Return the goal and the backups from which the archive leads there; nothing is written.

        :raises MomentRefused: the archive does not lead there.
        :raises LogMissing, LogCorrupt: a file of the archive is damaged; the message names it, and what is reachable.
        """
        self.report.phase("reading the catalog and the archive")
        if state := self.resumed:
            goal = self.flavor.parse_position(state.goal)
            found = state.plan(
                self.flavor, bases_for(self.catalog, self.archive, self.flavor, goal, state.asked_at)
            )
            if not found.bases:
                raise MomentRefused(
                    f"No backup is left that leads to {state.goal}: {state.failed}.",
                    hint="Restore to another moment.",
                )
            return found
        zone = self.cluster.timezone
        return plan(self.catalog, self.archive, self.flavor, self.wanted, timezone=zone, now=utc_now())

    def outline(self, copy: CopyRequest | None = None, tables: Sequence[str] = ()) -> MomentPlan:
        """Return what carrying out the plan does, and what the target and this host are like; nothing is written.

        :param copy: how a server runs on the result; None if none does.
        :param tables: that are taken from the result; empty for all.
        """
        return outline(self.plan, self.catalog, self._needs(copy), tables)

    def examine(self) -> None:
        """Examine target and host; nothing is written.

        :raises MomentRefused, LogMissing, LogCorrupt: see :attr:`plan`.
        :raises PreflightFailed: or a more specific error, about target or host.
        """
        refuse(self.outline().findings, seeding=False, what="a restore")

    @property
    def missing_bytes(self) -> int:
        """Return the bytes that the target's file system must still have room for."""
        return max(0, self._needs().disk_bytes - held_bytes(self.target))

    @property
    def keeps_old(self) -> bool:
        """Return whether a restore in place has room to keep the old state until the new one is whole."""
        return in_place.keeps_old(self.target, self._needs().disk_bytes)

    def _needs(self, copy: CopyRequest | None = None) -> Needs:
        newest = self.plan.bases[0]
        return Needs(
            cluster=self.cluster,
            manifest=newest.backup.manifest,
            target=self.target,
            size_bytes=newest.backup.manifest.sizes.restored_bytes,
            examine_target=self._examine_target,
            copy=copy,
            replay_bytes=replay_bytes(newest, self.flavor),
        )

    def _examine_target(self) -> None:
        if self.in_place:
            in_place.examine(self.target, self.wanted.words, self._files(), to_moment=True)
        self.unfinished.refuse_other(self.wanted, self.cluster.name, force=self.force, in_place=self.in_place)

    def _files(self) -> list[FileEntry]:
        """Return the files of the newest base whose list can be read."""
        for base in self.plan.bases:
            with contextlib.suppress(BackupFault):
                return self.repository.load_files(base.backup.manifest)
        return []

    def run(self) -> RestoredToMoment:
        """Restore; resumes an interrupted restore to the same moment.

        :raises MomentRefused: the archive does not lead there; nothing was written.
        :raises TargetNotEmpty: *target* has content, a server runs on it, or another restore does.
        :raises LogMissing, LogCorrupt: a file of the archive is damaged; the message names it, and what is reachable.
        """
        self.examine()
        state = self.resumed or State.of(self.cluster.name, self.plan, in_place=self.in_place)
        plan_seconds = round(time.monotonic() - self.started, 3)
        with contextlib.closing(held_target(self.target)) as held, self.unfinished.alone():
            if self.force:
                end_servers(self.scratch)
                self.unfinished.empty()
            self.unfinished.save(state)
            if state.result is None:
                with guarded(self.scratch):
                    node = self._replayed(held, state)
                state.result = self._finish(held, state, node, plan_seconds)
                self.unfinished.save(state)
            self.unfinished.remove()
            return state.result

    def _replayed(self, held: Beneath, state: State) -> ReplayedNode:
        """Return the stopped node that has replayed, from the newest backup that can."""
        node = ReplayedNode(
            self.repository,
            self.cluster,
            self.archive,
            self.scratch,
            self.plan.goal,
            report=self.report,
            cancelled=self.cancelled,
            checked=self.checked,
            older=in_place.old_state(held, self._needs().disk_bytes) if self.in_place else None,
        )
        if node.stopped:
            return node
        if self.in_place:
            in_place.begin(held, self.wanted.words)
        failure: RestoreReplayError | None = None
        for base in self.plan.bases:
            state.backup_id = base.backup.backup_id
            self.unfinished.save(state)
            try:
                refuse_other_history(self.archive, self.flavor, base.backup.manifest, base.legs)
                _replay_twice(node, base, self.say)
                return node
            except (BackupFault, Stranded, NodeServerCrashed) as exc:
                if exc.blame is Blame.ENVIRONMENT and not isinstance(exc, NodeServerCrashed):
                    raise
                failure = exc
            self.failed(state.backup_id, failure)
            state.failed[state.backup_id] = f"{failure.code}: {failure.message}"
            self.unfinished.save(state)
            self.say(f"Backup {state.backup_id} FAILED, and an older one is tried: {failure.message}")
        assert failure is not None, "a plan has a base"
        raise failure

    def _finish(
        self, held: Beneath, state: State, node: ReplayedNode, plan_seconds: float
    ) -> RestoredToMoment:
        """Let the data take the place of the directory of this restore, and of an old state."""
        self.report.phase("putting the data in place")
        reached = node.directory.load()
        manifest = self.repository.load_manifest(state.backup_id)
        with node.measured.phase("move"):
            data, excluded = node.directory.data, self.flavor.excluded_files
            put_in_place(held, data, manifest, excluded, over=self.wanted.words if self.in_place else "")
        events = reached.facts.event_states
        states = {name: manifest.event_states[name] for name in events if name in manifest.event_states}
        measured = node.measured
        return RestoredToMoment(
            backup_id=state.backup_id,
            wanted=str(state.wanted),
            position=reached.position,
            target=str(self.target),
            bytes=measured.bytes,
            fetched_bytes=measured.fetched_bytes,
            seconds=round(time.monotonic() - self.started, 3),
            resumed=self.resumed is not None,
            option_file=option_file_at(self.target, manifest),
            event_sql=tuple(event_statements(states)),
            at=state.at,
            next_gtid=state.next_gtid,
            next_stamped=state.next_stamped,
            files=measured.files,
            log_bytes=measured.log_bytes,
            transactions=measured.transactions,
            phases={PLAN: plan_seconds, **measured.phases},
            fell_back=state.failed,
            new_events=tuple(sorted(events.keys() - manifest.event_states.keys())),
            damaged=tuple(state.damaged),
        )


def _replay_twice(node: ReplayedNode, base: Base, say: Callable[[str], None]) -> None:
    """Replay; after a conflict or a crash once more from a fresh restore, with one applier, as a cycle does."""
    try:
        node.replay(base, single_applier=False)
    except (ReplayConflict, NodeServerCrashed, NotReplayable) as exc:
        say(f"Backup {base.backup.backup_id} is restored again, and replayed by one applier: {exc.message}")
        node.replay(base, single_applier=True)
