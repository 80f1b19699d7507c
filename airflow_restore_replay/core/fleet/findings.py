"""What of a cluster's state a person should look at: the rules by which `status` sorts, and its exit code."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_restore_replay.core.config.units import human_seconds
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.fleet.state import ClusterState, Finding, Severity
from airflow_restore_replay.core.repository.format.records import Outcome

_FAILED = (Outcome.FAILED, Outcome.QUARANTINED, Outcome.STRANDED, Outcome.HELD)


def findings_of(state: ClusterState) -> tuple[Finding, ...]:
    """Return the findings about *state*, worst first.

    Critical is what :mod:`~airflow_restore_replay.core.decisions.freshness` calls stale, an unknown age too, and a
    hold. The rest can wait for a person's working hours.
    """
    found = [_unreadable(state.error)] if state.error else [*_critical(state), *_warnings(state)]
    return tuple(sorted(found, key=lambda finding: finding.severity.rank))


def _unreadable(error: Failure) -> Finding:
    return Finding(
        severity=Severity.CRITICAL, code="unreadable", text=f"the state is unknown: {error.message}"
    )


def _critical(state: ClusterState) -> Iterator[Finding]:
    fresh, critical = state.fresh, Severity.CRITICAL
    if fresh.age_s is None:
        yield Finding(
            severity=critical, code="no-backup", text="there is no healthy backup that was read back"
        )
    elif fresh.age_s > fresh.max_age_s:
        age, limit = human_seconds(fresh.age_s), human_seconds(fresh.max_age_s)
        yield Finding(severity=critical, code="stale", text=f"the newest backup is {age} old, limit {limit}")
    for hold in state.holds:
        yield Finding(
            severity=critical, code="held", text=f"on hold by verdict {hold.verdict_id}: {hold.reason}"
        )


def _warnings(state: ClusterState) -> Iterator[Finding]:
    warnings = [*_of_runs(state), *_of_logs(state), *_of_forecasts(state)]
    for record, why in state.unreadable.items():
        warnings.append(("record", f"{record} cannot be read: {why}"))
    for code, text in warnings:
        yield Finding(severity=Severity.WARNING, code=code, text=text)


def _of_runs(state: ClusterState) -> Iterator[tuple[str, str]]:
    last, holder = state.last, state.running
    if last and last.outcome in _FAILED:
        yield "failed", f"run {last.run} {last.outcome} in {last.attempt}.{last.step}: {last.reason}"
    if holder and not holder.live:
        yield "run-died", f"run {holder.run} neither renewed nor released its lease"


def _of_logs(state: ClusterState) -> Iterator[tuple[str, str]]:
    if state.logs is None:
        return
    archiver = state.logs.archiver
    if archiver and not archiver.live:
        yield "archiver-died", f"archiver {archiver.run} neither renewed nor released its lease"
    for gap in state.logs.gaps:
        yield "gap", f"the archive lacks {gap.lacking}: {gap.reason}"


def _of_forecasts(state: ClusterState) -> Iterator[tuple[str, str]]:
    room, rto = state.headroom, state.rto
    if room and room.seconds is not None and room.seconds < state.fresh.max_age_s:
        what = f"in {human_seconds(room.seconds)}" if room.seconds > 0 else "already"
        yield "headroom", f"the primary may purge binary logs that the next cycle needs {what}"
    if rto.meets_target is False:
        expected, target = human_seconds(rto.seconds), human_seconds(rto.target_s)
        yield "rto", f"a restore is expected to take {expected}, target {target}"
