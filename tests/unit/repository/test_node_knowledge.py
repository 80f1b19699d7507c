"""What a node knows of its data directory, and that it is forgotten with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_restore_replay.cli.cycle import _paranoid
from airflow_restore_replay.core.agent.node_commands import cancel, describe, destroy, status, submit
from airflow_restore_replay.core.agent.state_file import StateFile
from airflow_restore_replay.core.config.cluster import parse_clusters
from airflow_restore_replay.core.decoding import encode
from airflow_restore_replay.core.errors import NodeGone, ProtocolMismatch
from airflow_restore_replay.core.flavor import server_record
from airflow_restore_replay.core.flavor.server_record import ServerRecord
from airflow_restore_replay.core.jobs.node import NodeDir
from airflow_restore_replay.core.jobs.protocol import (
    PROTOCOL_VERSION,
    JobName,
    JobRequest,
    NodeRequest,
    RunRef,
)
from airflow_restore_replay.core.repository.objects.chunks import CHUNK_SIZE_BYTES, ChunkStore
from airflow_restore_replay.core.repository.store.local import LocalStore
from airflow_restore_replay.core.repository.transfer.restore import restore_tree
from airflow_restore_replay.core.repository.transfer.snapshot import snapshot_tree
from airflow_restore_replay.core.system.files import replace_file
from airflow_restore_replay.core.system.processes import running, spawn
from tests.support.generations import copy, kind, make_varied_tree, vary

CLUSTER = parse_clusters(
    {"clusters": {"orders": {"primary": {"host": "db"}, "repository": {"url": "file:///nowhere/orders"}}}}
)["orders"]
RUN = RunRef(run="r", attempt="replay", lease_epoch=1)


@pytest.fixture
def node(tmp_path: Path) -> NodeDir:
    request = NodeRequest(
        node_id="n1",
        run=RUN,
        cluster=CLUSTER,
    )
    return NodeDir.create(tmp_path / "nodes", request)


def test_a_node_remembers_its_base_until_it_is_wiped(node: NodeDir, tmp_path: Path) -> None:
    chunks = ChunkStore(LocalStore(tmp_path / "store"))
    files, _ = snapshot_tree(chunks, make_varied_tree(tmp_path / "one"))
    result = restore_tree(
        chunks, files, node.data, chunk_size_bytes=CHUNK_SIZE_BYTES, pages=node.pages, label="b"
    )
    node.save_base(result.base)
    vary(node.data)
    found, sizes = copy(chunks, node.data, node.load_base(), journal=node.bundled)
    assert sizes.skipped_files == 2
    assert kind(next(f for f in found if f.path == "shop/orders.ibd").chunks[0]) == "delta"
    assert node.bundled.exists()
    (node.path / "manifest.json").write_bytes(b"{}")

    node.wipe()
    left = {p.name for p in node.path.iterdir() if p.is_file()}
    assert left <= {"node.json", "lock"}
    forgotten = node.load_base()
    assert (list(forgotten.files), forgotten.stats, forgotten.pages) == ([], {}, None)


def test_a_node_of_another_release_is_destroyed_with_its_server(node: NodeDir, tmp_path: Path) -> None:
    server = spawn(["/bin/sleep", "60"], tmp_path / "log")
    server_record.save(node.run, ServerRecord(process=server, socket=str(node.run / "s"), log_offset=0))
    replace_file(node.path / "node.json", json.dumps({"cluster": {"of another": "release"}}).encode())
    destroy(node, b"{}")
    assert not running(server)
    assert not node.path.exists()


def test_job_state_that_is_unreadable_counts_as_missing_and_is_logged(
    node: NodeDir, caplog: pytest.LogCaptureFixture
) -> None:
    request = JobRequest(key="k", job=JobName.RESTORE, run=RUN, cluster=CLUSTER)
    (node.jobs / "other.json").write_bytes(b'{"key": ')
    StateFile(node, "k").path.write_bytes(b"[" * 100_000)
    assert describe(node, b"")["job"] == ""
    with pytest.raises(NodeGone, match="has no job 'k'"):
        status(node, encode({"key": "k"}))
    state = submit(node, encode(request))
    cancel(node, encode({"key": "k"}))
    destroy(node, b"{}")
    assert (state.key, state.attempt_no) == ("k", 1)
    assert "other.json is unreadable and counts as missing" in caplog.text


def test_paranoid_is_a_word_of_the_cluster_file_and_of_the_command_line() -> None:
    assert not CLUSTER.transfer.paranoid
    assert _paranoid(CLUSTER).transfer.paranoid


def test_a_node_of_another_release_is_refused_whatever_else_is_in_its_state(node: NodeDir) -> None:
    path = node.path / "node.json"
    state = json.loads(path.read_bytes())
    assert state["protocol"] == PROTOCOL_VERSION
    other = {**state, "protocol": PROTOCOL_VERSION - 1, "cluster": {"of another": "release"}}
    replace_file(path, json.dumps(other).encode())
    with pytest.raises(ProtocolMismatch, match=f"protocol {PROTOCOL_VERSION - 1}, this agent"):
        node.load()
