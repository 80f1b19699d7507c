"""What may come back from a node's host instead of an answer, and what is made of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import run

import msgspec
import pytest

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.config.sections import Primary, RepositorySpec
from airflow_restore_replay.core.errors import (
    AgentFailed,
    AgentMissing,
    Blame,
    NodeDenied,
    NodeUnreachable,
    ProtocolMismatch,
    RestoreReplayError,
)
from airflow_restore_replay.core.jobs.protocol import PROTOCOL_VERSION, NodeRequest, RunRef
from airflow_restore_replay.core.runtime import remote
from airflow_restore_replay.core.runtime.host import information
from airflow_restore_replay.core.runtime.nodes import reap
from airflow_restore_replay.core.runtime.remote import Completed, RemoteAgent, RemoteRuntime

REQUEST = NodeRequest(
    node_id="orders-1",
    run=RunRef(run="cli/one", attempt="replay", lease_epoch=1),
    cluster=Cluster(name="orders", primary=Primary(), repository=RepositorySpec(url="file:///nowhere")),
)


class HereTransport:
    """Runs the program on this host.

    :param broken: failures to come first.
    """

    place = "host here"

    def __init__(self, *broken: RestoreReplayError) -> None:
        self.broken = list(broken)
        self.runs = 0

    def run(self, argv: Sequence[str], payload: bytes, *, timeout_s: float) -> Completed:
        self.runs += 1
        if self.broken:
            raise self.broken.pop(0)
        done = run(argv, input=payload, capture_output=True, timeout=timeout_s, check=False)
        return Completed(done.stdout, done.stderr, done.returncode)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_PAUSES_S", (0.01, 0.02))


def runtime_of(transport: HereTransport, workdir: Path) -> RemoteRuntime:
    return RemoteRuntime("ssh", transport, workdir=str(workdir), host="here", python=sys.executable)


def test_a_node_is_created_seen_and_destroyed_by_the_program(tmp_path: Path) -> None:
    runtime = runtime_of(HereTransport(), tmp_path / "nodes")
    handle = runtime.create(REQUEST)
    assert runtime.create(REQUEST) == handle
    (seen,) = runtime.nodes()
    assert (seen["node_id"], seen["host"], seen["phase"]) == ("orders-1", "here", "empty")
    assert seen["disk_bytes"] > 0
    assert reap(runtime, node_ids=["orders-1"]) == ["orders-1"]
    runtime.destroy(handle)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_connection_is_tried_again_a_few_times(tmp_path: Path) -> None:
    transport = HereTransport(NodeUnreachable("reset"), NodeUnreachable("refused"))
    assert runtime_of(transport, tmp_path).nodes() == []
    assert transport.runs == 3
    for_good = HereTransport(*(NodeUnreachable("no route") for _ in range(9)))
    with pytest.raises(NodeUnreachable, match="no route") as raised:
        runtime_of(for_good, tmp_path).nodes()
    assert (for_good.runs, raised.value.blame) == (3, Blame.ENVIRONMENT)


def test_a_refused_account_is_not_tried_again(tmp_path: Path) -> None:
    transport = HereTransport(NodeDenied("wrong key"), NodeDenied("wrong key"))
    with pytest.raises(NodeDenied):
        runtime_of(transport, tmp_path).nodes()
    assert transport.runs == 1


@pytest.mark.parametrize(
    ("program", "error", "says"),
    [
        (
            "echo sh: 1: python9: not found >&2; exit 127",
            AgentMissing,
            "-m pip install airflow-restore-replay==",
        ),
        (
            "echo /usr/bin/python3: No module named msgspec >&2; exit 1",
            AgentMissing,
            "No module named msgspec",
        ),
        ("echo Welcome to db1!; echo '{}'", AgentFailed, "Welcome to db1!"),
        ("true", AgentFailed, "exit code 0 and no answer"),
        ("echo Traceback >&2; exit 3", AgentFailed, "exit code 3"),
        ("echo '[1]'", AgentFailed, "[1]"),
        ("kill -9 $$", NodeUnreachable, "killed while it answered nodes"),
    ],
)
def test_what_is_no_answer_says_what_to_do(
    tmp_path: Path, program: str, error: type[RestoreReplayError], says: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{program}\n")
    python.chmod(0o755)
    with pytest.raises(error) as raised:
        RemoteAgent(HereTransport(), str(python))("nodes", str(tmp_path), b"{}")
    assert says in str(raised.value)
    assert raised.value.blame is Blame.ENVIRONMENT


def test_other_releases_are_told_apart(tmp_path: Path) -> None:
    agent = RemoteAgent(HereTransport(), sys.executable)
    newer = msgspec.structs.replace(REQUEST, protocol=PROTOCOL_VERSION + 1)
    for command, payload in (("create", msgspec.json.encode(newer)), ("divine", b"{}")):
        with pytest.raises(ProtocolMismatch, match="Install the same release"):
            information(agent(command, str(tmp_path), payload))
    assert list(tmp_path.iterdir()) == []
