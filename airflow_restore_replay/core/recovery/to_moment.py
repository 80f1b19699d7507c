"""Restore to a moment: a backup, and on it the archived binary logs up to there; without the primary, resumable.

All files are in the target's own file system until the end::

    <target>/.restore-replay/
        moment.json   what is restored: the goal is found once
        nodes/        one node, as a cycle has it: the restored backup, which replays
        logs/         archived files that were fetched ahead
        serving/      the server that serves them to the node

Then the node's data directory takes the place of this directory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.pieces import PieceStore
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
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.values import Position, ServerLayout
from airflow_restore_replay.core.jobs.context import Reporter
from airflow_restore_replay.core.recovery.moment.goal import refuse_other_history
from airflow_restore_replay.core.recovery.moment.guard import end_servers, guarded
from airflow_restore_replay.core.recovery.moment.plan import Base, bases_for, plan
from airflow_restore_replay.core.recovery.moment.replayed_node import MOST_AHEAD_BYTES, ReplayedNode
from airflow_restore_replay.core.recovery.moment.unfinished import RestoredToMoment, State, Unfinished
from airflow_restore_replay.core.recovery.moment.wanted import Wanted
from airflow_restore_replay.core.recovery.restore import event_statements, option_file_at, write_option_file
from airflow_restore_replay.core.recovery.target_dir import held as held_target
from airflow_restore_replay.core.repository.format.records import utc_now
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.transfer.walk import matches
from airflow_restore_replay.core.system.beneath import Beneath
from airflow_restore_replay.core.system.files import (
    allocated_bytes,
    fsync_directory,
    require_space,
)


def restore_to_moment(
    repository: Repository,
    cluster: Cluster,
    wanted: Wanted,
    target: Path,
    *,
    force: bool = False,
    checked: bool = False,
    failed: Callable[[str, RestoreReplayError], None] = lambda backup_id, exc: None,
    report: Reporter,
    say: Callable[[str], None] = lambda line: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> RestoredToMoment:
    """Restore the data as it was at a moment into the data directory *target*.

    :param force: replace the content of *target*; by default, *target* must be empty or hold an interrupted restore to
        the same moment.
    :param checked: run the checks that need no primary, before the server is stopped.
    :param failed: called with each backup that an older one takes the place of, or that no other can replace.
    :param say: tells a person what they must not overlook.
    :raises MomentRefused: the archive does not lead there; nothing was written.
    :raises TargetNotEmpty: *target* has content, a server runs on it, or another restore does.
    :raises LogMissing, LogCorrupt: a file of the archive is damaged; the message names it, and what is reachable.
    """
    restore = _Restore(repository, cluster, wanted, target, report, say, cancelled)
    restore.checked, restore.failed = checked, failed
    return restore.run(force=force)


def preflight(repository: Repository, cluster: Cluster, wanted: Wanted, target: Path, *, force: bool) -> int:
    """Examine all that :func:`restore_to_moment` needs; nothing is written.

    :returns: bytes that it will write into the file system of *target*.
    :raises MomentRefused, TargetNotEmpty, NodeFull, LogMissing, LogCorrupt: see :func:`restore_to_moment`.
    """
    silent = Reporter(lambda progress: None)
    restore = _Restore(repository, cluster, wanted, target, silent, lambda line: None, lambda: False)
    if restore.begun(force=force) is None:
        restore.planned()
    return restore.needed_bytes


class _Restore:
    def __init__(
        self,
        repository: Repository,
        cluster: Cluster,
        wanted: Wanted,
        target: Path,
        report: Reporter,
        say: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self.repository = repository
        self.cluster = cluster
        self.wanted = wanted
        self.target = target
        self.unfinished = Unfinished(target)
        self.scratch = self.unfinished.path
        self.report = report
        self.say = say
        self.cancelled = cancelled
        self.flavor = get_flavor(cluster.flavor)
        self.archive = Archive(PieceStore(repository))
        self.plan_seconds = 0.0
        self.needed_bytes = 0
        self.checked = False
        self.failed: Callable[[str, RestoreReplayError], None] = lambda backup_id, exc: None

    def run(self, *, force: bool) -> RestoredToMoment:
        started = time.monotonic()
        state = self.begun(force=force)
        resumed = state is not None
        state = state or self.planned()
        self.plan_seconds = round(time.monotonic() - started, 3)
        with contextlib.closing(held_target(self.target)) as held, self.unfinished.alone():
            if force:
                end_servers(self.scratch)
                self.unfinished.empty()
            self.unfinished.save(state)
            if state.result is None:
                with guarded(self.scratch):
                    node = self._replayed(state)
                state.result = self._finish(held, state, node, resumed=resumed, started=started)
                self.unfinished.save(state)
            self.unfinished.remove()
            return state.result

    def begun(self, *, force: bool) -> State | None:
        """Examine host and target, and return the state of an interrupted restore of the same."""
        self.report.phase("reading the catalog and the archive")
        asked = self.flavor.server(ServerLayout.for_asking(self.scratch, self.cluster.node.bindir))
        asked.release()  # refused here if it is not installed
        self.archive = Archive.read(self.repository)
        self.unfinished.refuse_other(self.wanted, self.cluster.name, force=force)
        return None if force else self.unfinished.load()

    def planned(self) -> State:
        """Find the goal, and refuse if there is no room."""
        found = plan(
            self.repository.catalog(),
            self.archive,
            self.flavor,
            self.wanted,
            timezone=self.cluster.timezone,
            now=utc_now(),
        )
        newest = found.bases[0]
        # Those that are served, those that are fetched meanwhile, and the relay log.
        logs_bytes = 3 * min(newest.log_bytes, MOST_AHEAD_BYTES)
        size = newest.backup.manifest.sizes.restored_bytes + logs_bytes + 2 * self.flavor.empty_node_bytes
        held_bytes = allocated_bytes(self.target) if self.target.exists() else 0
        require_space(
            existing_parent(self.target),
            size,
            what=f"Backup {newest.backup.backup_id} and its replay",
            hint="Free space there, or restore to another disk.",
            held_bytes=held_bytes,
        )
        self.needed_bytes = max(0, size - held_bytes)
        return State.of(self.cluster.name, found)

    def _replayed(self, state: State) -> ReplayedNode:
        """Return the stopped node that has replayed, from the newest backup that can."""
        goal = self.flavor.parse_position(state.goal)
        node = ReplayedNode(
            self.repository,
            self.cluster,
            self.archive,
            self.scratch,
            goal,
            report=self.report,
            cancelled=self.cancelled,
            checked=self.checked,
        )
        if node.stopped:
            return node
        failure: RestoreReplayError | None = None
        for base in self._bases(state, goal):
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
        raise failure or MomentRefused(
            f"No backup is left that leads to {state.goal}: {state.failed}.",
            hint="Restore to another moment.",
        )

    def _bases(self, state: State, goal: Position) -> list[Base]:
        at = datetime.fromisoformat(state.at) if state.at else None
        found = bases_for(self.repository.catalog(), self.archive, self.flavor, goal, at)
        return [base for base in found if base.backup.backup_id not in state.failed]

    def _finish(
        self, held: Beneath, state: State, node: ReplayedNode, *, resumed: bool, started: float
    ) -> RestoredToMoment:
        """Let the data take the place of the directory of this restore."""
        self.report.phase("putting the data in place")
        reached = node.directory.load()
        manifest = self.repository.load_manifest(state.backup_id)
        with node.measured.phase("move"):
            data = node.directory.data
            _remove_own_files(data, self.flavor.excluded_files)
            for entry in sorted(data.iterdir()):
                entry.rename(self.target / entry.name)
            fsync_directory(self.target)
            write_option_file(held, manifest)
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
            seconds=round(time.monotonic() - started, 3),
            resumed=resumed,
            option_file=option_file_at(self.target, manifest),
            event_sql=tuple(event_statements(states)),
            at=state.at,
            next_gtid=state.next_gtid,
            next_stamped=state.next_stamped,
            files=measured.files,
            log_bytes=measured.log_bytes,
            transactions=measured.transactions,
            phases={"plan": self.plan_seconds, **measured.phases},
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


def existing_parent(path: Path) -> Path:
    """Return *path*, or the nearest directory above it that exists."""
    return next(p for p in (path, *path.parents) if p.exists())


def _remove_own_files(data: Path, excluded: Sequence[str]) -> None:
    """Remove files of the node that no snapshot has: its identity, its logs, and what belongs to a running server."""
    for folder, names, plain in os.walk(data):
        for name in [*names, *plain]:
            path = Path(folder, name)
            if matches(str(path.relative_to(data)), excluded, directory=path.is_dir()):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
