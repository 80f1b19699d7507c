"""How long a restore takes, by what this cluster's restores took."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

import msgspec

from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import Outcome, Verdict

#: restores that count, newest first
_MOST = 10


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, and what it means for a restore.

    :param seconds: expected; None if nothing was measured.
    :param bytes_per_s: median of the measured restores.
    :param start_seconds: median of the first starts of their servers.
    :param measured: number of restores that were measured.
    """

    seconds: float | None = None
    bytes_per_s: float | None = None
    start_seconds: float = 0.0
    measured: int = 0


def forecast(catalog: Catalog, size_bytes: int, *, starting: bool) -> Forecast:
    """Return how long a restore of *size_bytes* takes, by the verdicts of proven backups.

    :param starting: whether a server is started on the result.
    """
    measured = list(_measured(catalog.verdicts))[:_MOST]
    if not measured:
        return Forecast()
    rate = statistics.median(bytes_per_s for bytes_per_s, _ in measured)
    start_s = statistics.median(start for _, start in measured)
    return Forecast(
        seconds=round(size_bytes / rate + (start_s if starting else 0), 1),
        bytes_per_s=rate,
        start_seconds=start_s,
        measured=len(measured),
    )


def _measured(verdicts: Iterable[Verdict]) -> Iterable[tuple[float, float]]:
    """Yield bytes a second, and seconds of the server's start, of each restore, newest first.

    Verdicts of older releases tell only the cost of the whole proof, which takes longer than the restore.
    """
    for verdict in sorted(verdicts, key=lambda v: v.at, reverse=True):
        if verdict.outcome not in (Outcome.RESTORED, Outcome.PUBLISHED):
            continue
        fill, cost = verdict.measured.get("fill"), verdict.measured.get("cost")
        found = fill if isinstance(fill, dict) and "backup_id" in fill else cost
        if not isinstance(found, dict):
            continue
        size, seconds, start = (_number(found.get(name)) for name in ("bytes", "seconds", "start_seconds"))
        if size > 0 and seconds - start > 0:
            yield size / (seconds - start), start


def _number(value: object) -> float:
    # Records are as little trusted as their store.
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
