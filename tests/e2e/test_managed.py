"""Primaries of managed services: no SUPER, no RELOAD, no BACKUP_ADMIN, no files, and the service's own accounts.

Whole cycles on real servers, with exactly the grants that docs/managed-services.md lists.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from airflow_restore_replay.core.flavor.mariadb import grants as mariadb
from airflow_restore_replay.core.flavor.mysql import grants as mysql
from airflow_restore_replay.core.repository.format.records import Proof
from tests.support.flavors import on_both
from tests.support.primary import BACKUP_PASSWORD, Primary, WriteLoad
from tests.support.rig import Rig
from tests.support.tamper import running

DOCUMENT = Path(__file__).parents[2] / "docs" / "managed-services.md"

#: what such a service leaves in its servers, and writes for itself
SERVICE = (
    "CREATE USER 'rdsadmin'@'localhost' IDENTIFIED BY 'not-for-you-77'",
    "GRANT ALL ON *.* TO 'rdsadmin'@'localhost' WITH GRANT OPTION",
    "CREATE TABLE mysql.rds_heartbeat2 (id INT PRIMARY KEY, value BIGINT)",
    "INSERT INTO mysql.rds_heartbeat2 VALUES (1, 1)",
    "CREATE PROCEDURE mysql.rds_set_configuration(name VARCHAR(30), value INT) SELECT name, value",
    "CREATE USER 'app'@'%' IDENTIFIED BY 'app-pw-1'",
    "GRANT SELECT, INSERT ON shop.* TO 'app'@'%'",
)


def documented(flavor: str) -> str:
    """Return the GRANT statement that the document lists for *flavor*."""
    text = DOCUMENT.read_text(encoding="utf-8")
    heading = {"mysql": "MySQL", "mariadb": "MariaDB"}[flavor]
    section = text.split(f"### Grants on {heading}\n")[1].split("\n#")[0]
    (statement,) = re.findall(r"^ +(GRANT .*?);", section, re.MULTILINE | re.DOTALL)
    return " ".join(statement.split())


def restrict(primary: Primary) -> None:
    """Replace the protection account by one with exactly the documented privileges."""
    primary.execute(
        "DROP USER restore_replay@'%'",
        f"CREATE USER 'restore_replay'@'%' IDENTIFIED BY '{BACKUP_PASSWORD}'",
        documented(primary.flavor),
    )


def test_the_document_lists_what_the_code_asks_for() -> None:
    assert [documented("mysql")] == mysql.statements("restore_replay", managed=True)
    assert [documented("mariadb")] == mariadb.statements("restore_replay", physical=False)


@on_both
def test_whole_cycles_with_exactly_the_documented_grants(
    new_primary: Callable[..., Primary], tmp_path: Path
) -> None:
    rig = Rig(new_primary(), tmp_path)
    rig.primary.execute(*SERVICE)
    restrict(rig.primary)
    with WriteLoad(rig.primary):
        first = rig.full(seed={"method": "logical"})
        rig.primary.execute(
            "UPDATE mysql.rds_heartbeat2 SET value = value + 1",
            "ALTER USER 'app'@'%' IDENTIFIED BY 'app-pw-2'",
            "INSERT INTO shop.notes VALUES ('replayed')",
        )
        second = rig.published(rig.cycle())
    catalog = rig.catalog()
    assert catalog.backup(first).proof is Proof.RESTORED
    manifest = catalog.backup(second).manifest
    assert manifest.compared["tables"] >= 3
    assert rig.verdicts_against() == []
    if rig.primary.flavor == "mysql":
        assert manifest.compared["snapshot"]["method"] == "LOCK TABLES"
        assert manifest.compared["snapshot"]["locked_s"] < 5
        assert "mysql" in catalog.backup(first).manifest.notes["fill"]["left_out"]
    with running(rig.restores(second), rig) as conn, conn.cursor() as cursor:
        cursor.execute("SHOW GRANTS FOR 'app'@'%'")
        assert any("shop" in line and "INSERT" in line for (line,) in cursor.fetchall())
