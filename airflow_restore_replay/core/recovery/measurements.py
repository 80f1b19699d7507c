"""What restores of a cluster took: drills and restores into real targets record it, for forecasts and the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.recovery.moment.unfinished import RestoredToMoment
from airflow_restore_replay.core.recovery.restore import Restored
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import Outcome, Verdict, new_id
from airflow_restore_replay.core.repository.repository import Repository

Kind = Literal["drill", "restore"]
#: attempt, step and key of what was measured, in the verdict of a drill and of a restore into a real target
DRILL: Kind = "drill"
RESTORED: Kind = "restore"
PLAN, RESTORE, REPLAY, STOP, MOVE, START_RESTORED = (
    "plan",
    "restore",
    "replay",
    "stop",
    "move",
    "start_restored",
)
#: phases that a person waits for; a drill's checks are not among them
RTO_PHASES = (PLAN, RESTORE, REPLAY, STOP, MOVE, START_RESTORED)
_AMOUNTS = ("bytes", "files", "fetched_bytes", "log_bytes", "transactions")


@dataclass(frozen=True)
class MeasuredRestore:
    """A drill, or a restore into a real target, that succeeded.

    :param wanted: the moment; empty for a restore of a backup alone.
    :param phases: seconds by phase.
    """

    kind: Kind
    at: datetime
    backup_id: str
    wanted: str
    phases: dict[str, float]
    bytes: int = 0
    files: int = 0
    fetched_bytes: int = 0
    log_bytes: int = 0
    transactions: int = 0

    @property
    def rto_s(self) -> float:
        """Return the seconds until the restored server could be used, or the files if no server was asked for."""
        return round(sum(self.phases.get(name, 0.0) for name in RTO_PHASES), 3)


class Clock:
    """Measures phases that follow each other.

    :ivar seconds: by phase.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = self._last = time.monotonic()

    def passed(self, phase: str) -> None:
        """Note that a phase ends now."""
        now = time.monotonic()
        self.seconds[phase] = round(now - self._last, 3)
        self._last = now

    @property
    def whole(self) -> float:
        """Return the seconds until the end of the last phase."""
        return self._last - self._started


def measured_of(catalog: Catalog) -> tuple[MeasuredRestore, ...]:
    """Return what was measured, oldest first; records that cannot be understood are left out."""
    found = (_measured(v) for v in catalog.verdicts if v.outcome is Outcome.RESTORED)
    return tuple(sorted((measured for measured in found if measured), key=lambda m: m.at))


def measurement(restored: Restored, phases: Mapping[str, float], seconds: float) -> dict[str, Any]:
    """Return what a record has of a restore.

    :param phases: seconds by phase, beside those that *restored* has.
    :param seconds: the whole restore took.
    """
    found: dict[str, Any] = msgspec.to_builtins(restored)
    moment = isinstance(restored, RestoredToMoment)
    own = restored.phases if isinstance(restored, RestoredToMoment) else {RESTORE: restored.seconds}
    kept = ("backup_id", "position", *(("wanted", "at") if moment else ()))
    amounts = {name: found[name] for name in _AMOUNTS if name in found}
    told = {"wanted": "", "at": ""} | {name: found[name] for name in kept} | amounts
    return told | {"phases": {**own, **phases}, "seconds": round(seconds, 3)}


def record(repository: Repository, kind: Kind, measured: dict[str, Any], *, run: str, by: str) -> None:
    """Record a restore that succeeded.

    The record is about no backup: without a comparison with the primary a restore does not raise the proof of one.
    """
    verdict = repository.new_verdict(
        Outcome.RESTORED, run, attempt=kind, step=kind, by=by, measured={kind: measured}
    )
    repository.record(verdict)


def record_restore(
    writable: Callable[[], Repository],
    measured: dict[str, Any] | None,
    *,
    by: str,
    warn: Callable[[str], None],
) -> None:
    """Record a restore of a whole backup into a real target, if it counts, and if that is possible.

    :param writable: opens the repository for writing, which the restore itself did not need.
    :param measured: None if the restore does not count.
    :param warn: called with one line if it cannot be recorded, which is no failure of the restore.
    """
    if measured is None:
        return
    try:
        record(writable(), RESTORED, measured, run=f"{RESTORED}/{new_id()}", by=by)
    except (RestoreReplayError, OSError) as exc:
        why = exc.message if isinstance(exc, RestoreReplayError) else str(exc)
        warn(f"What this restore took is not recorded for the report: {' '.join(why.split())}")


def _measured(verdict: Verdict) -> MeasuredRestore | None:
    for kind in (DRILL, RESTORED):
        measured: Any = verdict.measured.get(kind)
        if verdict.attempt != kind or measured is None:
            continue
        try:
            return MeasuredRestore(
                kind=kind,
                at=verdict.at,
                backup_id=str(measured["backup_id"]),
                wanted=str(measured["wanted"]),
                phases={str(name): float(seconds) for name, seconds in measured["phases"].items()},
                **{name: int(measured.get(name, 0)) for name in _AMOUNTS},
            )
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
            return None
    return None
