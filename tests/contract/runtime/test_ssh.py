"""What only SSH has: host keys, accounts, a network that goes and comes back, a shell at the other end."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_restore_replay.core.config.cluster import Cluster, parse_clusters
from airflow_restore_replay.core.errors import (
    AgentFailed,
    AgentMissing,
    ConfigInvalid,
    HostKeyRefused,
    NodeDenied,
    NodeUnreachable,
    PreflightFailed,
    RestoreReplayError,
)
from airflow_restore_replay.core.runtime import remote, ssh
from airflow_restore_replay.core.runtime.base import NO_ACCESS, NodeAccess, Runtime
from airflow_restore_replay.core.runtime.opening import get_runtime
from tests.support.sshd import Sshd, make_key


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd.start(tmp_path_factory.mktemp("ssh") / "sshd")
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_PAUSES_S", (0.05, 0.05))


def cluster(**node: Any) -> Cluster:
    section = {"primary": {}, "repository": {"url": "file:///nowhere"}, "node": node}
    return parse_clusters({"clusters": {"orders": section}})["orders"]


def runtime(sshd: Sshd, tmp_path: Path, access: NodeAccess = NO_ACCESS, **node: Any) -> Runtime:
    base = {**sshd.node_section, "workdir": str(tmp_path / "nodes"), "python": sys.executable}
    given = {name: value for name, value in {**base, **node}.items() if value is not None}
    return get_runtime(cluster(**given), access)


def test_an_unknown_host_is_refused_with_the_statement_that_makes_it_known(
    sshd: Sshd, tmp_path: Path
) -> None:
    known = tmp_path / "known"
    known.write_text("")
    with pytest.raises(HostKeyRefused) as raised:
        runtime(sshd, tmp_path, known_hosts=str(known)).nodes()
    assert "it shows the key SHA256:" in raised.value.message
    assert f"ssh-keyscan -p {sshd.gate.port} 127.0.0.1 >> {known}" in raised.value.hint
    assert known.read_text() == ""


def test_another_host_key_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    other = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    (tmp_path / "known").write_text(f"[127.0.0.1]:{sshd.gate.port} {other}\n")
    for options in ({"known_hosts": str(tmp_path / "known")}, {"access": NodeAccess(host_key=other)}):
        with pytest.raises(HostKeyRefused, match="another host answers"):
            runtime(sshd, tmp_path, **options).nodes()


def test_the_connections_host_key_is_the_only_one_that_counts(sshd: Sshd, tmp_path: Path) -> None:
    pinned = NodeAccess(host_key=f"{sshd.host_key} root@db1")
    assert runtime(sshd, tmp_path, pinned, known_hosts=None).nodes() == []
    for nonsense in ("ssh-ed25519 ####", "ssh-unknown AAAA", "AAAA"):
        with pytest.raises(ConfigInvalid, match="host_key is no host key"):
            runtime(sshd, tmp_path, NodeAccess(host_key=nonsense)).nodes()


def test_keys_by_content_by_file_and_with_a_passphrase(sshd: Sshd, tmp_path: Path) -> None:
    plain = (sshd.root / "key").read_text()
    assert runtime(sshd, tmp_path, NodeAccess(private_key=plain), key_file=None).nodes() == []
    make_key(tmp_path / "locked", "open sesame")
    with (sshd.root / "authorized_keys").open("a") as stream:
        stream.write((tmp_path / "locked.pub").read_text())
    locked = (tmp_path / "locked").read_text()
    access = NodeAccess(private_key=locked, passphrase="open sesame")
    assert runtime(sshd, tmp_path, access, key_file=None).nodes() == []
    assert "sesame" not in repr(access)
    for broken in (
        NodeAccess(private_key=locked),
        NodeAccess(private_key=locked, passphrase="wrong"),
        NodeAccess(private_key=plain[: len(plain) // 2]),
        NodeAccess(private_key="no key at all"),
    ):
        with pytest.raises(ConfigInvalid, match="private key cannot be read") as raised:
            runtime(sshd, tmp_path, broken).nodes()
        assert broken.private_key.splitlines()[-1] not in str(raised.value)
    with pytest.raises(ConfigInvalid, match="Cannot read node.key_file"):
        runtime(sshd, tmp_path, key_file=str(tmp_path / "none")).nodes()


def test_a_refused_account_names_it_and_is_not_tried_again(sshd: Sshd, tmp_path: Path) -> None:
    make_key(tmp_path / "stranger")
    started = time.monotonic()
    for access, node in (
        (NO_ACCESS, {"key_file": str(tmp_path / "stranger")}),
        (NodeAccess(password="guessed-secret"), {"key_file": None}),
    ):
        with pytest.raises(NodeDenied, match="does not accept") as raised:
            runtime(sshd, tmp_path, access, **node).nodes()
        assert "guessed-secret" not in str(raised.value)
    assert time.monotonic() - started < 10


def test_a_network_that_is_gone_and_comes_back(sshd: Sshd, tmp_path: Path) -> None:
    over_ssh = runtime(sshd, tmp_path)
    assert over_ssh.nodes() == []
    sshd.gate.shut()
    with pytest.raises(NodeUnreachable, match="Jobs that run there continue"):
        over_ssh.nodes()
    sshd.gate.open()
    sshd.gate.drop_connections()
    assert over_ssh.nodes() == []


def test_an_agent_that_never_answers_is_given_up(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = python_that(tmp_path, "exec sleep 60")
    monkeypatch.setattr(remote, "_TIMEOUTS_S", {"nodes": 0.5})
    started = time.monotonic()
    with pytest.raises(NodeUnreachable, match=r"within 0\.5 s|lost"):
        runtime(sshd, tmp_path, python=slow).nodes()
    assert time.monotonic() - started < 30


def python_that(tmp_path: Path, script: str) -> str:
    """Return the path of a program that takes the place of the agent's Python."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_x30_messages_of_any_length_do_not_block_the_answer(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_TIMEOUTS_S", {"nodes": 20.0})
    talkative = python_that(tmp_path, 'head -c 20000000 /dev/zero >&2; echo \'{"info":{"nodes":[]}}\'')
    assert runtime(sshd, tmp_path, python=talkative).nodes() == []


def test_x30_answer_without_an_end_is_refused(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_TIMEOUTS_S", {"nodes": 20.0})
    monkeypatch.setattr(remote, "_ANSWER_LIMIT_BYTES", 1_000_000, raising=False)
    with pytest.raises(AgentFailed, match=r"output of the agent on host 127\.0\.0\.1 is larger than"):
        runtime(sshd, tmp_path, python=python_that(tmp_path, "exec yes")).nodes()


def test_a_host_without_this_package_is_told_how_to_get_it(sshd: Sshd, tmp_path: Path) -> None:
    with pytest.raises(AgentMissing, match="python9 -m pip install airflow-restore-replay=="):
        runtime(sshd, tmp_path, python="python9").nodes()


@pytest.mark.parametrize(
    "node",
    [
        {"host": "-oProxyCommand=touch pwned"},
        {"host": "db1;touch pwned"},
        {"host": "db1", "python": "-c import os"},
        {"host": "db1", "python": "python3\ntouch pwned"},
        {"host": "db1", "port": 70000},
        {},
    ],
    ids=str,
)
def test_x5_what_is_no_address_is_refused(node: dict[str, Any]) -> None:
    with pytest.raises(ConfigInvalid, match="node"):
        cluster(runtime="ssh", **node)


def test_x5_a_program_with_meaning_to_a_shell_is_inert(sshd: Sshd, tmp_path: Path) -> None:
    marker = tmp_path / "pwned"
    for python in (f"touch {marker}", f"$(touch {marker})", f"true;touch {marker}", f"`touch {marker}`"):
        with pytest.raises(RestoreReplayError):
            runtime(sshd, tmp_path, python=python).nodes()
    assert not marker.exists()


def test_keys_of_ssh_are_refused_elsewhere() -> None:
    with pytest.raises(ConfigInvalid, match="host, key_file only with runtime ssh"):
        cluster(host="db1", key_file="/k")


def test_without_the_extra_it_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paramiko", None)
    monkeypatch.delitem(sys.modules, ssh.__name__)
    with pytest.raises(PreflightFailed, match=r"pip install 'airflow-restore-replay\[ssh\]'"):
        importlib.import_module(ssh.__name__)


def test_the_command_line_cannot_resolve_a_connection() -> None:
    with pytest.raises(ConfigInvalid, match=r"give node\.host"):
        get_runtime(cluster(runtime="ssh", connection="db1_ssh"))
