"""Faults X1, X3, X5, X7, X8, X10: secrets stay secret, and the node cannot hurt or serve anyone."""

from __future__ import annotations

import json
import logging
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_restore_replay.core.config.cluster import parse_clusters
from airflow_restore_replay.core.errors import ConfigInvalid
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.jobs.protocol import JobState
from tests.e2e.conftest import OwnRig
from tests.support.flavors import Kit, on_both
from tests.support.primary import BACKUP_PASSWORD, Primary
from tests.support.process_list import ProcessListWatch
from tests.support.rig import SECRETS, Once, Rig
from tests.support.tamper import running


@on_both
def test_x1_no_secret_in_the_process_list_or_any_record(
    new_primary: Callable[..., Primary], tmp_path: Path, kit: Kit
) -> None:
    """Logical and physical seed and a replay; the rig looks into logs, node state, manifests and verdicts."""
    rig = Rig(new_primary(), tmp_path)
    with ProcessListWatch() as watch:
        rig.full()
        rig.full(seed={"method": kit.seeds[1]})
        rig.published(rig.cycle())
        failed = rig.cycle(password=f"{BACKUP_PASSWORD}-wrong", retries=0)
    assert watch.looks > 50
    assert watch.leaks == set()
    assert failed.failure is not None
    assert BACKUP_PASSWORD not in str(failed.failure)
    assert len(rig.logs) > 10


@on_both
def test_x1_a_conflict_shows_no_statement_and_no_row(
    own_rig: OwnRig, caplog: pytest.LogCaptureFixture
) -> None:
    """Servers quote the statement or the row that the applier failed on; of their texts, names and numbers are kept."""
    caplog.set_level(logging.DEBUG)
    rig = own_rig()
    rig.primary.execute(
        "CREATE USER 'svc'@'%' IDENTIFIED BY 'Old-s3cret'",
        "CREATE TABLE shop.cards (id INT PRIMARY KEY, number VARCHAR(40) UNIQUE)",
        "INSERT INTO shop.cards VALUES (1, '4111-1111')",
    )
    rig.published(rig.cycle())
    rig.primary.execute(
        "SET sql_log_bin=0",
        "DROP USER 'svc'@'%'",
        "SET sql_log_bin=1",
        "CREATE USER 'svc'@'%' IDENTIFIED BY 'New-s3cret'",
    )
    hashed = rig.primary.execute("SHOW CREATE USER 'svc'@'%'")[0][0].partition(" AS ")[2][:24]
    account = failure_of_the_base(rig)
    assert (account.code, account.evidence["error"]) == ("NotReplayable", 1396)
    assert "Operation CREATE USER failed for 'svc'@'%'" in account.message
    rig.primary.execute(
        "SET sql_log_bin=0",
        "DELETE FROM shop.cards",
        "SET sql_log_bin=1",
        "INSERT INTO shop.cards VALUES (2, '4111-1111')",
    )
    row = failure_of_the_base(rig)
    assert (row.code, row.evidence["error"], row.evidence["table"]) == ("ReplayConflict", 1062, "shop.cards")

    shown = {name: text for name, text in rig.logs.items() if not name.endswith("server.err")}
    shown |= {str(p): p.read_text("utf-8", "replace") for p in rig.repository_dir.glob("verdicts/*")}
    shown |= {"log": caplog.text, "failures": f"{account} {row}"}
    assert len(shown) > 10
    for secret in filter(None, ("New-s3cret", hashed, "4111-1111")):
        assert [name for name, text in shown.items() if secret in text] == []
    assert re.search(r"Duplicate entry '…' for key '(cards\.)?number'", row.message)


def failure_of_the_base(rig: Rig) -> Failure:
    """:returns: why the newest backup cannot be replayed, in a cycle that publishes a fresh full instead."""
    base = rig.newest
    rig.published(rig.cycle())
    failure = rig.against(base)[0].failure
    assert failure is not None
    return failure


@on_both
def test_x3_the_node_listens_to_nobody(rig: Rig) -> None:
    seen: list[tuple[str, int]] = []

    def look(step: str, state: JobState | None) -> None:
        if step != "replay.validate" or state is None:
            return
        (node,) = rig.workdir.iterdir()
        modes = [stat.S_IMODE((node / part).stat().st_mode) for part in (".", "data", "run")]
        pid = int((next(node.glob("run/*.pid"))).read_text())
        listening = sum(is_listening_tcp(inode) for inode in sockets_of(pid))
        seen.append((str(modes), listening))

    report = rig.cycle(watch=look)
    rig.published(report)
    assert seen
    assert set(seen) == {(str([0o700, 0o700, 0o700]), 0)}


def sockets_of(pid: int) -> set[str]:
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def is_listening_tcp(inode: str) -> bool:
    """Source: proc(5): in /proc/net/tcp state 0A is LISTEN, the tenth field the inode."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] == inode:
                return True
    return False


#: whatever a shell, an option file, a URL or SQL may take for its own
INERT = "a b'c\"$(touch $RR_M)`touch $RR_M`;|&%41#"


def programs_in(prefix: Path, bindir: str | None) -> Path:
    """Return a directory below *prefix* with the server's programs."""
    (prefix / "bin").mkdir(parents=True)
    for directory in [bindir] if bindir else ["/usr/sbin", "/usr/bin"]:
        for program in Path(directory).glob("m*"):
            if program.is_file():
                (prefix / "bin" / program.name).write_text(f'#!/bin/sh\nexec {program} "$@"\n')
                (prefix / "bin" / program.name).chmod(0o755)
    (prefix / "lib").symlink_to(Path(bindir).parent / "lib" if bindir else "/usr/lib")
    return prefix / "bin"


@on_both
def test_x5_metacharacters_are_inert(
    new_primary: Callable[..., Primary], tmp_path: Path, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In account, password, paths and programs: each way of seeding and a replay work, and nothing is run."""
    marker = tmp_path / "marker"
    monkeypatch.setenv("RR_M", str(marker))
    primary = new_primary()
    password = "'\"$(touch $RR_M)`;\\#%41 &|"
    primary.create_backup_account("r'`\"$(touch $RR_M);", password)
    rig = Rig(primary, tmp_path / INERT, secrets=(password, json.dumps(password)[1:-1], *SECRETS))
    usual: dict[str, Any] = {
        "primary": {"user": "r'`\"$(touch $RR_M);"},
        "node": {
            "bindir": str(programs_in(tmp_path / f"{INERT}programs", primary.bindir)),
            "readable": [str(Path(primary.bindir).parent)] if primary.bindir else [],
        },
        "password": password,
    }
    for method in kit.seeds:
        rig.full(seed={"method": method}, **usual)
    primary.execute("INSERT INTO shop.notes VALUES ('replicated')")
    made = rig.published(rig.cycle(**usual))
    assert (rig.restores(made) / "ibdata1").stat().st_size > 0
    for host in ("127.0.0.1;touch $RR_M", "$(touch $RR_M)", "`touch $RR_M`"):
        refused = rig.cycle(primary={"host": host}, retries=0)
        assert refused.failure is not None
        assert (refused.failure.code, refused.published_id) == ("PrimaryUnreachable", "")
        with pytest.raises(ConfigInvalid, match="clusters"):
            parse_clusters({"clusters": {host: rig.section()}})
    assert rig.verdicts_against() == []
    assert not marker.exists()


@on_both
def test_x7_replicated_statements_stay_inside_the_node(own_rig: OwnRig, tmp_path: Path, kit: Kit) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o777)
    rig = own_rig(options=kit.may_write_to(elsewhere))
    rig.primary.execute(
        f"CREATE TABLE shop.far (id INT PRIMARY KEY) DATA DIRECTORY='{elsewhere}'",
        "INSERT INTO shop.far VALUES (1), (2)",
        "CREATE FUNCTION shop.f() RETURNS INT DETERMINISTIC RETURN 1",
        "DROP TABLE shop.far",
    )
    before = sorted(str(p) for p in elsewhere.rglob("*"))
    seen: list[list[str]] = []

    def look(step: str, state: JobState | None) -> None:
        if step == "replay.catch_up" and state is not None:
            seen.append(sorted(str(p) for p in elsewhere.rglob("*")))

    rig.published(rig.cycle(watch=look))
    assert seen
    assert all(found == before for found in seen)


@on_both
def test_x10_a_replicated_statement_cannot_make_the_server_write_outside_the_node(
    own_rig: OwnRig, tmp_path: Path
) -> None:
    """A function of an ordinary user runs with all privileges on the node if the primary logs statements."""
    rig = own_rig(options=["--log-bin-trust-function-creators=1", "--binlog-format=STATEMENT"])
    keys = tmp_path / "authorized_keys"
    keys.write_text("a person's key\n")
    keys.chmod(0o666)
    rig.primary.execute(
        "CREATE DATABASE app",
        "CREATE TABLE app.t (id INT PRIMARY KEY, v INT)",
        "CREATE USER app IDENTIFIED BY 'app-password'",
        "GRANT ALL ON app.* TO app",
    )
    with rig.primary.connect(user="app", password="app-password") as conn, conn.cursor() as cursor:
        for statement in (
            "CREATE FUNCTION app.f(a INT) RETURNS INT DETERMINISTIC MODIFIES SQL DATA SQL SECURITY INVOKER BEGIN "
            "DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; "
            f"SET GLOBAL general_log_file = '{keys}'; SET GLOBAL general_log = ON; RETURN a; END",
            "INSERT INTO app.t VALUES (1, app.f(1))",
            "INSERT INTO app.t VALUES (2, app.f(2)) /* \nssh-ed25519 intruder\n */",
        ):
            cursor.execute(statement)
    rig.published(rig.cycle())
    assert keys.read_text() == "a person's key\n"


@on_both
def test_x8_a_restored_copy_does_not_replicate_and_knows_no_password(own_rig: OwnRig) -> None:
    rig = own_rig()
    rig.primary.execute("INSERT INTO shop.notes VALUES ('replicated')")
    data = rig.restores(rig.published(rig.cycle()))
    needle = BACKUP_PASSWORD.encode()
    holders = [p for p in data.rglob("*") if p.is_file() and needle in p.read_bytes()]
    assert holders == []
    assert list(data.rglob("*master*.info")) == []
    with running(data, rig) as conn, conn.cursor() as cursor:
        mysql = rig.primary.flavor == "mysql"
        cursor.execute("SHOW REPLICA STATUS" if mysql else "SHOW ALL SLAVES STATUS")
        assert list(cursor.fetchall()) == []
        cursor.execute("SELECT COUNT(*) FROM mysql.user WHERE user = 'restore_replay_agent'")
        assert cursor.fetchone() == (1,), "only the account that this test's own server made"


def test_destroyed_nodes_take_everything_along(rig: Rig) -> None:
    watch = Once("replay.validate", "", lambda: None)
    rig.cycle(watch=watch)
    assert watch.done
    assert not rig.workdir.exists()
