from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_restore_replay.core.errors import NodeServerCrashed, PreflightFailed, ServerStartFailed
from airflow_restore_replay.core.flavor.mariadb.server import MariaDbServer
from airflow_restore_replay.core.flavor.sql import rows, run, value
from tests.contract.flavor.conftest import layout_at


def test_a_node_is_unreachable_and_cannot_write_by_itself(node: MariaDbServer) -> None:
    node.start(replaying=True)
    with node.connect() as conn:
        variables = dict(rows(conn, "SHOW GLOBAL VARIABLES"))
        assert value(conn, "SELECT CURRENT_USER()") == "restore_replay_agent@localhost"
    assert variables["skip_networking"] == "ON"
    assert variables["read_only"] == "ON"
    assert variables["event_scheduler"] == "OFF"
    assert variables["local_infile"] == "OFF"
    assert variables["log_bin"] == "OFF"
    assert variables["have_symlink"] == "DISABLED"
    assert list(Path(variables["secure_file_priv"]).iterdir()) == []
    loadable = {path.name for path in Path(variables["plugin_dir"]).iterdir()}
    assert not {
        name for name in loadable if name.startswith(("ha_federated", "ha_spider", "ha_connect", "ha_s3"))
    }
    for directory in (node.layout.run_dir, node.layout.datadir, node.layout.tmp_dir):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


@pytest.mark.parametrize("replaying", [True, False])
def test_a_clean_stop_leaves_no_secret_and_no_large_redo_log(node: MariaDbServer, replaying: bool) -> None:
    node.start(replaying=replaying)
    password = (node.layout.run_dir / "agent-password").read_text()
    node.stop()
    node.stop()
    assert not node.alive()
    left = [path for path in node.layout.run_dir.parent.rglob("*") if path.is_file()]
    assert not [path for path in left if password.encode() in path.read_bytes()]
    assert (node.layout.datadir / "ib_logfile0").stat().st_size == 4 * 2**20
    assert not list(node.layout.run_dir.glob("s"))


def test_the_agents_account_is_gone_from_the_copy(node: MariaDbServer) -> None:
    node.start(replaying=True)
    node.stop()
    # Started without the agent's init file, the copy knows its own accounts only.
    command = [node.program("mariadbd"), "--no-defaults", "--user=root", "--bootstrap", "--skip-grant-tables"]
    sql = f"SELECT user INTO OUTFILE '{node.layout.tmp_dir}/users' FROM mysql.global_priv;\n"
    subprocess.run([*command, f"--datadir={node.layout.datadir}"], input=sql.encode(), check=True)
    assert "restore_replay_agent" not in (node.layout.tmp_dir / "users").read_text()


def test_a_second_process_finds_and_stops_the_server(node: MariaDbServer) -> None:
    code = "import pickle,sys; s=pickle.load(sys.stdin.buffer); s.start(replaying=True)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    subprocess.run([sys.executable, "-c", code], input=pickle.dumps(node), env=environment, check=True)
    assert node.alive()
    with node.connect() as conn:
        assert value(conn, "SELECT 1") == 1
    node.stop()
    assert not node.alive()


def test_a_killed_server_did_not_stop_cleanly(node: MariaDbServer) -> None:
    node.start(replaying=True)
    node.kill()
    node.kill()
    assert not node.alive()
    with pytest.raises(NodeServerCrashed):
        node.stop()


def test_damaged_system_files_fail_the_start_with_the_servers_own_line(node: MariaDbServer) -> None:
    (node.layout.datadir / "ibdata1").write_bytes(b"x" * 5000)
    with pytest.raises(ServerStartFailed, match="ibdata1") as caught:
        node.start(replaying=True)
    assert any("[ERROR]" in line for line in caught.value.evidence["log"])
    assert not node.alive()


def test_a_server_that_dies_without_a_word_blames_nobody(tmp_path: Path) -> None:
    bindir = tmp_path / "bin"
    bindir.mkdir()
    (bindir / "mariadbd").write_text("#!/bin/sh\nkill -9 $$\n")
    (bindir / "mariadbd").chmod(0o755)
    server = MariaDbServer(layout_at(tmp_path / "node", bindir=bindir))
    with pytest.raises(NodeServerCrashed):
        server.start(replaying=True)


def test_too_little_memory_blames_the_environment(tmp_path: Path, node: MariaDbServer) -> None:
    greedy = MariaDbServer(layout_at(tmp_path / "node", buffer_pool_bytes=1 << 46))
    with pytest.raises(NodeServerCrashed, match="[Mm]emory|allocate"):
        greedy.start(replaying=True)


def test_a_second_server_on_the_same_files_blames_the_environment(
    tmp_path: Path, node: MariaDbServer
) -> None:
    node.start(replaying=True)
    other = MariaDbServer(layout_at(tmp_path / "other", datadir=node.layout.datadir))
    with pytest.raises(NodeServerCrashed, match="lock"):
        other.start(replaying=True)
    assert node.alive()


def test_a_missing_program_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(PreflightFailed, match="mariadbd is not installed") as caught:
        MariaDbServer(layout_at(tmp_path, bindir=tmp_path)).release()
    assert "mariadb-server" in caught.value.hint


def test_a_missing_table_file_is_reported(node: MariaDbServer) -> None:
    node.start(replaying=True)
    with node.connect() as conn:
        run(conn, "CREATE DATABASE a")
        run(conn, "CREATE TABLE a.t (i INT PRIMARY KEY) ENGINE=InnoDB")
        run(conn, "INSERT INTO a.t VALUES (1)")
    node.stop()
    (node.layout.datadir / "a" / "t.ibd").unlink()
    node.start(replaying=True)
    with node.connect() as conn, pytest.raises(Exception, match="a.t|engine"):
        rows(conn, "SELECT * FROM a.t")
    assert any("a/t.ibd" in line or "a/t" in line for line in node.log_errors())


def test_plugins_of_the_primary_that_are_left_out_are_no_damage(node: MariaDbServer) -> None:
    node.start(replaying=True)
    with node.connect() as conn:
        run(conn, "INSERT INTO mysql.plugin VALUES ('FEDERATED', 'ha_federatedx.so')")
        run(conn, "INSERT INTO mysql.func VALUES ('udf', 0, 'udf_example.so', 'function')")
    node.stop()
    node.start(replaying=True)
    with node.connect() as conn:
        engines = {row[0] for row in rows(conn, "SHOW ENGINES")}
    assert "FEDERATED" not in engines
    assert node.log_errors() == []


def test_a_long_path_gets_a_short_socket_that_is_removed(tmp_path: Path) -> None:
    server = MariaDbServer(layout_at(tmp_path / ("d" * 90)))
    server.initialize()
    server.start(replaying=True)
    socket = Path(server.endpoint().socket or "")
    assert len(str(socket)) < 60
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    server.stop()
    assert not socket.parent.exists()
