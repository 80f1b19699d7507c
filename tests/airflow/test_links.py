"""Where a record is seen."""

from __future__ import annotations

import pytest

from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.config.store_options import StoreOptions
from airflow_restore_replay.operators.links import manifest_url, verdict_url

CONSOLE = "https://console.aws.amazon.com/s3/object/bucket?prefix="


@pytest.mark.parametrize(
    ("spec", "url"),
    [
        (RepositorySpec(url="file:///srv/orders"), "file:///srv/orders/manifests/ID.json"),
        (RepositorySpec(url="s3://bucket/a/orders/"), f"{CONSOLE}a/orders/manifests/ID.json"),
        (
            RepositorySpec(url="s3://bucket/orders", options=StoreOptions(region="eu-central-1")),
            f"{CONSOLE}orders/manifests/ID.json&region=eu-central-1",
        ),
        (
            RepositorySpec(url="s3://bucket/orders", options=StoreOptions(endpoint="https://minio:9000")),
            "s3://bucket/orders/manifests/ID.json",
        ),
        (
            RepositorySpec(url="s3://bucket/orders", browse="https://minio/browser/bucket/orders/{path}"),
            "https://minio/browser/bucket/orders/manifests/ID.json",
        ),
    ],
)
def test_a_backup_is_seen(spec: RepositorySpec, url: str) -> None:
    assert manifest_url(spec, "ID") == url


def test_a_verdict_is_seen() -> None:
    assert verdict_url(RepositorySpec(url="file:///srv/orders"), "V") == "file:///srv/orders/verdicts/V.json"
