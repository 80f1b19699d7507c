from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_restore_replay.core.errors import (
    JobCancelled,
    PrimaryUnreachable,
    ReplicationDenied,
    SeedFailed,
    SourceCorrupt,
    TargetNotEmpty,
    UnsupportedTables,
)
from airflow_restore_replay.core.flavor.grants import account
from airflow_restore_replay.core.flavor.mariadb import grants
from airflow_restore_replay.core.flavor.mariadb.flavor import MariaDbFlavor
from airflow_restore_replay.core.flavor.mariadb.physical_seed import seed_physical
from airflow_restore_replay.core.flavor.mariadb.server import MariaDbServer
from airflow_restore_replay.core.flavor.quoting import qualified
from airflow_restore_replay.core.flavor.sql import rows, run
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, Position
from airflow_restore_replay.core.jobs.seed import logical
from airflow_restore_replay.core.jobs.seed.logical import seed_logical
from tests.contract.flavor.conftest import Driver
from tests.support.findings import refusals
from tests.support.mariadb import BACKUP_PASSWORD, MariaDbPrimary, WriteLoad, create_zoo

Seeder = Callable[..., Position]


def _seed(
    method: str,
    server: MariaDbServer,
    endpoint: Endpoint,
    secrets_dir: Path,
    **changes: Any,
) -> Position:
    settings: dict[str, Any] = {
        "secrets_dir": secrets_dir,
        "progress": lambda done, total: None,
        "cancelled": lambda: False,
    }
    if method == "logical":
        position, _ = seed_logical(MariaDbFlavor(), server, endpoint, **(settings | changes))
        return position
    settings |= {"prefix": [], "defaults_file": None}
    return seed_physical(MariaDbFlavor(), server, endpoint, **(settings | changes))


_OBJECTS = (
    "SELECT * FROM zoo.versioned FOR SYSTEM_TIME ALL ORDER BY id, v",
    "SELECT user, host, JSON_VALUE(priv, '$.authentication_string') FROM mysql.global_priv"
    " WHERE user NOT IN ('restore_replay_agent', 'mariadb.sys') ORDER BY 1, 2",
    "SHOW GRANTS FOR visitor",
    "SHOW GRANTS FOR zookeeper",
    "SELECT * FROM zoo.numbers",
    "SELECT zoo.twice(4)",
    "SELECT * FROM zoo.seen ORDER BY id",
    "SELECT routine_name, routine_definition FROM information_schema.routines WHERE routine_schema = 'zoo'",
    "SELECT event_name, event_definition FROM information_schema.events WHERE event_schema = 'zoo'",
    "SELECT trigger_name, action_statement FROM information_schema.triggers WHERE trigger_schema = 'zoo'",
    "SELECT * FROM zoo.ft WHERE MATCH(body) AGAINST ('fox')",
)


def _assert_same(flavor: MariaDbFlavor, primary: Conn, node: Conn) -> None:
    tables = flavor.tables(primary)
    assert [t.qualified for t in flavor.tables(node)] == [t.qualified for t in tables]
    for table in tables:
        name = qualified(table.schema, table.name)
        assert rows(node, f"SHOW CREATE TABLE {name}") == rows(primary, f"SHOW CREATE TABLE {name}")
        query = f"SELECT * FROM {name}"
        assert sorted(map(str, rows(node, query))) == sorted(map(str, rows(primary, query))), name
    for query in _OBJECTS:
        assert rows(node, query) == rows(primary, query), query


@pytest.mark.parametrize("method", ["logical", "physical"])
def test_a_seed_under_load_plus_replay_equals_the_primary(
    tmp_path: Path,
    primary: MariaDbPrimary,
    empty_node: MariaDbServer,
    driver: Driver,
    flavor: MariaDbFlavor,
    method: str,
) -> None:
    """With exactly the documented grants; a logical seed needs fewer."""
    primary.execute(
        f"CREATE USER restore_replay IDENTIFIED BY '{BACKUP_PASSWORD}'",
        *grants.statements("restore_replay", physical=method == "physical"),
    )
    endpoint = primary.endpoint("restore_replay")
    with primary.connect() as writer:
        create_zoo(writer)
    seen: list[tuple[int, int]] = []
    with WriteLoad(primary) as load:
        load.wait_for(30)
        position = _seed(
            method,
            empty_node,
            endpoint,
            tmp_path / "s",
            progress=lambda done, total: seen.append((done, total)),
        )
        load.wait_for(30)
    assert seen[-1][0] > 100_000
    assert seen[-1][1] > 0
    assert list((tmp_path / "s").iterdir()) == []
    with empty_node.connect() as node, flavor.connect(endpoint) as reader, primary.connect() as root:
        assert refusals(flavor, reader, seed=method) == {}
        assert str(flavor.executed_position(node)) == str(position)
        status = driver.catch_up(node, endpoint, flavor.primary_position(reader))
        assert status.transactions >= 30
        run(root, "SET time_zone='+00:00'")
        _assert_same(flavor, root, node)
        flavor.stop_replication(node)
        flavor.forget_replication(node)
    assert empty_node.log_errors() == []
    empty_node.stop()
    left = [p for p in empty_node.layout.datadir.parent.rglob("*") if p.is_file()]
    assert not [p for p in left if BACKUP_PASSWORD.encode() in p.read_bytes()]
    assert not [
        p for p in empty_node.layout.datadir.iterdir() if p.name.startswith(("xtrabackup", "mariadb_b"))
    ]


@pytest.mark.parametrize("method", ["logical", "physical"])
def test_hostile_credentials_are_inert(
    tmp_path: Path, primary: MariaDbPrimary, empty_node: MariaDbServer, method: str
) -> None:
    password = "p\"'\\ $(touch pwned)`id`;#\t%n"
    name = "u'\"$(id);`#"
    with primary.connect() as root:
        who = account(name, "%")
        run(root, f"CREATE USER {who} IDENTIFIED BY %s".replace("%'", "%%'"), (password,))
        for statement in grants.statements(name):
            run(root, statement)
    endpoint = Endpoint(port=primary.port, user=name, password=password)
    position = _seed(method, empty_node, endpoint, tmp_path / "s")
    assert str(position).startswith("0-1-")


@pytest.mark.parametrize("method", ["logical", "physical"])
def test_a_wrong_password_and_a_dead_primary_are_circumstances(
    tmp_path: Path, primary: MariaDbPrimary, endpoint: Endpoint, empty_node: MariaDbServer, method: str
) -> None:
    wrong = msgspec.structs.replace(endpoint, password="wr0ng-secret")
    with pytest.raises(ReplicationDenied) as caught:
        _seed(method, empty_node, wrong, tmp_path / "s")
    assert "wr0ng-secret" not in str(caught.value)
    primary.kill()
    with pytest.raises(PrimaryUnreachable):
        _seed(method, empty_node, endpoint, tmp_path / "s")


def test_a_physical_seed_runs_behind_a_prefix_with_the_hosts_own_credentials(
    tmp_path: Path, primary: MariaDbPrimary, endpoint: Endpoint, empty_node: MariaDbServer
) -> None:
    options = tmp_path / "backup's $(id).cnf"
    options.write_text(
        f"[client]\nuser={endpoint.user}\npassword={endpoint.password}\nsocket={primary.socket}\n"
    )
    ssh = tmp_path / "ssh"
    # Like sshd: the arguments become one line for a shell.
    ssh.write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
    ssh.chmod(0o755)
    for prefix in (["env", "A=1"], [str(ssh), "db1"]):
        before = set(Path("/tmp").glob("*backup_*"))
        position = _seed(
            "physical", empty_node, endpoint, tmp_path / "s", prefix=prefix, defaults_file=str(options)
        )
        assert str(position).startswith("0-1-")
        assert set(Path("/tmp").glob("*backup_*")) == before
        empty_node.kill()
        shutil.rmtree(empty_node.layout.datadir)


def test_who_waits_to_write_to_a_held_table_does_not_hold_back_the_dump(
    primary: MariaDbPrimary, endpoint: Endpoint
) -> None:
    primary.execute("CREATE DATABASE loose", "CREATE TABLE loose.t (id INT) ENGINE=MyISAM")
    with MariaDbFlavor().dump_tools().hold(endpoint):
        writer = threading.Thread(target=primary.execute, args=("INSERT INTO loose.t VALUES (1)",))
        writer.start()
        waiting = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table%'"
        while primary.execute(waiting) != [(1,)]:
            assert writer.is_alive()
        with primary.connect(read_timeout=20) as conn:
            assert rows(conn, "SELECT * FROM loose.t") == []
    writer.join()
    assert primary.execute("SELECT * FROM loose.t") == [(1,)]


def test_a_physical_seed_without_its_grant_says_so(
    tmp_path: Path, primary: MariaDbPrimary, endpoint: Endpoint, empty_node: MariaDbServer
) -> None:
    primary.execute("REVOKE RELOAD ON *.* FROM restore_replay")
    with pytest.raises(ReplicationDenied, match="RELOAD"):
        _seed("physical", empty_node, endpoint, tmp_path / "s")


def test_a_physical_seed_refuses_a_directory_with_content(
    tmp_path: Path, endpoint: Endpoint, node: MariaDbServer
) -> None:
    with pytest.raises(TargetNotEmpty):
        _seed("physical", node, endpoint, tmp_path / "s")


@pytest.mark.parametrize("method", ["logical", "physical"])
def test_tables_that_cannot_be_carried_are_refused_by_name(
    tmp_path: Path, primary: MariaDbPrimary, endpoint: Endpoint, empty_node: MariaDbServer, method: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    primary.execute("CREATE DATABASE a", f"CREATE TABLE a.d (i INT) DATA DIRECTORY='{outside}'")
    with pytest.raises(UnsupportedTables, match=r"a\.d \(DATA DIRECTORY"):
        _seed(method, empty_node, endpoint, tmp_path / "s")


def test_a_prepared_xa_transaction_is_waited_for_and_then_refused(
    tmp_path: Path,
    primary: MariaDbPrimary,
    endpoint: Endpoint,
    empty_node: MariaDbServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    primary.execute("CREATE DATABASE a", "CREATE TABLE a.t (i INT PRIMARY KEY)")
    primary.execute("XA START 'x'", "INSERT INTO a.t VALUES (1)", "XA END 'x'", "XA PREPARE 'x'")
    monkeypatch.setattr(logical, "XA_WAIT_S", 1.0)
    with pytest.raises(SeedFailed, match="1 prepared XA"):
        _seed("logical", empty_node, endpoint, tmp_path / "s")
    monkeypatch.setattr(logical, "XA_WAIT_S", 30.0)
    timer = threading.Timer(1.0, primary.execute, ["XA COMMIT 'x'"])
    timer.start()
    _seed("logical", empty_node, endpoint, tmp_path / "s")
    with empty_node.connect() as conn:
        assert rows(conn, "SELECT i FROM a.t") == [(1,)]
    timer.join()


@pytest.mark.parametrize("method", ["logical", "physical"])
def test_a_cancelled_seed_ends_its_programs_and_leaves_no_secret(
    tmp_path: Path, primary: MariaDbPrimary, endpoint: Endpoint, empty_node: MariaDbServer, method: str
) -> None:
    with pytest.raises(JobCancelled):
        _seed(method, empty_node, endpoint, tmp_path / "s", cancelled=lambda: True)
    assert list((tmp_path / "s").iterdir()) == []
    for _ in range(100):
        others = primary.execute(
            "SELECT id FROM information_schema.processlist WHERE user = 'restore_replay'"
        )
        if not others:
            break
    assert len(others) <= 1


@pytest.mark.parametrize("method", ["logical", "physical"])
def test_a_damaged_page_on_the_primary_blames_the_source(
    tmp_path: Path, primary: MariaDbPrimary, endpoint: Endpoint, empty_node: MariaDbServer, method: str
) -> None:
    primary.execute(
        "CREATE DATABASE a",
        "CREATE TABLE a.t (i INT PRIMARY KEY, c CHAR(200)) ENGINE=InnoDB",
        "USE a",
        "INSERT INTO a.t SELECT seq, REPEAT('x', 200) FROM seq_1_to_20000",
    )
    primary.restart(options=["--innodb-buffer-pool-load-at-startup=OFF"])
    primary.stop()
    with (primary.datadir / "a" / "t.ibd").open("r+b") as file:
        for page in range(100, 110):
            file.seek(page * 16384 + 500)
            file.write(b"damaged bytes")
    primary.restart()
    with pytest.raises(SourceCorrupt):
        _seed(method, empty_node, endpoint, tmp_path / "s")


def test_rows_of_tables_without_snapshots_fit_the_seeds_position(
    tmp_path: Path,
    primary: MariaDbPrimary,
    endpoint: Endpoint,
    empty_node: MariaDbServer,
    driver: Driver,
    flavor: MariaDbFlavor,
) -> None:
    primary.execute("CREATE DATABASE a", "CREATE TABLE a.y (i INT PRIMARY KEY AUTO_INCREMENT) ENGINE=MyISAM")
    stop = threading.Event()

    def write() -> None:
        with primary.connect() as conn:
            while not stop.is_set():
                run(conn, "INSERT INTO a.y VALUES ()")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        _seed("logical", empty_node, endpoint, tmp_path / "s")
    finally:
        stop.set()
        thread.join()
    with empty_node.connect() as node, flavor.connect(endpoint) as reader:
        driver.catch_up(node, endpoint, flavor.primary_position(reader))
        assert rows(node, "CHECKSUM TABLE a.y") == rows(reader, "CHECKSUM TABLE a.y")
