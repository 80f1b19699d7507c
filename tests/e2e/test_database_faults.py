"""Faults D2–D6: what the restored server or its data reports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_restore_replay.core.errors import Blame, Failure
from airflow_restore_replay.core.flavor.base import Endpoint
from airflow_restore_replay.core.repository.format.records import BackupState
from tests.support import unpacked
from tests.support.flavors import KITS, Kit, on_both, on_every
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


@pytest.mark.parametrize(
    ("statement", "kind", "key"),
    [
        ("UPDATE shop.orders SET total = total + 1 WHERE id = 777", "changed", "777"),
        ("DELETE FROM shop.orders WHERE id = 15000", "missing", "15000"),
        ("INSERT INTO shop.orders (id, customer, total) VALUES (900000, 'nobody', 1)", "added", "900000"),
    ],
)
def test_d5_rows_differ(rig: Rig, backup_id: str, statement: str, kind: str, key: str) -> None:
    wrong = tampered(rig, backup_id, by_sql(statement))
    failure = quarantine_failure(rig, wrong)
    assert failure.code == "DataMismatch"
    assert "shop.orders" in failure.message
    (difference,) = failure.evidence["differences"]
    assert difference["table"] == "shop.orders"
    assert difference[kind] == {"count": 1, "keys": [key]}
    assert difference["key_range"]


@on_both
def test_d5_table_without_key_and_missing_table(rig: Rig, backup_id: str) -> None:
    wrong = tampered(rig, backup_id, by_sql("DELETE FROM shop.notes LIMIT 1"))
    failure = quarantine_failure(rig, wrong)
    assert failure.evidence["differences"][0]["key_range"] == "the whole table"
    gone = tampered(rig, backup_id, by_sql("DROP TABLE shop.notes"))
    failure = quarantine_failure(rig, gone)
    assert failure.evidence["missing_tables"] == ["shop.notes"]


def test_d5_duplicate_rows_do_not_cancel(rig: Rig, backup_id: str) -> None:
    wrong = tampered(
        rig, backup_id, by_sql("INSERT INTO shop.notes SELECT * FROM shop.notes WHERE body = 'note 5'")
    )
    assert quarantine_failure(rig, wrong).code == "DataMismatch"


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
def test_d8_zoo_is_equal_after_a_real_restore(new_primary: Callable[..., Primary], tmp_path: Path) -> None:
    """One of every object, through seed, replay and restore; compared by the server's own dump."""
    rig = Rig(new_primary(), tmp_path)
    with rig.primary.connect() as conn:
        create_zoo(conn, rig.primary.zoo)
    rig.full()
    second = rig.published(rig.cycle())
    assert rig.catalog().backup(second).state is BackupState.HEALTHY
    with running(rig.restores(second), rig) as conn:
        root = Endpoint(socket=conn.unix_socket, user="root", password=ROOT_PASSWORD)
        restored = dump_text(root, rig.primary).splitlines()
    assert restored == dump_text(rig.primary.endpoint(), rig.primary).splitlines()
