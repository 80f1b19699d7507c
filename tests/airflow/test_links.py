"""Where a record is seen."""

from __future__ import annotations

import pytest
from airflow.configuration import conf

from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.config.store_options import StoreOptions
from airflow_restore_replay.operators.links import manifest_url, verdict_url

CONSOLE = "https://console.aws.amazon.com/s3/object/bucket?prefix="


def path_of(url: str) -> str:
    """Return *url* without the address of Airflow's UI."""
    return url.removeprefix((conf.get("api", "base_url", fallback="") or "").rstrip("/"))


@pytest.mark.parametrize(
    ("spec", "url"),
    [
        (RepositorySpec(url="file:///srv/orders"), "/plugin/backups#/orders/ID"),
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
    assert path_of(manifest_url(spec, "ID", "orders")) == url


def test_a_verdict_is_seen() -> None:
    spec = RepositorySpec(url="s3://b/orders", options=StoreOptions(endpoint="https://minio:9000"))
    assert verdict_url(spec, "V", "orders") == "s3://b/orders/verdicts/V.json"
    # A browser opens no directory of the worker.
    assert (
        path_of(verdict_url(RepositorySpec(url="file:///srv/orders"), "V", "orders"))
        == "/plugin/backups#/orders"
    )
