"""The shipped DAG with nodes on another host: address, key and host key come from an Airflow connection."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_restore_replay.core.config.cluster import load_clusters
from airflow_restore_replay.core.decoding import plain
from airflow_restore_replay.core.errors import ConfigInvalid
from airflow_restore_replay.hooks import ReplayNodeHook
from tests.airflow.support import Shipped
from tests.support.process_list import ProcessListWatch
from tests.support.rig import SECRETS
from tests.support.sshd import Sshd


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd.start(tmp_path_factory.mktemp("airflow-ssh") / "sshd")
    yield server
    server.stop()


def connect(monkeypatch: pytest.MonkeyPatch, sshd: Sshd, **changes: Any) -> None:
    """Define the connection ``db1_ssh``, as the SSH provider's form does."""
    extra = {"private_key": (sshd.root / "key").read_text(), "host_key": sshd.host_key}
    fields = {
        "conn_type": "ssh",
        "host": "127.0.0.1",
        "port": sshd.gate.port,
        "login": sshd.node_section["user"],
        **changes,
        "extra": {**extra, **changes.get("extra", {})},
    }
    monkeypatch.setenv("AIRFLOW_CONN_DB1_SSH", json.dumps(fields))


@pytest.fixture
def over_ssh(cycle: Shipped, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Shipped:
    connect(monkeypatch, sshd)
    cycle.configure(node={"runtime": "ssh", "connection": "db1_ssh", "python": sys.executable})
    return cycle


def key_lines(sshd: Sshd) -> list[str]:
    return (sshd.root / "key").read_text().splitlines()[1:-1]


def test_x1_a_cycle_over_ssh_shows_no_secret_anywhere(
    over_ssh: Shipped, sshd: Sshd, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with ProcessListWatch((*SECRETS, *key_lines(sshd))) as watch:
        ran = over_ssh.run(deferrable=True)
    assert ran.state == "success", ran.errors
    assert {"replay.restore_backup", "replay.snapshot"} <= ran.of("success")
    assert ran.results["replay.create_node"]["host"] == f"127.0.0.1:{sshd.gate.port}"
    assert ran.results["replay.create_node"]["runtime"] == "ssh"
    assert (watch.looks > 10, watch.leaks) == (True, set())
    told = caplog.text + json.dumps(ran.results)
    assert "replay.snapshot" in told
    assert not any(secret in told for secret in (*SECRETS, *key_lines(sshd)))
    over_ssh.rig.assert_nothing_left()
    assert not over_ssh.rig.workdir.exists()


def test_the_resolved_cluster_names_the_connection_and_holds_no_key(over_ssh: Shipped, sshd: Sshd) -> None:
    """A trigger gets these plain values, and still has to be let in."""
    cluster = load_clusters(over_ssh.cluster_file)["orders"]
    resolved = ReplayNodeHook(cluster).cluster
    node = resolved.node
    assert (node.host, node.port, node.connection) == ("127.0.0.1", sshd.gate.port, "db1_ssh")
    assert "PRIVATE KEY" not in json.dumps(plain(resolved))
    assert ReplayNodeHook(resolved).runtime.nodes() == []


def test_a_test_of_primary_and_node_tells_what_is_there(over_ssh: Shipped, sshd: Sshd) -> None:
    cluster = load_clusters(over_ssh.cluster_file)["orders"]
    ok, said = ReplayNodeHook(cluster).test_connection()
    assert ok, said
    assert "mariadb server 1" in said
    assert "free in" in said


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"extra": {"host_key": ""}}, "is not known; it shows the key SHA256:"),
        ({"extra": {"private_key": "nonsense"}}, "private key cannot be read"),
        ({"extra": {"host_proxy_cmd": "touch pwned"}}, "uses host_proxy_cmd, which nodes over SSH do not"),
        ({"host": "-oProxyCommand=touch pwned"}, "is no host name or address"),
        ({"host": "$(touch pwned)"}, "is no host name or address"),
        ({"conn_type": "mysql"}, "needs one of the type 'ssh'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_x5_a_connection_that_cannot_be_used_says_why(
    over_ssh: Shipped,
    sshd: Sshd,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    changes: dict[str, Any],
    says: str,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    connect(monkeypatch, sshd, **changes)
    cluster = load_clusters(over_ssh.cluster_file)["orders"]
    try:
        ok, said = ReplayNodeHook(cluster).test_connection()
    except ConfigInvalid as exc:
        ok, said = False, str(exc)
    assert (ok, says in said) == (False, True), said
    assert not Path("pwned").exists()
