"""Binary log files with known content: transactions of every kind on a real primary, and what they changed."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.primary import ROOT_PASSWORD, Primary

#: columns of every type that both flavors have, with values of different lengths
_COLUMNS = (
    ("TINYINT", (1, -1)),
    ("SMALLINT UNSIGNED", (2, 65535)),
    ("MEDIUMINT", (3,)),
    ("INT", (4, -4)),
    ("BIGINT UNSIGNED", (5, 2**64 - 1)),
    ("FLOAT", (1.5,)),
    ("DOUBLE", (2.5,)),
    ("DECIMAL(20,7)", ("-1234567890123.1234567", "0")),
    ("DECIMAL(65,30)", ("1",)),
    ("BIT(1)", (b"\1",)),
    ("BIT(37)", (b"\0\1\2\3\4",)),
    ("YEAR", (2026,)),
    ("DATE", ("2026-08-21",)),
    ("TIME", ("-12:00:01",)),
    ("TIME(3)", ("12:00:01.123",)),
    ("DATETIME", ("2026-08-21 01:02:03",)),
    ("DATETIME(6)", ("2026-08-21 01:02:03.123456",)),
    ("TIMESTAMP(2) NULL", ("2026-08-21 01:02:03.12",)),
    ("CHAR(10)", ("", "ten chars!")),
    ("CHAR(200) CHARACTER SET utf8mb4", ("ä" * 200, "x")),
    ("BINARY(16)", (b"\0" * 16, b"ab")),
    ("VARCHAR(60)", ("", "v" * 60)),
    ("VARCHAR(3000) CHARACTER SET latin1", ("w" * 3000, "")),
    ("VARBINARY(255)", (b"\xff" * 255,)),
    ("TINYTEXT", ("t" * 255, "")),
    ("TEXT", ("t" * 3000,)),
    ("MEDIUMBLOB", (b"\0" * 9000, b"")),
    ("LONGTEXT", ("l" * 70000, "l")),
    ("ENUM('a','b')", ("a", "b")),
    ("SET('x','y','z')", ("x,z", "")),
    ("JSON", ('{"a": [1, 2, "three"]}', "[]")),
    ("POINT", (None,)),
)
OWN_COLUMNS = {
    "mariadb": (
        ("INET6", ("::1", "2001:db8::ff00:42:8329")),
        ("VARCHAR(500) COMPRESSED", ("c" * 500, "")),
        ("BLOB COMPRESSED", (b"c" * 5000,)),
    ),
    "mysql": (("VECTOR(3)", (None,)),),
}


@dataclass
class Logged:
    """What a primary was made to log.

    :ivar rows: table, and one of inserted, updated, deleted → rows.
    """

    primary: Primary
    rows: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def run(self, *statements: Any, domain: int | None = None) -> None:
        """Run statements in one session; of a tuple, the others are parameters."""
        with self.primary.connect() as conn, conn.cursor() as cursor:
            if domain is not None:
                cursor.execute(f"SET SESSION gtid_domain_id={domain}")
            for statement in statements:
                text, *parameters = (statement,) if isinstance(statement, str) else statement
                self._count(text, cursor.execute(text, parameters[0] if parameters else None))

    def _count(self, text: str, changed: int) -> None:
        words = text.replace("`", "").split()
        kinds = {"INSERT": ("inserted", 2), "UPDATE": ("updated", 1), "DELETE": ("deleted", 2)}
        if changed and words[0] in kinds:
            kind, place = kinds[words[0]]
            schema, _, name = words[place].partition(".")
            self.rows[schema, name, kind] += changed

    def file(self, name: str) -> Path:
        return self.primary.datadir / name

    def names(self) -> list[str]:
        return [str(row[0]) for row in self.primary.execute("SHOW BINARY LOGS")]

    def rotate(self) -> str:
        """Begin a new file; return the name of the one before."""
        name = self.names()[-1]
        self.primary.execute("FLUSH BINARY LOGS")
        return name

    def shown(self, name: str) -> list[tuple[Any, ...]]:
        """Return what the server itself says of the events of a file: place, kind, server, end, text."""
        with self.primary.connect(charset="latin1") as conn, conn.cursor() as cursor:
            cursor.execute(f"SHOW BINLOG EVENTS IN '{name}'")
            return [row[1:] for row in cursor.fetchall()]

    def position(self) -> str:
        variable = "gtid_binlog_pos" if self.primary.flavor == "mariadb" else "gtid_executed"
        return str(self.primary.execute(f"SELECT @@GLOBAL.{variable}")[0][0]).replace("\n", "")

    def _program(self) -> str:
        if self.primary.flavor == "mysql":
            return self.primary.program("mysqlbinlog")
        own = self.primary.program("mariadb-binlog")
        # The oldest release here is without client programs; a later release's reads its files.
        return own if shutil.which(own) else "mariadb-binlog"

    def copy(self, name: str, into: Path) -> Path:
        """Return a copy of a file as replicas get it, made by the server's own program."""
        command = [self._program(), "--no-defaults", "--read-from-remote-server", "--raw"]
        command += [f"--socket={self.primary.socket}", "--user=root", f"--password={ROOT_PASSWORD}"]
        subprocess.run([*command, f"--result-file={into}/", name], check=True, capture_output=True)
        return into / name

    def printed(self, path: Path) -> Counter[tuple[str, str, str]]:
        """Return the rows of a file by its server's own program, which decodes each of them."""
        command = [
            self._program(),
            "--no-defaults",
            "-v",
            "--base64-output=decode-rows",
            str(path),
        ]
        text = subprocess.run(command, check=True, capture_output=True).stdout.decode("utf-8", "replace")
        kinds = {"INSERT": "inserted", "UPDATE": "updated", "DELETE": "deleted"}
        found: Counter[tuple[str, str, str]] = Counter()
        for line in text.split("\n"):
            words = line.replace("`", "").split()
            if line.startswith("### ") and words[1] in kinds:
                schema, _, name = words[-1].partition(".")
                found[schema, name, kinds[words[1]]] += 1
        return found

    def every_type(self) -> None:
        """Change rows of a table that has columns of every type, some of them NULL."""
        columns = (*_COLUMNS, *OWN_COLUMNS[self.primary.flavor])
        names = [f"c{number}" for number in range(len(columns))]
        text = ", ".join(f"{name} {kind}" for name, (kind, _) in zip(names, columns, strict=True))
        inserts: list[Any] = []
        marks = ", ".join(["%s"] * len(columns))
        for number in range(40):
            values = [
                None if (number * 7 + index) % 5 == 0 else found[number % len(found)]
                for index, (_, found) in enumerate(columns)
            ]
            inserts.append((f"INSERT INTO w.zoo ({', '.join(names)}) VALUES ({marks})", values))
        self.run(
            "CREATE DATABASE IF NOT EXISTS w",
            f"CREATE TABLE w.zoo (id INT AUTO_INCREMENT PRIMARY KEY, {text}, p POINT NULL)",
            *inserts,
            "UPDATE w.zoo SET p = ST_GeomFromText('POINT(1 2)') WHERE id % 3 = 0",
            "UPDATE w.zoo SET c3 = id, c27 = REPEAT('u', id * 10)",
            "DELETE FROM w.zoo WHERE id % 4 = 0",
        )
        if self.primary.flavor == "mysql":
            vector = "STRING_TO_VECTOR('[1,2,3]')"
            self.run(
                f"UPDATE w.zoo SET c32 = {vector} WHERE id % 3 = 1",
                "SET SESSION binlog_row_value_options = PARTIAL_JSON",
                "UPDATE w.zoo SET c30 = JSON_SET(c30, '$.a[1]', id) WHERE c30 IS NOT NULL",
            )

    def shapes(self) -> None:
        """Change rows of tables whose rows have one length or several, many of them in each event."""
        wide = ", ".join(f"k{number} TINYINT NULL" for number in range(19))
        self.run(
            "CREATE DATABASE IF NOT EXISTS w",
            "CREATE TABLE w.fixed (id INT PRIMARY KEY, k BIGINT NULL)",
            f"CREATE TABLE w.wide (id INT PRIMARY KEY, {wide})",
            "CREATE TABLE w.texts (id INT PRIMARY KEY, t VARCHAR(300), n INT NULL)",
            "CREATE TABLE w.nothing (n INT NULL)",
            ("INSERT INTO w.fixed VALUES " + ", ".join(f"({n}, {n})" for n in range(5000)),),
            ("INSERT INTO w.fixed VALUES " + ", ".join(f"({n}, NULL)" for n in range(5000, 5100)),),
            "UPDATE w.fixed SET k = NULL WHERE id % 2 = 0",
            "UPDATE w.fixed SET k = 1 WHERE id < 4000",
            ("INSERT INTO w.wide (id, k3, k17) VALUES " + ", ".join(f"({n}, 1, 1)" for n in range(3000)),),
            "UPDATE w.wide SET k18 = 3",
            "UPDATE w.wide SET k0 = IF(id % 7, 1, NULL)",
            (
                "INSERT INTO w.texts VALUES "
                + ", ".join(f"({n}, REPEAT('t', {n % 300}), NULL)" for n in range(2000)),
            ),
            "UPDATE w.texts SET n = id WHERE id % 3 = 0",
            "DELETE FROM w.texts WHERE id > 100",
            "DELETE FROM w.wide",
            "INSERT INTO w.nothing VALUES (NULL), (NULL), (1)",
        )
        for image in ("MINIMAL", "NOBLOB"):
            self.run(
                f"SET SESSION binlog_row_image = {image}",
                "UPDATE w.fixed SET k = k + 1 WHERE k IS NOT NULL",
                "UPDATE w.texts SET t = REPEAT('m', id)",
                "DELETE FROM w.texts WHERE id < 50 AND id % 2 = 0",
                "INSERT INTO w.nothing (n) VALUES (5)",
            )


def total(found: Iterable[Any]) -> Counter[tuple[str, str, str]]:
    """Return the rows of transactions, summed up."""
    rows: Counter[tuple[str, str, str]] = Counter()
    for transaction in found:
        assert not transaction.uncounted, transaction.uncounted
        for (schema, name), counts in transaction.rows.items():
            for kind, count in zip(("inserted", "updated", "deleted"), counts, strict=True):
                if count:
                    rows[schema, name, kind] += count
    return rows
