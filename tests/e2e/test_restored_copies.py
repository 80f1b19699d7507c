"""Restored copies in use: a server that runs on, a primary, a replica, a few tables, a dump, a table put back."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_restore_replay.core.flavor.account import AGENT
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.values import Endpoint
from airflow_restore_replay.core.recovery.copy_server import end_server
from airflow_restore_replay.core.system.processes import ProcessId, identify, running, terminate
from tests.support import unpacked
from tests.support.flavors import Kit, on_both, on_either
from tests.support.killing import moments, restore_killed_at
from tests.support.primary import ROOT_PASSWORD, Primary, free_port
from tests.support.restores import Restores, query, started_by_hand, stopped, wait_for
from tests.support.rig import Rig, processes_in
from tests.support.seeding import seeded_copy

_EVENT = "CREATE EVENT shop.nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM shop.notes WHERE body = 'never'"
_MADE = (
    "CREATE TABLE shop.customers (id INT PRIMARY KEY, name VARCHAR(60)) ENGINE=InnoDB",
    "CREATE TABLE shop.invoices (id INT PRIMARY KEY AUTO_INCREMENT, customer INT, words TEXT, share FLOAT, bits BIT(9),"
    " raw VARBINARY(20), latin VARCHAR(20) CHARACTER SET latin1, day DATE, twice INT AS (customer * 2) STORED,"
    " FULLTEXT KEY (words), KEY (latin),"
    " CONSTRAINT of_customer FOREIGN KEY (customer) REFERENCES shop.customers (id)) ENGINE=InnoDB",
    "CREATE TABLE shop.items (id INT PRIMARY KEY, invoice INT, CONSTRAINT of_invoice FOREIGN KEY (invoice)"
    " REFERENCES shop.invoices (id)) ENGINE=InnoDB",
    "CREATE TABLE shop.parts (id INT PRIMARY KEY, v VARCHAR(99)) ENGINE=InnoDB PARTITION BY RANGE (id)"
    " (PARTITION p0 VALUES LESS THAN (100), PARTITION p1 VALUES LESS THAN MAXVALUE)",
    "CREATE DATABASE `od.d ü`",
    "CREATE TABLE `od.d ü`.`ta.ble``x-1` (id INT PRIMARY KEY, v TEXT) ENGINE=InnoDB",
    "INSERT INTO `od.d ü`.`ta.ble``x-1` VALUES (1, 'here')",
    "INSERT INTO shop.customers VALUES (1, 'a'), (2, 'b')",
    r"INSERT INTO shop.invoices (customer, words, share, bits, raw, latin, day) VALUES"
    r" (1, 'hello wörld', 16777217.0 / 3, b'101010101', x'00270A5C1AFF', 'Zoë', '2024-02-29'),"
    r" (2, NULL, -0.1, b'1', '', '\'quoted\\', NULL), (NULL, 'line\nend %s', 1e-30, NULL, NULL, NULL, '1000-01-01')",
    "ALTER TABLE shop.invoices AUTO_INCREMENT = 500",
    "INSERT INTO shop.items VALUES (1, 1), (2, 2)",
    "INSERT INTO shop.parts VALUES (1, 'low'), (200, 'high')",
    _EVENT,
)


@dataclass
class Backed:
    """A primary with more than the shop, and its newest backup."""

    rig: Rig
    position: str


@pytest.fixture(scope="module")
def backed(tmp_path_factory: pytest.TempPathFactory, kit: Kit) -> Iterator[Backed]:
    rig = seeded_copy(kit, tmp_path_factory.mktemp("backed"), {})
    try:
        rig.primary.execute(*_MADE)
        backup_id = rig.published(rig.cycle())
        yield Backed(rig, rig.catalog().backup(backup_id).manifest.position)
    finally:
        rig.primary.discard()


@pytest.fixture
def restores(backed: Backed, tmp_path: Path) -> Iterator[Restores]:
    made = Restores(backed.rig, tmp_path)
    yield made
    made.end()


def names(primary: Primary, schema: str) -> set[str]:
    return {name for (name,) in primary.execute(f"SHOW TABLES FROM `{schema}`")}


@on_both
def test_a_started_copy_runs_on_read_only_confined_and_without_network(
    backed: Backed, restores: Restores
) -> None:
    target = restores.root / "copy"
    answer = restores.json("--to", target, "--start")
    running = answer["running"]
    commands = running["commands"]
    assert query(commands["connect"], "SELECT COUNT(*) FROM shop.orders") == [["20000"]]
    settings = query(
        commands["connect"], "SELECT @@GLOBAL.read_only, @@GLOBAL.skip_networking, CURRENT_USER()"
    )
    assert settings == [["1", "1", f"{AGENT}@localhost"]]
    assert answer["position"] == backed.position
    assert running["warnings"] == []
    assert "NoNewPrivs:\t1" in Path(f"/proc/{running['pid']}/status").read_text()
    assert "A server runs" in restores.refused("--to", target, "--force")
    stopped(running["pid"], commands["stop"])
    with started_by_hand(
        {
            **commands,
            "connect": f"x --socket={running['socket']}",
            "stop": f"kill $(cat {_pid_file(commands)})",
        }
    ):
        assert query(commands["connect"], "SELECT COUNT(*) FROM shop.notes") == [["200"]]


def _pid_file(commands: dict[str, str]) -> str:
    return next(w.partition("=")[2] for w in shlex.split(commands["start"]) if w.startswith("--pid-file="))


@on_both
def test_the_printed_commands_start_and_stop_the_copy_as_they_stand(
    backed: Backed, restores: Restores
) -> None:
    target = restores.root / "copy with a blank"
    done = restores.call("--to", target)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    start = lines.index("- Start it, read-only and on a socket, by:") + 1
    connect, stop = lines[start + 2 : start + 4]
    assert f"- The options in {target}/restored.cnf are" in done.stdout
    with started_by_hand({"start": lines[start], "connect": connect, "stop": stop}):
        asked = query(connect, "SELECT COUNT(*) FROM shop.orders", password=ROOT_PASSWORD)
        assert asked == [["20000"]]
        assert query(connect, "SELECT @@GLOBAL.read_only", password=ROOT_PASSWORD) == [["1"]]


@on_both
def test_a_copy_takes_the_primarys_place_and_another_follows_it(backed: Backed, restores: Restores) -> None:
    port = free_port()
    answer = restores.json("--to", restores.root / "next", "--as-primary", "--port", str(port))
    assert answer["role"]["events"] == ["ALTER EVENT `shop`.`nightly` ENABLE;"]
    assert answer["role"]["warnings"] == []
    connect = answer["running"]["commands"]["connect"]

    def ask(sql: str) -> list[list[str]]:
        return query(connect, sql, password=ROOT_PASSWORD)

    assert ask("SELECT STATUS FROM information_schema.EVENTS WHERE EVENT_NAME = 'nightly'") == [["ENABLED"]]
    assert ask("SELECT @@GLOBAL.event_scheduler, @@GLOBAL.read_only, @@GLOBAL.log_bin") == [["ON", "0", "1"]]
    assert ask(f"SELECT user FROM mysql.user WHERE user = '{AGENT}'") == []
    assert ask("SHOW REPLICA STATUS") == []
    ask("INSERT INTO shop.notes VALUES ('after the loss')")
    # The next cycle finds that its history continues the backup's, which is older than all binary logs.
    flavor = get_flavor(backed.rig.primary.flavor)
    successor = Endpoint(port=port, user="root", password=ROOT_PASSWORD)
    position = flavor.parse_position(backed.position)
    assert flavor.last_events(successor, position) == []
    flavor.check_history(successor, position, backed.rig.catalog().backups[-1].manifest.chains)
    replica = restores.json(
        *("--to", restores.root / "replica", "--as-replica-of", f"root@127.0.0.1:{port}"),
        stdin=f"{ROOT_PASSWORD}\n",
    )
    follow = replica["running"]["commands"]["connect"]
    wait_for(
        lambda: (
            query(
                follow,
                "SELECT COUNT(*) FROM shop.notes WHERE body = 'after the loss'",
                password=ROOT_PASSWORD,
            )
            == [["1"]]
        )
    )
    ((read_only,),) = query(follow, "SELECT @@GLOBAL.read_only", password=ROOT_PASSWORD)
    assert read_only == "1"


@on_both
def test_a_replica_continues_from_the_exact_position(backed: Backed, restores: Restores) -> None:
    primary = backed.rig.primary
    primary.execute("INSERT INTO shop.notes VALUES ('since the backup')")
    where = f"root@127.0.0.1:{primary.port}"
    denied = restores.json(
        "--to", restores.root / "denied", "--as-replica-of", where, stdin="wrong\n", exit_code=1
    )
    assert "Access denied" in denied["error"]["message"]
    assert not (restores.root / "denied").exists()
    answer = restores.json(
        "--to", restores.root / "replica", "--as-replica-of", where, stdin=f"{ROOT_PASSWORD}\n"
    )
    follow = answer["running"]["commands"]["connect"]
    wait_for(
        lambda: (
            query(
                follow,
                "SELECT COUNT(*) FROM shop.notes WHERE body = 'since the backup'",
                password=ROOT_PASSWORD,
            )
            == [["1"]]
        )
    )
    states = query(
        follow,
        "SELECT STATUS FROM information_schema.EVENTS WHERE EVENT_NAME = 'nightly'",
        password=ROOT_PASSWORD,
    )
    assert states != [["ENABLED"]]


@on_both
def test_a_dry_run_shows_everything_and_changes_nothing(backed: Backed, restores: Restores) -> None:
    target = restores.root / "new"
    plan = restores.json("--to", target, "--start", "--dry-run")
    assert plan["size_bytes"] == plan["whole_bytes"] > 2**20
    assert plan["expected"]["seconds"] > 0
    assert {f["severity"] for f in plan["findings"]} == {"ok"}
    assert backed.position in plan["not_covered"][0]
    part = restores.json("--to", target, "--tables", "shop.notes", "--dry-run")
    assert part["tables"] == ["shop.notes"]
    assert part["size_bytes"] < plan["size_bytes"]
    text = restores.call("--to", target, "--dry-run").stdout
    assert "by the last" in text
    assert sorted(p.name for p in restores.root.iterdir()) == ["clusters.yaml"]


def test_p14_bad_input_is_refused_before_anything_is_written(backed: Backed, restores: Restores) -> None:
    full = restores.root / "full"
    full.mkdir(mode=0o700)
    (full / "precious").write_text("keep me")
    assert "is not empty" in restores.refused("--to", full, "--start")
    target = restores.root / "new"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} on 127.0.0.1 is not free" in restores.refused(
            "--to", target, "--port", str(port)
        )
    message = restores.refused("--to", target, "--tables", "shop.order")
    assert "has no table shop.order. The nearest: shop.orders" in message
    assert "has no table nowhere.%" in restores.refused("--to", target, "--databases", "nowhere")
    assert "names no table" in restores.refused("--to", target, "--tables", "orders")
    assert "is no server" in restores.refused("--to", target, "--as-replica-of", "root@a b")
    greedy: dict[str, Any] = {"node": {"buffer_pool": "900TiB"}}
    assert "Lower node.buffer_pool" in restores.refused("--to", target, "--start", **greedy)
    older: dict[str, Any] = {"node": {"bindir": unpacked.programs("mariadb-10.5")}}
    assert "older than the backup's" in restores.refused("--to", target, "--start", **older)
    plan = restores.json("--to", target, "--dry-run", **older)
    assert [f["name"] for f in plan["findings"] if f["severity"] == "warning"] == ["release"]
    dump = restores.root / "there.sql"
    dump.write_text("mine")
    assert "there.sql exists" in restores.refused("--dump", dump, "--tables", "shop.orders")
    for wrong in (
        ("--start",),
        ("--as-primary", "--as-replica-of", "h", "--to", str(target)),
        ("--as-primary", "--tables", "shop.orders", "--to", str(target)),
        ("--into", "root@127.0.0.1"),
        ("--as", "shop.x", "--to", str(target)),
    ):
        assert restores.call(*wrong).returncode == 2
    assert sorted(p.name for p in restores.root.iterdir()) == ["clusters.yaml", "full", "there.sql"]
    assert [p.name for p in full.iterdir()] == ["precious"]


@on_both
def test_a_few_tables_come_back_whole_without_the_files_of_the_others(
    backed: Backed, restores: Restores
) -> None:
    primary = backed.rig.primary
    target = restores.root / "part"
    answer = restores.json(
        *("--to", target, "--start", "--tables", "shop.inv%,shop.parts,`od.d ü`.`ta.ble``x-1`")
    )
    assert answer["tables"] == ["`od.d ü`.`ta.ble``x-1`", "shop.invoices", "shop.parts"]
    assert not list(target.glob("shop/orders*"))
    connect = answer["running"]["commands"]["connect"]
    for table in ("shop.invoices", "shop.parts", "`od.d ü`.`ta.ble``x-1`"):
        ((_, expected),) = primary.execute(f"CHECKSUM TABLE {table}")
        assert query(connect, f"CHECKSUM TABLE {table}")[0][1] == str(expected)
        assert query(connect, f"CHECK TABLE {table}")[0][3] == "OK"
    found = query(connect, "SELECT id FROM shop.invoices WHERE MATCH (words) AGAINST ('hello')")
    assert found == [["1"]]
    assert query(connect, "SHOW TABLES FROM shop") == [["invoices"], ["parts"]]
    # Names of the other tables are free.
    made = "CREATE TABLE shop.orders (id INT PRIMARY KEY) ENGINE=InnoDB; SELECT COUNT(*) FROM shop.orders"
    assert query(connect, made) == [["0"]]
    stopped(answer["running"]["pid"], answer["running"]["commands"]["stop"])


@on_both
def test_a_dump_of_tables_is_complete_and_replaces_nothing(backed: Backed, restores: Restores) -> None:
    primary = backed.rig.primary
    path = restores.root / "invoices.sql.zst"
    answer = restores.json("--dump", path, "--tables", "shop.invoices,shop.parts")
    assert answer["dumped"]["tables"] == 2
    sql = subprocess.run(["zstd", "-dc", path], check=True, capture_output=True).stdout
    assert sql.rstrip().endswith(b"-- Complete")
    client = [primary.program({"mariadb": "mariadb", "mysql": "mysql"}[primary.flavor]), "--no-defaults"]
    client += [f"--socket={primary.socket}", "--user=root", f"--password={ROOT_PASSWORD}", "--binary-mode"]
    before = primary.execute("CHECKSUM TABLE shop.parts")
    again = subprocess.run(client, input=sql, capture_output=True, check=False)
    assert b"already exists" in again.stderr
    primary.execute("RENAME TABLE shop.parts TO shop.parts_before", "RENAME TABLE shop.invoices TO shop.kept")
    try:
        subprocess.run(
            client, input=sql.replace(b"of_customer", b"of_customer_2"), check=True, capture_output=True
        )
        assert primary.execute("CHECKSUM TABLE shop.parts") == before
    finally:
        primary.execute(
            "SET foreign_key_checks = 0",
            "DROP TABLE shop.parts, shop.invoices",
            "RENAME TABLE shop.parts_before TO shop.parts, shop.kept TO shop.invoices",
        )
    assert [p.name for p in restores.root.iterdir() if p.name.startswith(".")] == []
    assert not backed.rig.workdir.exists()


@on_both
def test_p15_a_table_comes_back_into_the_living_primary_under_another_name(
    backed: Backed, restores: Restores
) -> None:
    primary = backed.rig.primary
    server = f"root@127.0.0.1:{primary.port}"
    into = ("--into", server, "--tables", "shop.invoices", "--as", "shop.`in.voices``restored`")
    answer = restores.json(*into, stdin=ROOT_PASSWORD)
    (loaded,) = answer["loaded"]
    assert (loaded["how"], loaded["rows"], loaded["left_out"]) == ("rows", 3, ["1 foreign keys"])
    assert "binary log" in loaded["why"]
    columns = "id, customer, words, share * 1e0, bits, raw, latin, day, twice"
    assert primary.execute(f"SELECT {columns} FROM shop.invoices") == primary.execute(
        f"SELECT {columns} FROM shop.`in.voices``restored`"
    )
    ((counter,),) = primary.execute(
        "SELECT AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_NAME = 'in.voices`restored'"
    )
    assert counter == 500
    message = restores.refused(*into, stdin=ROOT_PASSWORD)
    assert "already; nothing was changed" in message
    assert not [name for name in names(primary, "shop") if name.startswith("restore_replay_")]
    primary.execute("DROP TABLE shop.`in.voices``restored`")


@on_both
def test_a_table_is_imported_into_a_server_without_a_binary_log(
    backed: Backed, restores: Restores, kit: Kit
) -> None:
    other = kit.primary.start(restores.root / "other", options=["--skip-log-bin"])
    try:
        other.execute("CREATE DATABASE shop")
        answer = restores.json(
            *(
                "--into",
                f"root@{other.socket}",
                "--tables",
                "shop.orders,shop.invoices,shop.parts",
                "--as",
                "shop.%",
            ),
            stdin=ROOT_PASSWORD,
        )
        how = {table["table"]: table["how"] for table in answer["loaded"]}
        assert how == {"shop.orders": "tablespace", "shop.invoices": "rows", "shop.parts": "rows"}
        expected = backed.rig.primary.execute("CHECKSUM TABLE shop.orders, shop.parts")
        assert other.execute("CHECKSUM TABLE shop.orders, shop.parts") == expected
        assert other.execute("CHECK TABLE shop.orders")[0][3] == "OK"
    finally:
        other.discard()


@on_either
def test_the_next_dump_removes_what_a_killed_one_has_left(backed: Backed, restores: Restores) -> None:
    restores.call("--dump", restores.root / "x.sql", "--dry-run")
    words = ("--dump", restores.root / "notes.sql", "--tables", "shop.notes")
    assert restore_killed_at(-1, *words, "--config", restores.root / "clusters.yaml").returncode == -9
    (left,) = backed.rig.workdir.glob(".restore-*")
    assert processes_in(left)
    assert restores.json(*words)["dumped"]["tables"] == 1
    assert list(backed.rig.workdir.iterdir()) == []
    assert processes_in(left) == []


def killed_and_called_again(restores: Restores, target: Path, call: int, config: Path) -> None:
    words = ("--to", target, "--start", "--tables", "shop.orders,shop.invoices")
    assert restore_killed_at(call, *words, "--config", config).returncode == -9
    answer = restores.json(*words)
    connect, stop = (answer["running"]["commands"][name] for name in ("connect", "stop"))
    assert query(connect, "SELECT COUNT(*) FROM shop.orders") == [["20000"]]
    assert query(connect, "SELECT COUNT(*) FROM shop.invoices") == [["3"]]
    assert {p.name for p in target.glob("shop/*.ibd") if "_" not in p.name} == {"orders.ibd", "invoices.ibd"}
    stopped(answer["running"]["pid"], stop)
    assert processes_in(target) == []
    shutil.rmtree(target)
    shutil.rmtree(target.with_name(f"{target.name}.server"))


def config_of(restores: Restores) -> tuple[Path, int]:
    """Return the cluster file, and how many calls a restore and its start take."""
    target = restores.root / "whole"
    restores.call("--to", target, "--dry-run")
    config = restores.root / "clusters.yaml"
    done = restore_killed_at(
        0, "--to", target, "--start", "--tables", "shop.orders,shop.invoices", "--json", "--config", config
    )
    assert done.returncode == 0, done.stderr
    running = json.loads(done.stdout)["running"]
    stopped(running["pid"], running["commands"]["stop"])
    return config, int(done.stderr.split()[-1])


@on_either
def test_p13_a_killed_restore_is_resumed_up_to_its_running_server(backed: Backed, restores: Restores) -> None:
    config, calls = config_of(restores)
    for call in (1, calls // 2, calls):
        killed_and_called_again(restores, restores.root / "copy", call, config)


@on_both
@pytest.mark.sweep(
    guards="a restore that is killed at any of 20 moments, its server's start included, is resumed"
)
def test_p13_killed_at_20_moments(backed: Backed, restores: Restores) -> None:
    config, calls = config_of(restores)
    for call in moments(calls, 20):
        killed_and_called_again(restores, restores.root / "copy", call, config)


def test_p13_a_server_that_a_killed_call_was_about_to_start_is_ended(
    backed: Backed, restores: Restores
) -> None:
    """The new process hangs before it runs the server's program: it opens a log that nobody reads."""
    target = restores.root / "about"
    home = target.with_name("about.server")
    for directory in (home, home / "agent", home / "log"):
        directory.mkdir(mode=0o700)
    log, aside = home / "log" / "server.err", restores.root / "fifo"
    os.mkfifo(log)
    restores.call("--to", target, "--dry-run")
    words = ["--to", str(target), "--start", "--tables", "shop.orders", "--config"]
    command = [sys.executable, "-c", "from airflow_restore_replay.cli.main import main; main()", "restore"]
    call = subprocess.Popen(
        [*command, *words, str(restores.root / "clusters.yaml")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # The last file that is written before.
    wait_for(lambda: call.poll() is not None or (home / "run" / "init.sql").exists())
    (child,) = wait_for(lambda: call.poll() is not None or about_to_run(call.pid))
    call.kill()
    call.wait()
    log.rename(aside)
    ending = threading.Thread(target=end_server, args=(home,))
    ending.start()
    ending.join(1)  # it must not end yet
    reader = os.open(aside, os.O_RDONLY)
    try:
        ending.join(60)
        wait_for(lambda: b"RESTORE_REPLAY_NODE" in environment_of(child) or not running(child))
        assert not running(child)
        assert processes_in(target) == []
    finally:
        os.close(reader)
        terminate(child, sig=signal.SIGKILL, timeout_s=10)


def about_to_run(parent: int) -> list[ProcessId]:
    """Return the children of a process that have not begun to run another program."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            same = (entry / "cmdline").read_bytes() == Path(f"/proc/{parent}/cmdline").read_bytes()
            if int(fields[1]) == parent and same:
                found.append(identify(int(entry.name)))
    return found


def environment_of(process: ProcessId) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process.pid}/environ").read_bytes()
    return b""
