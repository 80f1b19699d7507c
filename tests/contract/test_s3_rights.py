"""X6: the documented policies are enough, and they are all that is needed. IAM, enforced by the server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_restore_replay.core.config.cluster import parse_clusters
from airflow_restore_replay.core.config.sections import Retention
from airflow_restore_replay.core.errors import StoreDenied, StoreFailed
from airflow_restore_replay.core.repository.format.records import Outcome
from airflow_restore_replay.core.repository.pruning.prune import prune
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.transfer.restore import restore_tree
from tests.support.backups import aged_copy, back_up, tree_bytes
from tests.support.stores.moto import Moto
from tests.support.stores.s3 import CREDENTIALS

DOCUMENT = (Path(__file__).parents[2] / "docs" / "object-stores.md").read_text()
BUCKET = "backups"


def policy(name: str) -> dict[str, Any]:
    """Return the documented policy."""
    match = re.search(rf"<!-- policy: {name} -->\n```json\n(.*?)```", DOCUMENT, re.DOTALL)
    assert match, name
    found: dict[str, Any] = json.loads(match[1])
    return found


class Guarded:
    """A server on which everybody has the documented rights and no other."""

    def __init__(self, server: Moto) -> None:
        self.server = server
        server.raw("PUT", f"/{BUCKET}")
        self.users = {name: server.user(name, policy(name)) for name in ("cycle", "prune", "restore")}
        server.demand_rights()

    def open(self, user: str, *, write: bool = False) -> Repository:
        spec = self.server.spec(BUCKET, retry_timeout="2s")
        assert spec.url == f"s3://{BUCKET}/orders"
        return Repository.open(spec, cluster="orders", credentials=self.users[user], write=write)


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    with Moto() as server:
        yield Guarded(server)


def test_x6_a_cycle_cannot_delete_and_need_not(guarded: Guarded, tree: Path, tmp_path: Path) -> None:
    """Lease, snapshot with its read-back, publish, verdict, catalog; twice, as the second one reuses."""
    repository = guarded.open("cycle", write=True)
    for run in ("run-1", "run-2"):
        manifest, files = back_up(repository, tree, run=run)
        repository.record(repository.new_verdict(Outcome.PUBLISHED, run, published_id=manifest.backup_id))
    assert len(repository.catalog().backups) == 2
    with pytest.raises(StoreDenied, match=r"repository\.json .* cannot be deleted"):
        repository.store.delete("repository.json")
    assert repository.store.size("repository.json")

    reader = guarded.open("restore")
    restore_tree(reader.chunks, files, tmp_path / "out", chunk_size_bytes=manifest.chunk_size_bytes)
    assert tree_bytes(tmp_path / "out") == tree_bytes(tree)
    with pytest.raises(StoreFailed, match="PermissionDenied|AccessDenied|403"):
        reader.store.put_new("chunks/zz/forged", b"x")
    with pytest.raises(StoreDenied):
        reader.store.delete("repository.json")


def test_x6_only_prune_deletes(guarded: Guarded, tree: Path) -> None:
    writer = guarded.open("cycle", write=True)
    manifest, _ = back_up(writer, tree, run="run-3")
    old = [aged_copy(writer, manifest.backup_id, days=days) for days in (40, 50)]
    pruner = guarded.open("prune", write=True)
    epoch = pruner.lease.acquire("prune-1", ttl_s=600)
    report = prune(pruner, Retention(last=1, min_count=1), run="prune-1", epoch=epoch)
    pruner.lease.release("prune-1", epoch)
    left = [m.backup_id for m in guarded.open("restore").catalog().manifests]
    assert (report.denied_count, set(old) & set(left)) == (0, set())
    assert manifest.backup_id in left


def test_x6_a_prune_without_the_right_to_delete_reports_it(guarded: Guarded, tree: Path) -> None:
    repository = guarded.open("cycle", write=True)
    manifest, _ = back_up(repository, tree, run="run-4")
    old = aged_copy(repository, manifest.backup_id, days=60)
    epoch = repository.lease.acquire("prune-2", ttl_s=600)
    report = prune(repository, Retention(last=1, min_count=1), run="prune-2", epoch=epoch)
    repository.lease.release("prune-2", epoch)
    assert report.denied_count > 0
    assert "lack the right to delete" in report.complaint
    assert old in {m.backup_id for m in repository.catalog().manifests}


def test_the_keys_that_are_refused_by_the_server_are_those_of_the_test(guarded: Guarded) -> None:
    """The enforcement is real: keys without a policy get nowhere."""
    stranger = {**CREDENTIALS, "access_key_id": "AKIASTRANGER0001"}
    spec = guarded.server.spec(BUCKET, retry_timeout="2s")
    with pytest.raises(StoreFailed, match="403|PermissionDenied|InvalidAccessKeyId"):
        Repository.open(spec, cluster="orders", credentials=stranger, write=True)


def test_the_documented_cluster_files_are_valid() -> None:
    files = re.findall(r"<!-- parsed by the tests[^\n]* -->\n```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    amazon, others = (parse_clusters(yaml.safe_load(text)) for text in files)
    options = amazon["orders"].repository.options
    assert (options.sse, options.retry_timeout) == ("aws:kms", timedelta(minutes=10).total_seconds())
    assert others["invoices"].repository.options.account_name == "examplebackups"
    assert others["carts"].repository.options.service_account_file
