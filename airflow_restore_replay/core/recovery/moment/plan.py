"""Decide what a restore to a moment replays: the goal's position, and the backups from which the archive leads there.

Nothing is written here. The goal is found once, so that a restore that is resumed, or that falls back to an older
backup, leads to the same place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.reach import Leg, Routes
from airflow_restore_replay.core.errors import (
    AnswerUnreadable,
    HistoryDiverged,
    MomentRefused,
    PreflightFailed,
)
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.values import Cut, Position
from airflow_restore_replay.core.jobs.point_in_time import refuse_stamp_in_future
from airflow_restore_replay.core.recovery.moment.goal import Timeline, refuse_other_history
from airflow_restore_replay.core.recovery.moment.route import route
from airflow_restore_replay.core.recovery.moment.times import parse_moment
from airflow_restore_replay.core.recovery.moment.wanted import Wanted
from airflow_restore_replay.core.repository.catalog import Backup, Catalog
from airflow_restore_replay.core.repository.format.records import Manifest, utc_now
from airflow_restore_replay.core.times import stamp

#: clocks of the primary and of the worker that made a backup may differ
_MARGIN = timedelta(minutes=1)


@dataclass(frozen=True)
class Base:
    """A backup, and what is replayed on it."""

    backup: Backup
    legs: tuple[Leg, ...]

    @property
    def log_bytes(self) -> int:
        return sum(log.size_bytes for leg in self.legs for log in leg.logs)

    @property
    def log_pieces(self) -> int:
        return sum(len(log.pieces) for leg in self.legs for log in leg.logs)

    @property
    def transactions(self) -> int:
        """Return how many transactions the files have; some may be in the backup already."""
        return sum(log.transactions for leg in self.legs for log in leg.logs)


@dataclass(frozen=True)
class Plan:
    """What a restore to a moment does.

    :param cut: the goal, and the transaction that follows it.
    :param at: the time that was asked for; None for a GTID and for all that is archived.
    :param bases: newest first; a later one is used if one before it fails.
    :param unreadable: damaged records of the archive, which count as missing.
    """

    wanted: Wanted
    cut: Cut
    at: datetime | None
    bases: tuple[Base, ...]
    unreadable: tuple[str, ...] = ()

    @property
    def goal(self) -> Position:
        return self.cut.position


def plan(
    catalog: Catalog, archive: Archive, flavor: Flavor, wanted: Wanted, *, timezone: str, now: datetime
) -> Plan:
    """Find goal and bases.

    :param timezone: of a time without an offset.
    :param now: by the clock of this host.
    :raises MomentRefused: no backup and no archived files lead there; the message has the nearest moments.
    :raises LogMissing, LogCorrupt: a file that must be read for it is damaged; the message names it, and what is
        reachable.
    """
    return _Planner(catalog, archive, flavor, wanted, now).plan(timezone)


def bases_for(
    catalog: Catalog, archive: Archive, flavor: Flavor, goal: Position, before: datetime | None
) -> tuple[Base, ...]:
    """Return the backups from which the archive leads to *goal*, newest first.

    :param before: only backups whose data is from before that time.
    """
    return _bases(catalog, archive, flavor, archive.routes(flavor), goal, before)


def _bases(
    catalog: Catalog,
    archive: Archive,
    flavor: Flavor,
    routes: Routes,
    goal: Position,
    before: datetime | None,
) -> tuple[Base, ...]:
    found = []
    for backup in _candidates(catalog, flavor, before):
        start = routes.parse(backup.manifest.position)
        if _rewound(backup.manifest, archive, routes, before):
            continue
        if goal.contains(start) and (legs := route(start, goal, routes.runs, routes.parse)) is not None:
            found.append(Base(backup, legs))
    return tuple(found)


def _rewound(manifest: Manifest, archive: Archive, routes: Routes, before: datetime | None) -> bool:
    """Return whether the primary used GTIDs of a backup for other transactions later, up to a moment.

    By its GTIDs the backup has these transactions. Their stamps are later than those of the last that it has.
    """
    start = routes.parse(manifest.position)
    stamps = [datetime.fromtimestamp(chain.timestamp_s, UTC) for chain in manifest.chains]
    since = max([manifest.created_at, *stamps]) + _MARGIN
    late = (p for p in archive.pieces if p.first_at is not None and p.first_at > since)
    return any(
        not routes.parse(piece.before).contains(start.common(routes.parse(piece.after)))
        for piece in late
        if before is None or (piece.first_at is not None and piece.first_at < before)
    )


def _candidates(catalog: Catalog, flavor: Flavor, before: datetime | None) -> list[Backup]:
    """Return healthy backups, newest first, of which no last transaction is stamped in the second of *before* or later.

    The position of a backup is read after its goal. Of transactions that are stamped in the future the stamp says
    nothing.
    """
    found = [b for b in reversed(catalog.healthy(before=before)) if b.manifest.flavor == flavor.name]
    if before is None:
        return found
    seconds = range(int((before - timedelta(seconds=1)).timestamp()) + 1, int(utc_now().timestamp()) + 1)
    return [b for b in found if not any(chain.timestamp_s in seconds for chain in b.manifest.chains)]


class _Planner:
    def __init__(
        self, catalog: Catalog, archive: Archive, flavor: Flavor, wanted: Wanted, now: datetime
    ) -> None:
        self.catalog = catalog
        self.archive = archive
        self.flavor: Any = flavor
        self.wanted = wanted
        self.now = now
        self.routes: Routes = archive.routes(flavor)

    def plan(self, timezone: str) -> Plan:
        wanted, at = self.wanted, None
        if wanted.kind == "latest":
            cut = self._first(Timeline.end, None, self._lacking("the newest archived binary log"))
        elif wanted.kind == "at":
            at = parse_moment(wanted.text, timezone, self.now)
            cut = self._at(at)
        else:
            cut = self._gtid(wanted.text, including=wanted.kind == "to_gtid")
        bases = _bases(self.catalog, self.archive, self.flavor, self.routes, cut.position, at)
        if not bases:
            raise self._refusal(at, f"no healthy backup leads to {cut.position}")
        return Plan(wanted, cut, at, bases, tuple(self.archive.unreadable))

    def _first(self, find: Callable[[Timeline], Cut | None], before: datetime | None, otherwise: str) -> Cut:
        """Return the first cut that the archive has from a backup, newest backup first.

        :raises MomentRefused: there is none.
        """
        why = otherwise
        for backup in _candidates(self.catalog, self.flavor, before):
            if _rewound(backup.manifest, self.archive, self.routes, before):
                why = (
                    f"the primary assigned GTIDs of backup {backup.backup_id} again, after a RESET or a restore, and "
                    "no backup is from after that"
                )
                continue
            try:
                timeline = self._timeline(backup)
                refuse_other_history(self.archive, self.flavor, backup.manifest, timeline.legs)
                if (cut := find(timeline)) is not None:
                    return cut
            except (PreflightFailed, HistoryDiverged) as exc:
                why = exc.message
        raise self._refusal(before, why)

    def _timeline(self, backup: Backup) -> Timeline:
        start = self.routes.parse(backup.manifest.position)
        return Timeline(self.archive, self.routes, self.flavor, start)

    def _at(self, at: datetime) -> Cut:
        if at > self.now:
            raise self._refusal(at, f"the clock of this host shows {stamp(self.now)}")
        cut = self._first(lambda timeline: timeline.at(at, self.now), at, self._outside(at))
        refuse_stamp_in_future(cut, at, self.now)
        return cut

    def _outside(self, at: datetime) -> str:
        if not self.catalog.healthy(before=at):
            return "no healthy backup is from before it"
        return self._lacking("there")

    def _lacking(self, where: str) -> str:
        if not self.catalog.healthy():
            return "the cluster has no healthy backup"
        lacking = "; ".join(
            f"{gap.lacking} ({gap.reason})" for gap in self.archive.open_gaps(self.flavor)[-3:]
        )
        damaged = ", ".join(list(self.archive.unreadable)[:3])
        broken = ", ".join(
            f"{log.name} from offset {log.lost_at} on"
            for stream in self.archive.streams
            for log in stream.logs
            if log.lost_at is not None
        )
        found = {
            f"missing are {lacking}": lacking,
            f"pieces are missing of {broken}": broken,
            f"damaged records: {damaged}": damaged,
        }
        told = [what for what, names in found.items() if names]
        return "; ".join([f"no archived binary logs lead from a healthy backup to {where}", *told])

    def _gtid(self, text: str, *, including: bool) -> Cut:
        try:
            gtid = self.flavor.parse_gtid(text)
        except AnswerUnreadable as exc:
            raise MomentRefused(
                exc.message, hint="Name one transaction; `restore-replay find` lists them."
            ) from exc

        return self._first(
            lambda timeline: timeline.gtid(gtid, including=including),
            None,
            f"the archived binary logs after the healthy backups do not have {gtid}",
        )

    def _refusal(self, at: datetime | None, why: str) -> MomentRefused:
        window = self.archive.window(self.catalog, self.flavor)
        before, after = window.nearest(at) if at else (window.end, None)
        known = [f"the last moment before it is {stamp(before)}" if before and at else ""]
        known += [f"the first one after it is {stamp(after)}" if after else ""]
        known += [f"the last moment is {stamp(before)}" if before and not at else ""]
        nearest = " and ".join(filter(None, known)) or "no moment"
        what = stamp(at) if at else str(self.wanted)
        return MomentRefused(
            f"{what} cannot be restored: {why.removesuffix('.')}. Reachable: {nearest}.",
            evidence={
                "nearest_before": stamp(before) if before else None,
                "nearest_after": stamp(after) if after else None,
            },
        )
