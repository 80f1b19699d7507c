"""What a new backup recovers from, by the records alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from airflow_restore_replay.core.decisions.diagnose import recovered_from
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import Manifest, Outcome, Verdict
from tests.unit.test_cycle_decisions import manifest

START = datetime(2026, 5, 1, tzinfo=UTC)


def made(run: str, hour: float) -> Manifest:
    made_at = START + timedelta(hours=hour)
    return msgspec.structs.replace(manifest(f"backup-{run}", age_h=1, run=run), created_at=made_at)


def verdict(outcome: Outcome, run: str, hour: float) -> Verdict:
    at = START + timedelta(hours=hour)
    return Verdict(verdict_id=f"{outcome}-{run}-{hour}", at=at, cluster="orders", run=run, outcome=outcome)


def after(run: str, manifests: list[Manifest], verdicts: list[Verdict]) -> list[Outcome]:
    return [v.outcome for v in recovered_from(Catalog.of("orders", manifests, verdicts), run=run)]


def test_all_was_well() -> None:
    published = [verdict(Outcome.PUBLISHED, "a", 0), verdict(Outcome.RESTORED, "b", 1)]
    assert after("b", [made("a", 0), made("b", 2)], published) == []
    assert after("a", [made("a", 0)], []) == []


def test_a_failed_run_before() -> None:
    failed = [verdict(Outcome.FAILED, "b", 1)]
    assert after("c", [made("a", 0), made("c", 2)], failed) == [Outcome.FAILED]
    assert after("c", [made("c", 2)], failed) == [Outcome.FAILED], "not even a first backup was there"


def test_what_a_retry_made_good_is_no_trouble() -> None:
    failed = [verdict(Outcome.FAILED, "b", 1)]
    assert after("b", [made("a", 0), made("b", 2)], failed) == []
    assert after("c", [made("a", 0), made("b", 2), made("c", 3)], failed) == []


def test_a_quarantine_in_the_very_run() -> None:
    found = [verdict(Outcome.QUARANTINED, "b", 1)]
    assert after("b", [made("a", 0), made("b", 2)], found) == [Outcome.QUARANTINED]
    assert after("c", [made("a", 0), made("b", 2), made("c", 3)], found) == [], "told once"


def test_a_person_who_quarantined_the_last_backup() -> None:
    assert after("b", [made("a", 0), made("b", 2)], [verdict(Outcome.QUARANTINED, "by hand", 1)])
