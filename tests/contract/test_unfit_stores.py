"""S10: real stores that take no notice of the condition are refused before anything is written that counts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_restore_replay.core.errors import StoreUnsafe
from airflow_restore_replay.core.repository.probe import probe_repository
from airflow_restore_replay.core.repository.repository import Repository
from tests.support.stores.base import Store
from tests.support.stores.gcs import GcpStorageEmulator
from tests.support.stores.rclone import Rclone


@pytest.fixture(scope="module", params=[Rclone, GcpStorageEmulator])
def unfit(request: pytest.FixtureRequest) -> Iterator[Store]:
    with request.param() as server:
        yield server


def test_s10_start_up_refuses_it_and_changes_nothing(unfit: Store) -> None:
    bucket = unfit.new_bucket()
    kept = b""
    for _ in range(2):
        with pytest.raises(StoreUnsafe, match=r"replaced an existing object .*If-None-Match"):
            Repository.open(unfit.spec(bucket), cluster="orders", credentials=unfit.credentials, write=True)
        marker = unfit.read(f"{bucket}/orders/repository.json")
        assert marker == (kept or marker), "the proof writes the bytes that were there"
        kept = marker


def test_s10_so_does_the_connection_form(unfit: Store) -> None:
    bucket = unfit.new_bucket()
    with pytest.raises(StoreUnsafe, match="replaced an existing object"):
        # The emulator cannot delete the object of the probe.
        probe_repository(unfit.spec(bucket, retry_timeout="1s"), unfit.credentials)
