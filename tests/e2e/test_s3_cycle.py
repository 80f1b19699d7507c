"""Whole cycles with an S3 repository over real HTTP; faults S7 and S10 in the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_restore_replay.core.cycle_report import CycleReport
from airflow_restore_replay.core.errors import Blame
from airflow_restore_replay.core.jobs.protocol import Secrets
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.run_cycle import run_cycle
from tests.e2e.conftest import Seeded
from tests.support.mariadb import BACKUP_PASSWORD
from tests.support.proxy import Act, FaultyProxy, always
from tests.support.rig import Rig, processes_in
from tests.support.s3 import CREDENTIALS, S3Server
from tests.support.tokens import TokenGate


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


class S3Rig:
    def __init__(self, rig: Rig, server: S3Server, endpoint: str | None = None) -> None:
        self.rig = rig
        self.spec = server.spec(server.new_bucket())
        self.server = server

    def cycle(self, endpoint: str | None = None, retries: int = 0, **further: Any) -> CycleReport:
        options = self.spec.options.given()
        if endpoint:
            options |= {"endpoint": endpoint, "retry_timeout": "3s"} | further
        cluster = self.rig.cluster(repository={"url": self.spec.url, "options": options})
        secrets = Secrets(primary_password=BACKUP_PASSWORD, store=CREDENTIALS)
        report = run_cycle(cluster, secrets=secrets, retries=retries)
        assert processes_in(self.rig.workdir) == []
        return report

    def repository(self) -> Repository:
        return Repository.open(self.spec, cluster="orders", credentials=CREDENTIALS, write=False)


@pytest.fixture
def on_s3(seeded: Seeded, tmp_path: Path, s3: S3Server) -> S3Rig:
    return S3Rig(Rig(seeded.primary, tmp_path), s3)


def test_two_cycles_on_s3_with_hiccups(on_s3: S3Rig, s3: S3Server) -> None:
    """S7: every tenth request is answered with 503; the cycle does not care."""
    first = on_s3.cycle()
    assert first.failure is None
    count = 0

    def hiccup(method: str, path: str) -> Act:
        nonlocal count
        count += 1
        return Act.FAIL_503 if count % 10 == 0 else Act.PASS

    with FaultyProxy(s3.port) as proxy:
        proxy.rule = hiccup
        second = on_s3.cycle(endpoint=proxy.endpoint)
    assert second.failure is None, second.failure
    assert second.base_id == first.published_id
    assert count > 30
    assert len(on_s3.repository().catalog().backups) == 2


def test_s7_store_down_for_good(on_s3: S3Rig, s3: S3Server) -> None:
    assert on_s3.cycle().failure is None
    with FaultyProxy(s3.port) as proxy:
        proxy.rule = always(Act.FAIL_503)
        report = on_s3.cycle(endpoint=proxy.endpoint)
    assert report.failure is not None
    assert (report.failure.code, report.failure.blame) == ("StoreFailed", Blame.ENVIRONMENT)
    catalog = on_s3.repository().catalog()
    assert len(catalog.backups) == 1
    assert catalog.backups[0].against == []
    assert CREDENTIALS["secret_access_key"] not in str(report.failure)


def test_s10_store_that_ignores_conditions_is_refused(on_s3: S3Rig, s3: S3Server) -> None:
    with FaultyProxy(s3.port) as proxy:
        proxy.rule = always(Act.DROP_CONDITION)
        report = on_s3.cycle(endpoint=proxy.endpoint)
    assert report.failure is not None
    assert report.failure.code == "StoreUnsafe"
    assert on_s3.repository().catalog().backups == ()


def test_s9_a_cycle_outlives_its_roles_tokens(on_s3: S3Rig, s3: S3Server) -> None:
    """Each job on the node assumes the role by itself, and again; the keys arrive by stdin only."""
    arn = "arn:aws:iam::123456789012:role/backup"
    with TokenGate(s3.port, life_s=3) as gate:
        role = {"role_arn": arn, "sts_endpoint": gate.endpoint, "retry_timeout": "20s"}
        report = on_s3.cycle(endpoint=gate.endpoint, **role)
    assert report.failure is None, report.failure
    assert len(on_s3.repository().catalog().backups) == 1
    assert gate.issued > 3
