"""Decide from the recorded verdicts how a run continues after an attempt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from airflow_restore_replay.core.decisions.attempts import FULL, REPLAY, next_step
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import Outcome, Verdict
from airflow_restore_replay.core.times import stamp


class Next(StrEnum):
    """Next step of a run after an attempt."""

    PUBLISHED = "published"
    QUARANTINE = "quarantine"  # announce the quarantine, then start the next attempt, if any
    FULL = "full"  # there is no base, or the base can no longer be used
    FAIL = "fail"


@dataclass(frozen=True)
class Diagnosis:
    """Decision about the next step of a run, with its reason.

    :param verdict: the record that the decision follows from, if there is one.
    :param attempt: the attempt that follows, if any.
    """

    next: Next
    reason: str
    failure: Failure | None = None
    verdict: Verdict | None = None
    attempt: str | None = None


def diagnose(
    catalog: Catalog,
    *,
    run: str,
    had_base: bool,
    as_of: datetime | None = None,
    fallback: str = "full",
    attempt: str = REPLAY,
) -> Diagnosis:
    """Decide from the verdicts that the run *recorded* how it continues after *attempt*.

    :param run: lease owner.
    :param had_base: whether choose_base found a base, so that a replay was attempted.
    :param as_of: the past time for which the run rebuilds the backup. The run publishes that backup or fails:
        evidence against its base is kept, but no fresh full replaces the base.
    :param fallback: ``fallback`` of the cluster; see
        :func:`~airflow_restore_replay.core.decisions.attempts.next_step`.
    :param attempt: the attempt that ended.
    """
    if as_of is not None:
        return _diagnose_as_of(catalog, run, as_of)
    if not had_base:
        return Diagnosis(Next.FULL, "no base", attempt=FULL)
    attempts = _attempts(catalog, run, attempt)
    if _published(catalog, attempts, run):
        return Diagnosis(Next.PUBLISHED, "the replayed backup is published", verdict=_last(attempts))
    last = _last(attempts)
    if last is None or last.failure is None:
        return _no_record(last)
    step = next_step(attempt, last.failure.blame, fallback=fallback)
    found = Next.QUARANTINE if step.quarantine else Next.FULL if step.attempt else Next.FAIL
    return Diagnosis(found, last.failure.message, last.failure, last, step.attempt)


def _diagnose_as_of(catalog: Catalog, run: str, as_of: datetime) -> Diagnosis:
    # Only the manifest counts: a scheduled run that is backfilled again has verdicts from its first execution.
    if any(b.manifest.as_of == as_of for b in catalog.healthy()):
        return Diagnosis(Next.PUBLISHED, f"the backup as of {stamp(as_of)} is published")
    last = _last(_attempts(catalog, run, REPLAY))
    if last is None or last.failure is None:
        return _no_record(last)
    return Diagnosis(Next.FAIL, last.failure.message, last.failure, last)


def _attempts(catalog: Catalog, run: str, attempt: str) -> list[Verdict]:
    return [v for v in catalog.attempts(run) if v.attempt == attempt]


def _no_record(last: Verdict | None) -> Diagnosis:
    why = "the replay attempt left no record, so nothing is known about the base"
    return Diagnosis(Next.FAIL, why, verdict=last)


def _published(catalog: Catalog, attempts: Sequence[Verdict], run: str) -> bool:
    # The backup exists once its manifest does; the verdict recorded after it may be lost with the node.
    by_record = any(v.outcome is Outcome.PUBLISHED for v in attempts)
    return by_record or any(m.run == run and m.base.kind == "backup" for m in catalog.manifests)


def _last(verdicts: Sequence[Verdict]) -> Verdict | None:
    telling = [v for v in verdicts if v.outcome not in (Outcome.RESTORED, Outcome.WITHDRAWN)]
    return telling[-1] if telling else None


def recovered_from(catalog: Catalog, *, run: str) -> list[Verdict]:
    """Return the verdicts about failures since the last backup before *run*'s, oldest first.

    Failed tries of this run itself that a retry recovered are left out, because no notification was sent for them.
    """
    earlier = [m.created_at for m in catalog.manifests if m.run != run and not m.as_of]
    since = max(earlier, default=None)
    bad = (Outcome.QUARANTINED, Outcome.STRANDED, Outcome.HELD)
    return [
        v
        for v in catalog.verdicts
        if (v.outcome in bad or (v.outcome is Outcome.FAILED and v.run != run))
        and (since is None or v.at > since)
    ]
