"""Whole cycles with a repository in an object store, over real HTTP; on S3 with faults S7, S9 and S10 in the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_restore_replay.core.cycle.report import CycleReport
from airflow_restore_replay.core.cycle.run import run_cycle
from airflow_restore_replay.core.errors import Blame
from airflow_restore_replay.core.jobs.protocol import Secrets
from airflow_restore_replay.core.repository.repository import Repository
from tests.e2e.conftest import Seeded
from tests.support.mariadb import BACKUP_PASSWORD
from tests.support.proxy import Act, FaultyProxy, always
from tests.support.rig import Rig, processes_in
from tests.support.stores.azurite import Azurite
from tests.support.stores.base import Store
from tests.support.stores.gcs import FakeGcs
from tests.support.stores.moto import Moto
from tests.support.stores.s3 import CREDENTIALS, signed
from tests.support.stores.seaweedfs import SeaweedFs
from tests.support.tokens import TokenGate


@pytest.fixture(scope="module")
def s3() -> Iterator[SeaweedFs]:
    with SeaweedFs() as server:
        yield server


class StoreRig:
    def __init__(self, rig: Rig, server: Store) -> None:
        self.rig = rig
        self.spec = server.spec(server.new_folder())
        self.server = server

    def cycle(self, endpoint: str | None = None, retries: int = 0, **further: Any) -> CycleReport:
        options = self.spec.options.given()
        if endpoint:
            options |= {"endpoint": endpoint, "retry_timeout": "3s"} | further
        cluster = self.rig.cluster(repository={"url": self.spec.url, "options": options})
        secrets = Secrets(primary_password=BACKUP_PASSWORD, store=dict(self.server.credentials))
        report = run_cycle(cluster, secrets=secrets, retries=retries)
        assert processes_in(self.rig.workdir) == []
        return report

    def repository(self) -> Repository:
        return Repository.open(self.spec, cluster="orders", credentials=self.server.credentials, write=False)


@pytest.fixture
def on_s3(seeded: Seeded, tmp_path: Path, s3: SeaweedFs) -> StoreRig:
    return StoreRig(Rig(seeded.primary, tmp_path), s3)


@pytest.mark.parametrize("kind", [Azurite, FakeGcs])
def test_a_full_and_a_replay_on_azure_and_google(seeded: Seeded, tmp_path: Path, kind: type[Store]) -> None:
    with kind() as server:
        rig = StoreRig(Rig(seeded.primary, tmp_path), server)
        first, second = rig.cycle(), rig.cycle()
        assert (first.failure, second.failure) == (None, None)
        assert second.base_id == first.published_id
        healthy = rig.repository().catalog().healthy()
        assert {backup.manifest.backup_id for backup in healthy} == {first.published_id, second.published_id}


def test_two_cycles_on_s3_with_hiccups(on_s3: StoreRig, s3: SeaweedFs) -> None:
    """S7: every tenth request is answered with 503; the cycle does not care."""
    first = on_s3.cycle()
    assert first.failure is None
    count = 0

    def hiccup(method: str, path: str) -> Act:
        nonlocal count
        count += 1
        return Act.FAIL_503 if count % 10 == 0 else Act.PASS

    with FaultyProxy(s3.port, sign=signed) as proxy:
        proxy.rule = hiccup
        second = on_s3.cycle(endpoint=proxy.endpoint)
    assert second.failure is None, second.failure
    assert second.base_id == first.published_id
    assert count > 30
    assert len(on_s3.repository().catalog().backups) == 2


def test_s7_store_down_for_good(on_s3: StoreRig, s3: SeaweedFs) -> None:
    assert on_s3.cycle().failure is None
    with FaultyProxy(s3.port, sign=signed) as proxy:
        proxy.rule = always(Act.FAIL_503)
        report = on_s3.cycle(endpoint=proxy.endpoint)
    assert report.failure is not None
    assert (report.failure.code, report.failure.blame) == ("StoreFailed", Blame.ENVIRONMENT)
    catalog = on_s3.repository().catalog()
    assert len(catalog.backups) == 1
    assert catalog.backups[0].against == []
    assert CREDENTIALS["secret_access_key"] not in str(report.failure)


def test_s10_store_that_ignores_conditions_is_refused(on_s3: StoreRig, s3: SeaweedFs) -> None:
    with FaultyProxy(s3.port, sign=signed) as proxy:
        proxy.rule = always(Act.DROP_CONDITION)
        report = on_s3.cycle(endpoint=proxy.endpoint)
    assert report.failure is not None
    assert report.failure.code == "StoreUnsafe"
    assert on_s3.repository().catalog().backups == ()


def test_s9_a_cycle_outlives_its_roles_tokens(seeded: Seeded, tmp_path: Path) -> None:
    """Each job on the node assumes the role by itself, and again; the keys arrive by stdin only."""
    arn = "arn:aws:iam::123456789012:role/backup"
    with Moto() as moto, TokenGate(moto.port, life_s=3) as gate:
        rig = StoreRig(Rig(seeded.primary, tmp_path), moto)
        role: dict[str, Any] = {"role_arn": arn, "sts_endpoint": gate.endpoint, "retry_timeout": "20s"}
        report = rig.cycle(endpoint=gate.endpoint, **role)
        assert report.failure is None, report.failure
        assert len(rig.repository().catalog().backups) == 1
    assert gate.issued > 3
