"""Faults X13, X24 and X25: what is destroyed is a node, it can always be destroyed, and nothing else with it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_restore_replay.core.config.cluster import parse_clusters
from airflow_restore_replay.core.decoding import encode
from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.jobs.protocol import NodeHandle, NodeRequest, RunRef
from airflow_restore_replay.core.runtime.host import information
from airflow_restore_replay.core.runtime.nodes import create_node, reap
from airflow_restore_replay.core.runtime.process import ProcessRuntime
from airflow_restore_replay.core.system.processes import NODE, ProcessId, end, running, spawn

CLUSTER = parse_clusters(
    {"clusters": {"orders": {"primary": {"host": "db"}, "repository": {"url": "file:///nowhere/orders"}}}}
)["orders"]
RUN = RunRef(run="a_dag/a_run", attempt="replay", lease_epoch=1)
NEXT = RunRef(run="a_dag/next_run", attempt="replay", lease_epoch=2)
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another account")


@pytest.fixture
def runtime(tmp_path: Path) -> ProcessRuntime:
    return ProcessRuntime(str(tmp_path / "nodes"))


@pytest.fixture
def handle(runtime: ProcessRuntime) -> NodeHandle:
    return runtime.create(NodeRequest(node_id="orders-0123456789ab", run=RUN, cluster=CLUSTER))


@pytest.fixture
def path(handle: NodeHandle) -> Path:
    return Path(handle.workdir, handle.node_id)


@pytest.fixture
def server(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessId]:
    """A process of the node."""
    with monkeypatch.context() as marked:
        marked.setenv(NODE, str(path))
        started = spawn(["/bin/sleep", "600"], tmp_path / "server.log")
    # The kernel shows the environment a moment after the program has started.
    while not Path(f"/proc/{started.pid}/environ").read_bytes():
        time.sleep(0.001)
    yield started
    end(started, grace_s=1)


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[ProcessId]:
    """A process of the same account that is not the node's."""
    started = spawn(["/bin/sleep", "600"], tmp_path / "stranger.log")
    yield started
    end(started, grace_s=1)


@pytest.mark.parametrize(
    ("workdir", "node_id"),
    [("home", "dags"), ("home", "my-dags"), ("nodes", "../home"), ("nodes", "../home/my-dags"), ("", "home")],
)
def test_x13_a_handle_names_no_directory_outside_the_work_directory(
    runtime: ProcessRuntime, handle: NodeHandle, tmp_path: Path, workdir: str, node_id: str
) -> None:
    for name in ("dags", "my-dags"):
        (tmp_path / "home" / name / "run").mkdir(parents=True)
        (tmp_path / "home" / name / "node.json").write_bytes(b"{}")
    before = sorted(tmp_path.rglob("*"))
    forged = msgspec.structs.replace(handle, workdir=str(tmp_path / workdir), node_id=node_id)
    for command in ("destroy", "status"):
        with pytest.raises(RestoreReplayError):
            information(runtime.ask(forged, command, b'{"key": "k"}'))
    with pytest.raises(RestoreReplayError):
        runtime.destroy(forged)
    assert sorted(tmp_path.rglob("*")) == before


def test_x13_a_directory_that_is_no_nodes_is_not_removed(runtime: ProcessRuntime, handle: NodeHandle) -> None:
    other = Path(runtime.workdir, "our-backups")
    (other / "run").mkdir(parents=True)
    (other / "run" / "agent-password").write_text("not an agent's")
    (other / "ibdata1").write_text("precious")
    with pytest.raises(RestoreReplayError, match="is not a replay node: it holds ibdata1"):
        runtime.destroy(msgspec.structs.replace(handle, node_id=other.name))
    assert sorted(p.name for p in other.rglob("*")) == ["agent-password", "ibdata1", "run"]


@pytest.mark.parametrize("state", ["run/server.json", "agent/server.json", "jobs/a.json", "node.json"])
@pytest.mark.parametrize("content", [b"2026-11-30 general log\n{}", b"\xff\xfe", b"[" * 100_000, b""])
def test_x24_a_corrupt_state_does_not_keep_a_node(
    runtime: ProcessRuntime, path: Path, server: ProcessId, state: str, content: bytes
) -> None:
    damage(path / state, content)
    (seen,) = runtime.nodes()
    assert (seen["node_id"], seen["cluster"]) == (path.name, "orders")
    next_node = create_node(runtime, CLUSTER, NEXT, key="next")
    assert not running(server)
    assert [node["node_id"] for node in runtime.nodes()] == [next_node.node_id]
    next_path = Path(next_node.workdir, next_node.node_id)
    damage(next_path / state, content)
    runtime.destroy(next_node)
    assert not next_path.exists()


def test_x24_a_state_that_is_a_directory_does_not_keep_a_node(
    runtime: ProcessRuntime, handle: NodeHandle, path: Path, server: ProcessId
) -> None:
    (path / "run" / "server.json").mkdir()
    damage(path / "agent" / "server.json", b"")
    (path / "agent" / "server.json").unlink()
    (path / "agent" / "server.json").mkdir()
    runtime.destroy(handle)
    assert not running(server)
    assert not path.exists()


def damage(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(content)


@pytest.mark.parametrize("where", ["run", "agent"])
def test_x25_no_directory_is_removed_because_a_state_names_it(
    runtime: ProcessRuntime, handle: NodeHandle, path: Path, stranger: ProcessId, where: str, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    (precious / "inside").mkdir(parents=True)
    (precious / "s").write_text("not a socket")
    gone = ProcessId(stranger.pid, 1)
    state: dict[str, Any] = {"process": gone, "socket": str(precious / "s"), "log_offset": 0}
    damage(path / where / "server.json", encode(state))
    runtime.destroy(handle)
    assert sorted(p.name for p in precious.iterdir()) == ["inside", "s"]


def test_x25_no_process_is_ended_because_a_file_of_the_server_names_it(
    runtime: ProcessRuntime, handle: NodeHandle, path: Path, stranger: ProcessId
) -> None:
    """The server can write below its run directory."""
    state = {"process": stranger, "socket": str(path / "run" / "s"), "log_offset": 0}
    damage(path / "run" / "server.json", encode(state))
    runtime.destroy(handle)
    assert running(stranger)


@as_root
def test_x25_a_planted_node_is_neither_seen_nor_destroyed(
    runtime: ProcessRuntime, handle: NodeHandle, path: Path, stranger: ProcessId
) -> None:
    planted = Path(runtime.workdir, "orders-666666666666")
    (planted / "agent").mkdir(parents=True)
    (planted / "node.json").write_text("{}")
    state = {"process": stranger, "socket": str(planted / "s"), "log_offset": 0}
    (planted / "agent" / "server.json").write_bytes(encode(state))
    for each in (planted, planted / "agent", *planted.rglob("*.json")):
        os.chown(each, NOBODY, NOBODY)
    assert [node["node_id"] for node in runtime.nodes()] == [path.name]
    assert reap(runtime, cluster="orders", keep_run=NEXT.run) == [path.name]
    with pytest.raises(RestoreReplayError, match="is not this account's replay node"):
        runtime.destroy(msgspec.structs.replace(handle, node_id=planted.name))
    assert running(stranger)
    assert planted.exists()


def test_x25_a_work_directory_that_others_may_write_is_refused(
    runtime: ProcessRuntime, handle: NodeHandle, path: Path
) -> None:
    Path(runtime.workdir).chmod(0o777)
    for use in (runtime.nodes, lambda: runtime.destroy(handle)):
        with pytest.raises(
            RestoreReplayError, match=r"not safe: other accounts may write to it \(mode 0777\)"
        ):
            use()
    with pytest.raises(RestoreReplayError, match="chmod go-w"):
        runtime.create(NodeRequest(node_id="orders-1", run=RUN, cluster=CLUSTER))
    Path(runtime.workdir).chmod(0o1777)  # as /tmp: only the owner of an entry can rename it
    assert [node["node_id"] for node in runtime.nodes()] == [path.name]
    path.chmod(0o770)
    with pytest.raises(RestoreReplayError, match="is not this account's replay node"):
        runtime.destroy(handle)
    assert path.exists()


@as_root
def test_x25_a_work_directory_of_another_account_is_refused(
    runtime: ProcessRuntime, handle: NodeHandle
) -> None:
    os.chown(runtime.workdir, NOBODY, NOBODY)
    with pytest.raises(RestoreReplayError, match=f"belongs to the account with the uid {NOBODY}"):
        runtime.nodes()
    with pytest.raises(RestoreReplayError, match="is not safe"):
        runtime.destroy(handle)
