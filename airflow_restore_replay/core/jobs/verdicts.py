"""Record the verdict of a finished job in the repository, before the job's task ends."""

from __future__ import annotations

from typing import Any

import msgspec

from airflow_restore_replay.core.decisions.causes import Judgement, judge
from airflow_restore_replay.core.decisions.holds import holds
from airflow_restore_replay.core.errors import (
    BackupFault,
    Blame,
    DataMismatch,
    ErrantFromFormerPrimary,
    HistoryDiverged,
    NotReplayable,
    PrimaryChanged,
    RestoreReplayError,
    TableCheckFailed,
)
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.jobs.protocol import JobName, Phase
from airflow_restore_replay.core.repository.format.records import BaseRef, Outcome, Verdict, new_id, utc_now

#: phases that a node reaches only after its history was found to match the primary's
_REPLAYED = (Phase.REPLAYING, Phase.CAUGHT_UP, Phase.VALIDATED)
#: jobs that run checks
_CHECKING = (JobName.VALIDATE, JobName.SNAPSHOT)


def record_success(ctx: JobContext, result: dict[str, Any]) -> str:
    """Record what *result* proves.

    :returns: the verdict's id, ``""`` if the job proves nothing by itself.
    """
    base = ctx.state.filled_from
    proves = ctx.is_proof or not ctx.params.get("standalone")
    if ctx.request.job is JobName.VALIDATE and base and base.kind == "backup" and proves:
        measured = _measured(ctx, result)
        return _record(
            ctx, Outcome.RESTORED, backup_id=base.backup_id, measured=measured | {"cost": _cost(measured)}
        )
    if ctx.request.job is JobName.SNAPSHOT:
        return _record(
            ctx,
            Outcome.PUBLISHED,
            published_id=str(result["backup_id"]),
            backup_id="",
            measured=_measured(ctx, result),
        )
    return ""


def record_failure(ctx: JobContext, judgement: Judgement) -> str:
    """Record a failure, and withdraw the verdicts that it refutes.

    Evidence is about the base, circumstance about no backup. A corrupt primary puts the cluster on hold.

    :returns: the verdict's id.
    """
    failure = judgement.failure
    outcome = {Blame.BACKUP: Outcome.QUARANTINED, Blame.STRANDED: Outcome.STRANDED}.get(
        failure.blame, Outcome.FAILED
    )
    if holds(failure, ctx.request.job.value):
        outcome = Outcome.HELD
    base = base_of(ctx)
    about = base if outcome in (Outcome.QUARANTINED, Outcome.STRANDED) else ""
    # The verdict is not about the base, but people want to know which one it was.
    measured: dict[str, Any] = {"base": base} if base and not about else {}
    if ctx.request.job in _CHECKING and ctx.state.facts.checks:
        measured["checks"] = [
            {name: value for name, value in check.items() if name != "carry"}
            for check in ctx.state.facts.checks
        ]
    verdict_id = _record(ctx, outcome, backup_id=about, failure=failure, measured=measured)
    for refuted in judgement.withdraw:
        _record(
            ctx,
            Outcome.WITHDRAWN,
            backup_id=refuted.backup_id,
            withdraws=[refuted.verdict_id],
            reason=f"{'a fresh full' if ctx.is_full else f'backup {base}'} failed for the same cause "
            f"(verdict {verdict_id}), so it is not in this backup",
        )
    return verdict_id


def judge_in_context(ctx: JobContext, exc: BaseException) -> Judgement:
    """Return the failure for *exc*, with the blame that fits the node's data and the verdicts about other backups.

    - On a fresh full, no backup can be at fault. Damage that a physical copy contains and rows that differ right after
      a full copy blame the source. A server that does not start on a fresh copy blames the environment.
    - A base whose history matched the primary's when replay began is not at fault for transactions that a failover has
      lost since.
    - One cause never costs the standing of more than one backup.
    """
    if isinstance(exc, HistoryDiverged | ErrantFromFormerPrimary) and ctx.state.phase in _REPLAYED:
        return Judgement(Failure.of(_changed(exc)))
    failure = Failure.of(exc)
    if ctx.is_full and (failure.blame is Blame.BACKUP or isinstance(exc, NotReplayable)):
        source = isinstance(exc, TableCheckFailed | DataMismatch)
        failure = msgspec.structs.replace(failure, blame=Blame.SOURCE if source else Blame.ENVIRONMENT)
    if failure.blame is not Blame.BACKUP and not ctx.is_full:
        return Judgement(failure)
    run = ctx.request.run
    return judge(ctx.repository.catalog(), failure, run=run.run, attempt=run.attempt, base_id=base_of(ctx))


def _changed(exc: RestoreReplayError) -> PrimaryChanged:
    return PrimaryChanged(
        f"The primary failed over or was rewound while this node replayed from it: {exc.message}",
        hint="Run the cycle again; it compares the histories before it replays.",
        evidence=exc.evidence,
    )


def base_of(ctx: JobContext) -> str:
    """Return the id of the backup that this node replays from, ``""`` for none."""
    state = ctx.state
    base: BaseRef | None = state.filled_from
    if base and base.kind == "backup":
        return base.backup_id
    params = state.fill.get("params", {})
    return str(params.get("backup_id", ctx.params.get("backup_id", "")))


def _record(ctx: JobContext, outcome: Outcome, **fields: Any) -> str:
    now = utc_now()
    verdict = Verdict(
        verdict_id=new_id(now),
        at=now,
        cluster=ctx.cluster.name,
        run=ctx.request.run.run,
        attempt=ctx.request.run.attempt,
        outcome=outcome,
        step=ctx.request.job.value,
        by="agent",
        **fields,
    )
    ctx.repository.record(verdict)
    return verdict.verdict_id


def _measured(ctx: JobContext, result: dict[str, Any]) -> dict[str, Any]:
    facts = ctx.state.facts
    earlier = {"fill": facts.fill, "catch_up": facts.catch_up}
    measured: dict[str, Any] = {name: measures for name, measures in earlier.items() if measures}
    return {**measured, ctx.request.job.value: result}


def _cost(measured: dict[str, Any]) -> dict[str, Any]:
    """Return the cost of proving a backup: seconds of all jobs, bytes restored, bytes read from the store."""
    fill = measured.get("fill", {})
    seconds = sum(float(job.get("seconds", 0)) for job in measured.values())
    return {
        "seconds": round(seconds, 3),
        "bytes": fill.get("bytes", 0),
        "fetched_bytes": fill.get("fetched_bytes", 0),
    }


def is_evidence(exc: BaseException) -> bool:
    """Return whether *exc* says something about a backup, so that its verdict must not be lost."""
    return isinstance(exc, BackupFault) or (
        isinstance(exc, RestoreReplayError) and exc.blame in (Blame.BACKUP, Blame.STRANDED)
    )
