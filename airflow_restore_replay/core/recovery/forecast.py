"""How long a restore takes, by what this cluster's cycles, drills and restores took."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from airflow_restore_replay.core.recovery.measurements import (
    MOVE,
    PLAN,
    REPLAY,
    RESTORE,
    START_RESTORED,
    STOP,
    MeasuredRestore,
    measured_of,
)
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import Outcome, Verdict

#: measurements that count, newest first
_MOST = 10


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, and what it means for a restore.

    :param seconds: expected; None if some phase was never measured.
    :param phases: expected seconds by phase; None for one that was never measured.
    :param bytes_per_s: median of the measured restores.
    :param start_seconds: median of the first starts of their servers.
    :param measured: number of restores that were measured, those of cycles among them.
    """

    seconds: float | None = None
    phases: dict[str, float | None] = {}
    bytes_per_s: float | None = None
    start_seconds: float = 0.0
    measured: int = 0


def forecast(
    catalog: Catalog, size_bytes: int, *, starting: bool, transactions: int | None = None
) -> Forecast:
    """Return how long a restore of *size_bytes* takes.

    :param starting: whether a server is started on the result.
    :param transactions: how many are replayed on it; None for a restore of a backup alone.
    """
    restores = measured_of(catalog)[::-1]
    every = [*_of_restores(restores), *_of_cycles(catalog.verdicts)]
    fills = sorted(every, key=lambda fill: fill.at, reverse=True)[:_MOST]
    rate = _median(fill.bytes_per_s for fill in fills)
    first_start = _median(fill.start_s for fill in fills if fill.start_s is not None)
    started = _median(_seconds(restores, START_RESTORED))
    phases: dict[str, float | None] = {RESTORE: size_bytes / rate if rate else None}
    if transactions is not None:
        replayed = [
            m.phases[REPLAY] / m.transactions for m in restores if m.transactions and REPLAY in m.phases
        ]
        each = _median(replayed[:_MOST]) if transactions else 0.0
        phases = {
            PLAN: _median(_seconds(restores, PLAN, replaying=True)),
            # The first start of the node's server belongs to this phase.
            RESTORE: _sum([phases[RESTORE], first_start]),
            REPLAY: None if each is None else each * transactions,
            STOP: _median(_seconds(restores, STOP)),
            MOVE: _median(_seconds(restores, MOVE)),
        }
    if starting:
        phases[START_RESTORED] = started if started is not None else first_start
    rounded = {name: None if seconds is None else round(seconds, 1) for name, seconds in phases.items()}
    return Forecast(
        seconds=_sum(rounded.values()),
        phases=rounded,
        bytes_per_s=rate,
        start_seconds=first_start or 0.0,
        measured=len(fills),
    )


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None


def _sum(values: Iterable[float | None]) -> float | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return round(sum(known), 1) if len(known) == len(found) else None


def _seconds(restores: Sequence[MeasuredRestore], phase: str, *, replaying: bool = False) -> list[float]:
    """Return what a phase took in the last restores that had it.

    :param replaying: only of restores to moments.
    """
    found = [m.phases[phase] for m in restores if phase in m.phases and (REPLAY in m.phases or not replaying)]
    return found[:_MOST]


class _Fill(NamedTuple):
    """What the files of a restore took.

    :param start_s: of the first start of a server on them; None if there was none.
    """

    at: datetime
    bytes_per_s: float
    start_s: float | None


def _of_restores(restores: Iterable[MeasuredRestore]) -> Iterator[_Fill]:
    for measured in restores:
        phases = measured.phases
        # The start of a node's server is a part of its phase.
        seconds = phases.get(RESTORE, 0.0) - phases.get("start", 0.0)
        if measured.bytes > 0 and seconds > 0:
            start = phases.get("start", phases.get(START_RESTORED))
            yield _Fill(measured.at, measured.bytes / seconds, start)


def _of_cycles(verdicts: Iterable[Verdict]) -> Iterator[_Fill]:
    """Yield the restores of cycles.

    Verdicts of older releases tell only the cost of the whole proof, which takes longer than the restore.
    """
    for verdict in verdicts:
        if verdict.outcome not in (Outcome.RESTORED, Outcome.PUBLISHED):
            continue
        fill, cost = verdict.measured.get("fill"), verdict.measured.get("cost")
        found = fill if isinstance(fill, dict) and "backup_id" in fill else cost
        if not isinstance(found, dict):
            continue
        size, seconds, start = (_number(found.get(name)) for name in ("bytes", "seconds", "start_seconds"))
        if size > 0 and seconds - start > 0:
            yield _Fill(verdict.at, size / (seconds - start), start)


def _number(value: object) -> float:
    # Records are as little trusted as their store.
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
