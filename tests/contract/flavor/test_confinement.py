"""Fault X10: a node's server is confined to the node's directory, whatever a superuser on it does."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pymysql
import pytest

from airflow_restore_replay.core.errors import ConfinementUnavailable
from airflow_restore_replay.core.flavor import confine
from airflow_restore_replay.core.flavor.mariadb.server import MariaDbServer
from airflow_restore_replay.core.flavor.mysql.server import MySqlServer
from airflow_restore_replay.core.flavor.optionfile import option_file
from airflow_restore_replay.core.flavor.server_process import NodeProcess
from airflow_restore_replay.core.flavor.server_record import recorded
from airflow_restore_replay.core.flavor.sql import run, value
from airflow_restore_replay.core.flavor.values import Conn, Endpoint
from airflow_restore_replay.core.jobs.node import NodeDir
from airflow_restore_replay.core.system.confinement import Confinement, landlock_version, run_confined
from tests.contract.flavor import conftest as mariadb
from tests.support import mysql_node, templates

SERVERS = ("mariadb", "mysql")


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A running node; all tests of a flavor share it."""
    root = tmp_path_factory.mktemp(request.param) / "node"
    made: NodeProcess
    if request.param == "mysql":
        made = MySqlServer(mysql_node.layout_at(root))
    else:
        made = MariaDbServer(mariadb.layout_at(root, log_path=root / "log" / "error.log"))
    templates.initialize(made)
    made.start(replaying=True)
    yield made
    made.kill()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A directory outside the node that everybody may write to, with a file."""
    tmp_path.chmod(0o777)
    (tmp_path / "keys").write_text("key of a person\n")
    (tmp_path / "keys").chmod(0o666)
    return tmp_path


def attempt(conn: Conn, *statements: str) -> None:
    """Run what is expected to fail or to do nothing."""
    for statement in statements:
        with contextlib.suppress(pymysql.err.MySQLError):
            run(conn, statement)


@pytest.mark.parametrize("variable", ["general_log", "slow_query_log"])
def test_x10_no_log_of_the_server_is_written_outside_its_node(
    server: NodeProcess, elsewhere: Path, variable: str
) -> None:
    """The server opens the file as soon as the variable is set, and appends each statement to it."""
    with contextlib.closing(server.connect()) as conn:
        for name in ("keys", "new"):
            attempt(
                conn,
                f"SET GLOBAL {variable}_file = '{elsewhere / name}'",
                "SET GLOBAL long_query_time = 0",
                f"SET GLOBAL {variable} = ON",
                "SELECT 'ssh-ed25519 intruder'",
                f"SET GLOBAL {variable} = OFF",
            )
    assert (elsewhere / "keys").read_text() == "key of a person\n"
    assert sorted(path.name for path in elsewhere.iterdir()) == ["keys"]


def test_x10_the_servers_statements_cannot_change_the_nodes_state_or_its_plugins(server: NodeProcess) -> None:
    node = server.layout.run_dir.parent
    targets = [node / "node.json", server.layout.plugin_dir / "evil.so"]
    with contextlib.closing(server.connect()) as conn:
        for target in targets:
            attempt(
                conn,
                f"SET GLOBAL general_log_file = '{target}'",
                "SET GLOBAL general_log = ON",
                "SELECT 1",
                "SET GLOBAL general_log = OFF",
            )
    assert [target for target in targets if target.exists()] == []


def test_x10_the_server_cannot_see_secrets_of_its_account(server: NodeProcess, elsewhere: Path) -> None:
    """Neither files outside the node nor the environment and memory of the agent, which runs as the same user."""
    process = recorded(server.layout.run_dir)
    assert process is not None
    # A confined child of this test shares what the server's process may do; it is not the server that can be asked.
    confinement = confine.server_confinement(server.layout, socket_directory=server.layout.run_dir)
    assert confinement is not None
    for secret in (
        elsewhere / "keys",
        Path(f"/proc/{os.getpid()}/environ"),
        Path(f"/proc/{os.getpid()}/mem"),
    ):
        assert secret.exists()
        assert "Permission denied" in output_of(confinement, "/bin/cat", str(secret))
    assert "root" in output_of(confinement, "/bin/cat", "/etc/passwd")


def test_x10_beside_its_program_the_server_reads_programs_and_libraries_only(
    server: NodeProcess, tmp_path: Path
) -> None:
    """A server may be installed in a home directory, or node.bindir be /bin; Airflow's home may be /opt/airflow."""
    for name in ("bin", "lib", ".ssh"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("content")
    for layout, program in (
        (replace(server.layout, bindir=tmp_path / "bin"), None),
        (replace(server.layout, bindir=None), tmp_path / "bin" / "server"),
    ):
        confinement = confine.server_confinement(
            layout, socket_directory=server.layout.run_dir, program=program
        )
        assert confinement is not None
        assert (
            output_of(confinement, "/bin/cat", f"{tmp_path}/bin/file", f"{tmp_path}/lib/file")
            == "content" * 2
        )
        assert "Permission denied" in output_of(confinement, "/bin/cat", f"{tmp_path}/.ssh/file")
        assert "Permission denied" in output_of(confinement, "/bin/ls", "/opt")


def test_x28_the_server_cannot_read_option_files_of_programs(server: NodeProcess, tmp_path: Path) -> None:
    """They hold the primary's password while a seed runs, and could lead a program that is not confined elsewhere."""
    node = NodeDir(server.layout.run_dir.parent)
    confinement = confine.server_confinement(server.layout, socket_directory=server.layout.run_dir)
    assert confinement is not None
    with option_file(Endpoint(password="secret"), node.secrets, lambda _: {}) as options:
        assert "Permission denied" in output_of(confinement, "/bin/cat", str(options))
        assert "Permission denied" in output_of(confinement, "/bin/sh", "-c", f"> {options}")
        assert "secret" in options.read_text()


def test_x10_a_confined_process_can_signal_no_other(tmp_path: Path) -> None:
    if landlock_version() < 6:
        pytest.skip("Linux 6.12 and newer confine signals")
    confinement = Confinement(programs=[Path("/usr"), Path("/bin"), Path("/lib"), Path("/lib64")])
    with subprocess.Popen(["/bin/sleep", "60"]) as other:
        refused = output_of(confinement, "/bin/sh", "-c", f"kill -9 {other.pid}")
        assert "not permitted" in refused
        assert other.poll() is None
        other.kill()


def test_x10_a_confined_process_listens_nowhere_and_reaches_the_primary_only(tmp_path: Path) -> None:
    if landlock_version() < 4:
        pytest.skip("Linux 6.7 and newer confine TCP")
    confinement = Confinement(programs=[Path("/usr"), Path("/lib"), Path("/lib64"), Path(sys.prefix)])
    code = "import socket; s = socket.socket(); s.{}(('127.0.0.1', {}))"
    python = os.path.realpath(sys.executable)
    allowed = replace(confinement, programs=[*confinement.programs, Path(python).parents[1]], tcp_ports=[9])
    assert "Permission denied" in output_of(allowed, python, "-Ic", code.format("bind", 0))
    assert "Permission denied" in output_of(allowed, python, "-Ic", code.format("connect", 10))
    assert "Connection refused" in output_of(allowed, python, "-Ic", code.format("connect", 9))


def test_the_process_that_starts_a_confined_one_stays_as_it_is(tmp_path: Path) -> None:
    assert "Permission denied" in output_of(
        Confinement(programs=[Path("/")]), "/bin/sh", "-c", f"> {tmp_path}/a"
    )
    (tmp_path / "a").write_text("written by the parent")
    assert "NoNewPrivs:\t0" in Path("/proc/self/status").read_text()


def test_x10_no_server_is_started_where_confinement_is_required_and_missing(
    server: NodeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Linux before 5.19; a kernel cannot be exchanged in a test."""
    monkeypatch.setattr(confine, "landlock_version", lambda: 1)
    required = replace(server.layout, confine="require")
    with pytest.raises(ConfinementUnavailable, match=r"Landlock version 1.*5\.19"):
        confine.server_confinement(required, socket_directory=server.layout.run_dir)
    assert confine.server_confinement(server.layout, socket_directory=server.layout.run_dir) is None
    assert confine.describe("prefer").startswith("off: the kernel offers Landlock version 1")


def test_a_confined_server_renames_tables_between_schemas(server: NodeProcess) -> None:
    """That moves files between directories, which Landlock before version 2 forbids."""
    with contextlib.closing(server.connect()) as conn:
        run(conn, "SET GLOBAL read_only = OFF")
        for statement in (
            "CREATE DATABASE here",
            "CREATE DATABASE there",
            "CREATE TABLE here.t (id INT PRIMARY KEY) ENGINE=InnoDB",
            "CREATE TABLE here.m (id INT PRIMARY KEY) ENGINE=MyISAM",
            "RENAME TABLE here.t TO there.t, here.m TO there.m",
            "INSERT INTO there.t VALUES (1)",
            "DROP DATABASE here",
        ):
            run(conn, statement)
        assert value(conn, "SELECT COUNT(*) FROM there.t") == 1


def output_of(confinement: Confinement, *argv: str) -> str:
    """:returns: what a confined program prints, errors included."""
    done = run_confined(
        confinement, lambda: subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    )
    return done.stdout + done.stderr
