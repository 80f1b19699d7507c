"""Evaluate one cluster: read the records of its repository, and derive its state."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.decisions import freshness as decisions
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.fleet.archived import archive_of, holder_of, logs_of
from airflow_restore_replay.core.fleet.findings import findings_of
from airflow_restore_replay.core.fleet.recent import Recent, recent_records
from airflow_restore_replay.core.fleet.state import (
    Amounts,
    BackupLine,
    ClusterState,
    Coverage,
    Durations,
    Freshness,
    Headroom,
    Hold,
    LastRun,
    Proven,
    Rto,
)
from airflow_restore_replay.core.recovery.forecast import forecast
from airflow_restore_replay.core.recovery.measurements import DRILL, REPLAY, measured_of
from airflow_restore_replay.core.repository.catalog import Backup, Catalog
from airflow_restore_replay.core.repository.format.records import Manifest, Outcome, Verdict, utc_now
from airflow_restore_replay.core.repository.repository import Repository

#: phases of a cycle, as verdicts name what they measured
_PHASES = ("fill", "catch_up", "validate", "snapshot")
_RESTORES_SHOWN = 10
_DAYS = 7
#: where a manifest notes how long the primary keeps binary logs
_KEPT_LOGS = "kept_logs"


def evaluate(repository: Repository, cluster: Cluster, *, everything: bool = False) -> ClusterState:
    """Read the records of *repository*, and derive the state of *cluster*.

    :param everything: read all manifests, verdicts and records of the archive, not only the newest.
    :raises Exception: the repository cannot be read; :func:`unknown` makes a state of that.
    """
    started, now = time.monotonic(), utc_now()
    recent = recent_records(repository, everything=everything)
    catalog, unreadable = recent.catalog, dict(recent.catalog.unreadable)
    archive = archive_of(repository, cluster, catalog, everything=everything, unreadable=unreadable)
    fresh = decisions.freshness(catalog, now=now)
    newest = fresh.backup
    measured = [v for v in catalog.verdicts if v.outcome is not Outcome.WITHDRAWN]
    state = ClusterState(
        cluster=cluster.name,
        flavor=cluster.flavor,
        at=now,
        seconds=0.0,
        complete=recent.complete,
        fresh=Freshness(
            max_age_s=cluster.max_age,
            backup_id=newest.backup_id if newest else "",
            goal_read_at=newest.manifest.goal_read_at if newest else None,
            age_s=fresh.age_s,
            proof=newest.proof if newest else None,
            healthy=fresh.healthy,
        ),
        proven=_proven(catalog),
        last=_last(measured),
        holds=tuple(
            Hold(verdict_id=v.verdict_id, at=v.at, reason=v.failure.message if v.failure else v.reason)
            for v in catalog.held_by
        ),
        running=holder_of(repository.lease, now, "leases/", unreadable),
        logs=logs_of(repository, cluster, catalog, archive, now, unreadable),
        backups=tuple(map(_line, catalog.backups)),
        cycle=_cycle(measured),
        restores=_restores(catalog),
        rto=_rto(cluster, catalog, newest, archive.archive, archived=archive.exists),
        coverage=_coverage(catalog),
        headroom=_headroom(newest, now),
        amounts=_amounts(recent, newest, now),
        verdicts=dict(Counter(v.outcome for v in catalog.verdicts)),
        unreadable=unreadable,
    )
    return _finished(state, started)


def unknown(cluster: Cluster, failure: Failure, seconds: float) -> ClusterState:
    """Return the state of a cluster whose repository cannot be read."""
    state = ClusterState(
        cluster=cluster.name,
        flavor=cluster.flavor,
        at=utc_now(),
        seconds=round(seconds, 3),
        error=failure,
        fresh=Freshness(max_age_s=cluster.max_age),
        rto=Rto(target_s=cluster.drill.rto_target),
    )
    return msgspec.structs.replace(state, findings=findings_of(state))


def misconfigured(name: str, failure: Failure) -> ClusterState:
    """Return the state of a cluster that has a mistake in the cluster file; its limits are unknown, too."""
    state = ClusterState(
        cluster=name, flavor="", at=utc_now(), seconds=0.0, error=failure, fresh=Freshness(max_age_s=0.0)
    )
    return msgspec.structs.replace(state, findings=findings_of(state))


def number(value: Any) -> float | None:
    """Return *value* as a number; records are as little trusted as their store."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**63:
        return None
    return float(value)


def _finished(state: ClusterState, started: float) -> ClusterState:
    seconds = round(time.monotonic() - started, 3)
    return msgspec.structs.replace(state, findings=findings_of(state), seconds=seconds)


def _line(backup: Backup) -> BackupLine:
    manifest, against = backup.manifest, backup.against
    sizes, last = manifest.sizes, against[-1] if against else None
    return BackupLine(
        backup_id=backup.backup_id,
        state=backup.state,
        proof=backup.proof,
        goal_read_at=manifest.goal_read_at,
        created_at=manifest.created_at,
        logical_bytes=sizes.total_bytes,
        stored_bytes=sizes.stored_bytes,
        new_bytes=sizes.new_bytes + sizes.delta_page_bytes,
        as_of=manifest.as_of,
        base=manifest.base.backup_id or manifest.base.method or manifest.base.kind,
        lineage_depth=manifest.lineage_depth,
        run=manifest.run,
        why=(last.failure.message if last.failure else last.reason) if last else "",
    )


def _proven(catalog: Catalog) -> Proven | None:
    withdrawn = {i for v in catalog.verdicts for i in v.withdraws}
    for verdict in reversed(catalog.verdicts):
        if verdict.outcome is not Outcome.RESTORED or verdict.verdict_id in withdrawn:
            continue
        drilled = verdict.measured.get(DRILL)
        backup_id = str(drilled.get("backup_id", "")) if isinstance(drilled, dict) else verdict.backup_id
        return Proven(at=verdict.at, backup_id=backup_id, by=verdict.attempt, run=verdict.run)
    return None


def _last(verdicts: list[Verdict]) -> LastRun | None:
    # A restored base is not the end of an attempt, unless the attempt only proves it.
    ended = [
        v
        for v in verdicts
        if v.attempt not in ("", DRILL) and (v.outcome is not Outcome.RESTORED or v.attempt == "prove")
    ]
    if not ended:
        return None
    last = ended[-1]
    failure = last.failure
    return LastRun(
        run=last.run,
        at=last.at,
        outcome=last.outcome,
        verdict_id=last.verdict_id,
        attempt=last.attempt,
        step=last.step,
        code=failure.code if failure else "",
        blame=failure.blame.value if failure else "",
        reason=failure.message if failure else last.reason,
        hint=failure.hint if failure else "",
    )


def _cycle(verdicts: list[Verdict]) -> Durations | None:
    """Return what the phases of the last cycle took that published a backup."""
    published = next((v for v in reversed(verdicts) if v.outcome is Outcome.PUBLISHED), None)
    if published is None:
        return None
    phases: dict[str, float] = {}
    rate: float | None = None
    for verdict in verdicts:
        if verdict.run != published.run or verdict.attempt != published.attempt:
            continue
        for name in _PHASES:
            found = verdict.measured.get(name)
            if isinstance(found, dict) and (seconds := number(found.get("seconds"))) is not None:
                phases[name] = seconds
                if name == "catch_up":
                    rate = number(found.get("transactions_per_s"))
    return Durations(at=published.at, run=published.run, phases=phases, transactions_per_s=rate)


def _restores(catalog: Catalog) -> tuple[Durations, ...]:
    def rate(transactions: int, seconds: float) -> float | None:
        return round(transactions / seconds, 1) if transactions and seconds else None

    return tuple(
        Durations(
            at=found.at,
            phases=found.phases,
            transactions_per_s=rate(found.transactions, found.phases.get(REPLAY, 0.0)),
        )
        for found in measured_of(catalog)[-_RESTORES_SHOWN:]
    )


def _rto(
    cluster: Cluster, catalog: Catalog, newest: Backup | None, archive: Archive | None, *, archived: bool
) -> Rto:
    """Forecast the restore of the newest backup, with all archived logs if their records were read."""
    target_s = cluster.drill.rto_target
    if newest is None:
        return Rto(target_s=target_s)
    size, transactions = newest.manifest.sizes.restored_bytes, None
    if archive:
        routes = archive.routes(get_flavor(cluster.flavor))
        transactions = routes.from_position(routes.parse(newest.manifest.position)).transactions
    with_logs = forecast(catalog, size, starting=True, transactions=transactions)
    if with_logs.seconds is not None and (archive or not archived):
        return Rto(target_s=target_s, seconds=with_logs.seconds, with_logs=True)
    expected = forecast(catalog, size, starting=True)
    return Rto(target_s=target_s, seconds=expected.seconds, with_logs=not archived)


def _coverage(catalog: Catalog) -> Coverage | None:
    found = next((m.compared.get("coverage") for m in reversed(_usual(catalog))), None)
    if not isinstance(found, dict) or not found:
        return None
    since: datetime | None
    try:
        since = datetime.fromisoformat(str(found.get("since"))).astimezone(UTC)
    except (ValueError, OverflowError):
        since = None
    cycles, never, changed = (
        number(found.get(name)) for name in ("cycles", "never_count", "changed_since_compared")
    )
    return Coverage(
        since=since,
        cycles=None if cycles is None else int(cycles),
        never=int(never or 0),
        changed=int(changed or 0),
    )


def _headroom(newest: Backup | None, now: datetime) -> Headroom | None:
    """Return until when the primary keeps all that it logged after the newest healthy backup.

    Its position is not older than its goal, and a file is purged by the age of its newest event.
    """
    if newest is None:
        return None
    noted = newest.manifest.notes.get(_KEPT_LOGS)
    keep_s = number(noted.get("keep_s")) if isinstance(noted, dict) else None
    by_size = isinstance(noted, dict) and noted.get("by_size") is True
    if not keep_s or keep_s > timedelta.max.total_seconds() / 100:
        return Headroom(base_id=newest.backup_id, keep_s=keep_s, by_size=by_size)
    until = newest.manifest.goal_read_at + timedelta(seconds=keep_s)
    return Headroom(
        base_id=newest.backup_id,
        keep_s=keep_s,
        until=until,
        seconds=(until - now).total_seconds(),
        by_size=by_size,
    )


def _amounts(recent: Recent, newest: Backup | None, now: datetime) -> Amounts:
    manifests = recent.catalog.manifests
    oldest = min((m.created_at for m in manifests), default=now)
    days = min(float(_DAYS), max(1.0, (now - oldest).total_seconds() / 86400))
    lately = [m for m in manifests if m.created_at > now - timedelta(days=days)]
    readable = recent.complete and not recent.catalog.unreadable
    return Amounts(
        backups=recent.backups,
        logical=newest.manifest.sizes.total_bytes if newest else None,
        stored=sum(m.sizes.stored_bytes for m in manifests) if readable else None,
        stored_a_day=round(sum(m.sizes.stored_bytes for m in lately) / days, 1) if manifests else None,
    )


def _usual(catalog: Catalog) -> list[Manifest]:
    """Return the manifests of backups of the present, oldest first."""
    return [m for m in catalog.manifests if m.as_of is None]
