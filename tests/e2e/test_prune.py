"""Retention at the end of whole cycles."""

from __future__ import annotations

import pytest

from airflow_restore_replay.core.errors import PruneUnsafe
from airflow_restore_replay.core.repository.verification.verify import verify
from tests.support.backups import aged_copy
from tests.support.rig import Rig


def test_a_cycle_prunes_what_retention_lets_go(rig: Rig, backup_id: str) -> None:
    old = [aged_copy(rig.repository(), backup_id, days=days) for days in (400, 300, 200)]
    report = rig.cycle(retention={"last": 1, "min_count": 2})
    new_id = rig.published(report)
    assert report.pruned is not None
    assert sorted(report.pruned.deleted) == sorted(old)
    assert [b.backup_id for b in rig.catalog().backups] == [backup_id, new_id]
    assert verify(rig.repository()).ok
    rig.restores(new_id)
    rig.restores(backup_id)


def test_only_prune_fails(rig: Rig, backup_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object, **kwargs: object) -> None:
        raise PruneUnsafe("The clocks disagree.")

    monkeypatch.setattr("airflow_restore_replay.core.cycle.run.prune", fails)
    report = rig.cycle()
    assert report.failure is not None
    assert report.failure.code == "PruneUnsafe"
    assert not report.ok
    assert [b.backup_id for b in rig.catalog().healthy()] == [backup_id, report.published_id]


def test_a_run_that_failed_prunes_nothing(rig: Rig, backup_id: str) -> None:
    old = aged_copy(rig.repository(), backup_id, days=400)
    report = rig.cycle(password="wrong", retries=0, retention={"last": 1, "min_count": 1})
    assert report.failure is not None
    assert report.pruned is None
    assert [b.backup_id for b in rig.catalog().backups] == [old, backup_id]
