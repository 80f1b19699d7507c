"""Faults D2–D8: what the restored server or its data reports."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_restore_replay.core.errors import Blame
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.flavor.values import Endpoint
from airflow_restore_replay.core.repository.format.records import BackupState
from tests.e2e.conftest import OwnRig
from tests.support import unpacked
from tests.support.flavors import KITS, MANY_ROWS, Kit, on_10_5, on_both, on_either, on_every
from tests.support.independent import dump_text
from tests.support.mariadb import MariaDb118Primary
from tests.support.primary import ROOT_PASSWORD, Primary, create_zoo
from tests.support.rig import Rig
from tests.support.tamper import by_sql, running, tampered


def quarantine_failure(rig: Rig, backup_id: str) -> Failure:
    """Run a cycle over a wrong base.

    :returns: why it was quarantined; a fallback took its place.
    """
    report = rig.cycle()
    new_id = rig.published(report)
    assert report.base_id == backup_id
    assert report.quarantined == [backup_id]
    catalog = rig.catalog()
    assert catalog.backup(new_id).manifest.base.kind == "seed"
    failure = catalog.backup(backup_id).against[0].failure
    assert failure is not None
    assert failure.blame is Blame.BACKUP
    return failure


def needs_an_older(system: Primary) -> None:
    """Where the system's own MariaDB is 11.8 already, there is no second release."""
    series = tuple(int(part) for part in system.execute("SELECT VERSION()")[0][0].split(".")[:2])
    if series >= (11, 8):
        pytest.skip(f"this system's own MariaDB is {series}, not older than 11.8")


@on_both
def test_d2_server_does_not_start(rig: Rig, backup_id: str) -> None:
    def break_the_system_tablespace(data: Path) -> None:
        with (data / "ibdata1").open("r+b") as file:
            for page in range(8):
                file.seek(page * 16384 + 100)
                file.write(b"\xff" * 500)

    wrong = tampered(rig, backup_id, break_the_system_tablespace)
    failure = quarantine_failure(rig, wrong)
    assert failure.code == "ServerStartFailed"
    assert any("InnoDB" in line or "signal" in line for line in failure.evidence["log"])


@on_every
def test_d4_table_file_missing(rig: Rig, backup_id: str) -> None:
    wrong = tampered(rig, backup_id, lambda data: (data / "shop/orders.ibd").unlink())
    failure = quarantine_failure(rig, wrong)
    # InnoDB opens a file when it is first needed: by its own start, a check, or the applier.
    assert failure.code in ("FileMissing", "ErrorLogDirty", "TableCheckFailed")
    assert "orders" in failure.message


@on_both
def test_d5_rows_differ(rig: Rig, backup_id: str) -> None:
    """Each way of differing, all in one backup; equal rows that came twice do not cancel."""
    wrong = tampered(
        rig,
        backup_id,
        by_sql(
            "UPDATE shop.orders SET total = total + 1 WHERE id = 777",
            "DELETE FROM shop.orders WHERE id = 15000",
            "INSERT INTO shop.orders (id, customer, total) VALUES (900000, 'nobody', 1)",
            "INSERT INTO shop.notes SELECT * FROM shop.notes WHERE body = 'note 5'",
        ),
    )
    failure = quarantine_failure(rig, wrong)
    assert failure.code == "DataMismatch"
    assert "shop." in failure.message
    found = failure.evidence["differences"]
    in_orders = [d for d in found if d["table"] == "shop.orders"]
    assert all(d["key_range"] for d in in_orders)
    seen = {kind: d[kind] for d in in_orders for kind in ("changed", "missing", "added") if kind in d}
    assert seen == {
        "changed": {"count": 1, "keys": ["777"]},
        "missing": {"count": 1, "keys": ["15000"]},
        "added": {"count": 1, "keys": ["900000"]},
    }
    (in_notes,) = [d for d in found if d["table"] == "shop.notes"]
    assert in_notes["key_range"] == "the whole table"
    assert in_notes["rows_node"] == in_notes["rows_primary"] + 1


@on_both
def test_d5_missing_table(rig: Rig, backup_id: str) -> None:
    gone = tampered(rig, backup_id, by_sql("DROP TABLE shop.notes"))
    failure = quarantine_failure(rig, gone)
    assert failure.evidence["missing_tables"] == ["shop.notes"]


@on_both
def test_d3_release_older_than_the_backups_is_refused(rig: Rig, backup_id: str) -> None:
    newer = tampered(rig, backup_id, lambda data: None, server_release="99.1.0")
    report = rig.cycle(retries=0)
    assert report.failure is not None
    assert report.failure.code == "ReleaseRefused"
    assert "99.1" in report.failure.message
    assert rig.against(newer) == []


@pytest.mark.skipif(unpacked.without("mariadb-11.8"), reason="RR_WITHOUT=mariadb-11.8")
def test_d3_node_newer_than_the_primary_is_refused(rig: Rig, backup_id: str) -> None:
    """Its backups could not be restored on the primary's release."""
    needs_an_older(rig.primary)
    report = rig.cycle(retries=0, node={"bindir": unpacked.programs("mariadb-11.8")})
    assert report.failure is not None
    assert report.failure.code == "ReleaseRefused"
    assert "MariaDB 11.8" in report.failure.message
    assert "newer than the primary" in report.failure.message
    assert rig.against(backup_id) == []


@pytest.mark.skipif(unpacked.without("mariadb-11.8"), reason="RR_WITHOUT=mariadb-11.8")
def test_d3_backup_of_the_release_before_the_upgrade_replays_on_the_new_one(tmp_path: Path) -> None:
    old = KITS["mariadb"].start(tmp_path / "primary")
    rig = Rig(old, tmp_path)
    try:
        needs_an_older(old)
        base = rig.full()
    finally:
        old.stop()
    rig.primary = MariaDb118Primary.start(tmp_path / "primary", port=old.port)
    try:
        rig.primary.execute(
            "CREATE TABLE shop.embeddings (id INT PRIMARY KEY, e VECTOR(2) NOT NULL, VECTOR INDEX (e))",
            "INSERT INTO shop.embeddings VALUES (1, VEC_FromText('[1, 0.5]'))",
        )
        report = rig.cycle()
    finally:
        rig.primary.stop()
    manifest = rig.catalog().backup(rig.published(report)).manifest
    assert (report.base_id, report.quarantined) == (base, [])
    assert rig.catalog().backup(base).manifest.server_release < manifest.server_release
    assert manifest.server_release.startswith("11.8.")


@on_10_5
def test_d6_history_that_a_dump_leaves_out_is_refused_and_a_physical_seed_has_it(
    new_primary: Callable[..., Primary], tmp_path: Path
) -> None:
    rig = Rig(new_primary(), tmp_path)
    rig.primary.execute(
        "CREATE TABLE shop.prices (id INT PRIMARY KEY, price INT) WITH SYSTEM VERSIONING",
        "INSERT INTO shop.prices VALUES (1, 10)",
        "UPDATE shop.prices SET price = 11",
    )
    failure = rig.cycle(retries=0, force_full=True).failure
    assert failure is not None
    assert (failure.code, failure.blame) == ("PreflightFailed", Blame.ENVIRONMENT)
    assert "shop.prices" in failure.message
    assert "physical" in failure.hint
    copied = rig.full(seed={"method": "physical"})
    rig.primary.execute("UPDATE shop.prices SET price = 12")
    report = rig.cycle()
    assert rig.catalog().backup(rig.published(report)).manifest.base.backup_id == copied
    assert rig.verdicts_against() == []


def test_d6_history_by_transactions_is_refused_and_a_physical_seed_has_it(
    new_primary: Callable[..., Primary], tmp_path: Path
) -> None:
    """A dump cannot load its rows, and each server numbers transactions in its own way."""
    rig = Rig(new_primary(), tmp_path)
    rig.primary.execute(
        "CREATE TABLE shop.prices (id INT PRIMARY KEY, price INT, s BIGINT UNSIGNED GENERATED ALWAYS AS ROW START, "
        "e BIGINT UNSIGNED GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING",
        "INSERT INTO shop.prices (id, price) VALUES (1, 10)",
        "UPDATE shop.prices SET price = 11",
    )
    failure = rig.cycle(retries=0, force_full=True).failure
    assert failure is not None
    assert (failure.code, failure.blame) == ("PreflightFailed", Blame.ENVIRONMENT)
    assert "transaction-precise tables: shop.prices" in failure.message
    assert "seed.method: physical" in failure.hint
    rig.overrides["seed"] = {"method": "physical"}
    copied = rig.full()
    rig.primary.execute("UPDATE shop.prices SET price = 12")
    report = rig.cycle()
    manifest = rig.catalog().backup(rig.published(report)).manifest
    assert manifest.base.backup_id == copied
    assert "shop.prices" not in manifest.compared["uncompared"]
    assert rig.verdicts_against() == []
    # The same values, but no current row any more.
    rig.primary.execute("SET sql_log_bin=0", "DELETE FROM shop.prices")
    assert rig.cycle().quarantined == [manifest.backup_id]


@on_both
def test_d6_tables_that_cannot_be_carried_are_refused_by_name(
    new_primary: Callable[..., Primary], tmp_path: Path, kit: Kit
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o777)
    rig = Rig(new_primary(options=kit.may_write_to(elsewhere)), tmp_path)
    rig.primary.execute(f"CREATE TABLE shop.far (id INT PRIMARY KEY) DATA DIRECTORY='{elsewhere}'")
    report = rig.cycle(retries=0)
    assert report.failure is not None
    assert report.failure.code == "UnsupportedTables"
    assert "shop.far" in report.failure.message
    assert rig.catalog().backups == ()


@on_every
def test_d8_zoo_is_equal_after_a_real_restore(
    new_primary: Callable[..., Primary], tmp_path: Path, kit: Kit
) -> None:
    """One of every object, through seed, replay and restore; compared by the server's own dump."""
    rig = Rig(new_primary(), tmp_path)
    with rig.primary.connect() as conn:
        create_zoo(conn, rig.primary.zoo)
    # A dump of 10.5 leaves out history.
    rig.full(seed={"method": kit.seeds[kit.series == "10.5."]})
    second = rig.published(rig.cycle())
    assert rig.catalog().backup(second).state is BackupState.HEALTHY
    with running(rig.restores(second), rig) as conn:
        root = Endpoint(socket=str(conn.unix_socket), user="root", password=ROOT_PASSWORD)
        restored = dump_text(root, rig.primary).splitlines()
    assert restored == dump_text(rig.primary.endpoint(), rig.primary).splitlines()


#: rows as large as the primary takes them, and one that is larger than any packet of its
PACKET_BYTES = 32 * 2**20
DDL_AND_LARGE_ROWS = (
    "CREATE TABLE shop.next LIKE shop.archive",
    "INSERT INTO shop.next SELECT id, CONCAT(body, '!') FROM shop.archive",
    "RENAME TABLE shop.archive TO shop.previous, shop.next TO shop.archive",
    "DROP TABLE shop.previous",
    "ALTER TABLE shop.orders ADD COLUMN extra INT NOT NULL DEFAULT 7 AFTER customer, MODIFY note MEDIUMTEXT, FORCE",
    "ALTER TABLE shop.notes ADD COLUMN id INT AUTO_INCREMENT PRIMARY KEY FIRST, RENAME COLUMN body TO text",
    "CREATE DATABASE passing",
    "CREATE TABLE passing.t (id INT PRIMARY KEY) SELECT 1 AS id",
    "DROP DATABASE passing",
    "CREATE TABLE shop.emptied AS SELECT * FROM shop.notes",
    "TRUNCATE TABLE shop.emptied",
    "CREATE VIEW shop.customers AS SELECT DISTINCT customer FROM shop.orders",
    MANY_ROWS,
    "CREATE TABLE shop.large (id INT PRIMARY KEY, a LONGBLOB, b LONGBLOB)",
    f"INSERT INTO shop.large (id, a) VALUES (1, REPEAT('a', {PACKET_BYTES}))",
    f"UPDATE shop.large SET b = REPEAT('b', {PACKET_BYTES})",
)


class DdlLoad:
    """Makes, redefines and drops tables and schemas as fast as it can, until stopped."""

    def __init__(self, primary: Primary) -> None:
        self.rounds = 0
        self._primary = primary
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> DdlLoad:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._primary.execute(
                "CREATE TABLE shop.scratch AS SELECT * FROM shop.archive",
                "CREATE DATABASE fleeting",
                "CREATE TABLE fleeting.t (id INT PRIMARY KEY) SELECT 1 AS id",
                "ALTER TABLE shop.archive FORCE",
                "DROP DATABASE fleeting",
            )
            self._stop.wait(0.5)
            self._primary.execute("DROP TABLE shop.scratch")
            self.rounds += 1


@on_both
def test_d7_ddl_a_large_transaction_and_large_rows(own_rig: OwnRig) -> None:
    rig = own_rig(options=[f"--max-allowed-packet={PACKET_BYTES}"])
    rig.primary.execute(*DDL_AND_LARGE_ROWS)
    with DdlLoad(rig.primary) as load:
        second = rig.published(rig.cycle())
    assert load.rounds > 2
    assert rig.verdicts_against() == []
    manifest = rig.catalog().backup(second).manifest
    assert set(manifest.compared["uncompared"]) <= {
        *("shop.archive", "shop.scratch", "fleeting.t", "mysql.gtid_executed"),
    }
    with running(rig.restores(second), rig) as conn, conn.cursor() as cursor:
        look = "SELECT LENGTH(a), LENGTH(b), SHA2(a, 256), SHA2(b, 256) FROM shop.large"
        cursor.execute(look)
        assert cursor.fetchall() == tuple(rig.primary.execute(look))
        cursor.execute("SELECT COUNT(*), SUM(extra) FROM shop.orders")
        assert cursor.fetchall() == ((80000, 560000),)
    rig.full()


@on_either
def test_d7_many_tables(new_primary: Callable[..., Primary], tmp_path: Path) -> None:
    """150 where the catalogue says 20 000: what a test may take; half of them by seed, half by replay."""
    rig = Rig(new_primary(), tmp_path)
    names = [f"many.t{n:05}" for n in range(150)]
    made = [f"CREATE TABLE {name} (id INT PRIMARY KEY, v INT) SELECT 1 AS id, 2 AS v" for name in names]
    rig.primary.execute("CREATE DATABASE many", *made[:75])
    rig.full()
    rig.primary.execute(*made[75:])
    second = rig.published(rig.cycle())
    assert rig.catalog().backup(second).manifest.compared["tables"] >= 150
    assert rig.verdicts_against() == []
