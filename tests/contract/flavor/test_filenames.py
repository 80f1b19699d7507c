"""Names of files in a data directory are decoded as the servers encode them."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.filenames import TableName, name_of, table_of
from tests.support.mariadb import MariaDbPrimary

_STEP = 4096


def test_every_character_is_decoded_as_the_server_encodes_it(primary: MariaDbPrimary) -> None:
    for start in range(1, 0x10000, _STEP):
        points = [p for p in range(start, min(start + _STEP, 0x10000)) if not 0xD800 <= p < 0xE000]
        if not points:
            continue
        columns = ", ".join(f"HEX(CONVERT(_ucs2 x'{point:04x}' USING filename))" for point in points)
        ((encoded),) = primary.execute(f"SELECT {columns}")
        for point, text in zip(points, encoded, strict=True):
            assert name_of(bytes.fromhex(text).decode()) == chr(point)


def test_files_belong_to_the_tables_that_the_server_made_them_for(primary: MariaDbPrimary) -> None:
    schema, name = "con.d `é", "aux#P#p ü$%"
    quoted = f"`{schema.replace('`', '``')}`.`{name}`"
    primary.execute(
        f"CREATE DATABASE `{schema.replace('`', '``')}`",
        f"CREATE TABLE {quoted} (id INT PRIMARY KEY) ENGINE=InnoDB PARTITION BY HASH (id) PARTITIONS 2",
        "CREATE DATABASE con",
        "CREATE TABLE con.prn (id INT PRIMARY KEY, t TEXT, FULLTEXT KEY (t)) ENGINE=InnoDB",
        "CREATE TABLE con.old (id INT) ENGINE=MyISAM",
    )
    found: dict[TableName | None, set[str]] = {}
    for path in primary.datadir.rglob("*"):
        relative = path.relative_to(primary.datadir).as_posix()
        found.setdefault(table_of(relative, directory=path.is_dir()), set()).add(path.suffix or path.name)
    assert found[TableName(schema, name)] == {".frm", ".par", ".ibd"}
    assert found[TableName("con", "prn")] == {".frm", ".ibd"}
    assert found[TableName("con", "old")] == {".frm", ".MYD", ".MYI"}
    assert ".ibd" in found[TableName("con", "")], "full-text indexes name no table"
    assert {"ibdata1", "mysql", ".pid"} - {".pid"} <= found[None]
