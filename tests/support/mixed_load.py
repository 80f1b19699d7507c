"""Random statements of every kind: data and definitions change in all ways that replication carries.

A seed gives each thread's statements; how the threads interleave is chance.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pymysql
from pymysql.connections import Connection

from tests.support.primary import Primary

#: what all accounts of ``hunt.accounts`` have together, at any position
BALANCE = 10_000

_TYPED = (
    "CREATE TABLE hunt.typed (id BIGINT AUTO_INCREMENT PRIMARY KEY, f FLOAT, d DOUBLE, n DECIMAL(20,6), j JSON,"
    " b BIT(17), e ENUM('a','b','ü'), s SET('x','y','z'), t VARCHAR(80), l LONGBLOB, at TIMESTAMP(6) NULL,"
    " day DATE, y YEAR, g INT GENERATED ALWAYS AS (LENGTH(t)) STORED, v INT GENERATED ALWAYS AS (LENGTH(t) + 1)"
    " VIRTUAL, KEY (t), KEY (v)) DEFAULT CHARSET utf8mb4"
)
_TABLES = (
    "CREATE DATABASE hunt",
    "CREATE TABLE hunt.accounts (id INT PRIMARY KEY, balance INT NOT NULL)",
    "INSERT INTO hunt.accounts SELECT id, 100 FROM shop.orders WHERE id <= 100",
    _TYPED,
    "CREATE TABLE hunt.named (k VARCHAR(60) PRIMARY KEY, n INT) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_general_ci",
    "CREATE TABLE hunt.pairs (a INT, b INT, c VARCHAR(40), PRIMARY KEY (a, b)) PARTITION BY HASH (a) PARTITIONS 3",
    "CREATE TABLE hunt.loose (c VARCHAR(100), n INT)",
    "CREATE TABLE hunt.files (id INT AUTO_INCREMENT PRIMARY KEY, c VARCHAR(40)) ENGINE=MyISAM",
    "CREATE TABLE hunt.cache (id INT PRIMARY KEY, c VARCHAR(40)) ENGINE=MEMORY",
    "CREATE TABLE hunt.audit (id INT AUTO_INCREMENT PRIMARY KEY, of_id BIGINT, what VARCHAR(40))",
    "CREATE TRIGGER hunt.audited AFTER UPDATE ON hunt.typed FOR EACH ROW"
    " INSERT INTO hunt.audit (of_id, what) VALUES (NEW.id, 'update')",
)

Statements = Iterable[str]
Kind = Callable[[random.Random], Statements]


def _transfer(d: random.Random) -> Statements:
    amount, end = d.randrange(50), d.choice(("COMMIT", "COMMIT", "ROLLBACK"))
    there, back = sorted(d.sample(range(1, 101), 2))
    return (
        "START TRANSACTION",
        f"UPDATE hunt.accounts SET balance = balance - {amount} WHERE id = {there}",
        f"UPDATE hunt.accounts SET balance = balance + {amount} WHERE id = {back}",
        end,
    )


def _insert(d: random.Random) -> Statements:
    row = "({f}, {f} / 3, {f}, JSON_OBJECT('k', {f}), {b}, '{e}', 'x,z', '{t}', REPEAT('{t}', {r}), NOW(6), NOW(), 26)"
    rows = [
        row.format(
            f=d.randrange(-4000, 4000) / 4,  # of a FLOAT, a dump prints six digits
            b=d.randrange(2**17),
            e=d.choice("abü"),
            t=d.choice(("Ünï", "plain", "x ", "")) + str(d.randrange(999)),
            r=d.choice((1, 1, 50, 5000)),
        )
        for _ in range(d.choice((1, 3, 40)))
    ]
    return (f"INSERT INTO hunt.typed (f, d, n, j, b, e, s, t, l, at, day, y) VALUES {', '.join(rows)}",)


def _update(d: random.Random) -> Statements:
    change = d.choice(
        ("t = CONCAT('u', id)", "l = NULL", "d = d * 1.1", "b = b ^ 1", "j = JSON_ARRAY(id, t)")
    )
    return (f"UPDATE hunt.typed SET {change} WHERE id % {d.randrange(7, 60)} = 1 LIMIT 200",)


def _delete(d: random.Random) -> Statements:
    table = d.choice(("typed", "audit", "loose", "files", "pairs", "named"))
    column = {"loose": "n", "pairs": "a", "named": "n"}.get(table, "id")
    return (f"DELETE FROM hunt.{table} WHERE {column} % {d.randrange(5, 40)} = 0 LIMIT 100",)


def _key(d: random.Random) -> str:
    return "".join(d.choice("aAáÁbBßs ") for _ in range(d.randrange(1, 5)))


def _by_key(d: random.Random) -> Statements:
    n = d.randrange(1000)
    return (
        f"INSERT INTO hunt.named VALUES ('{_key(d)}', {n}) ON DUPLICATE KEY UPDATE n = n + 1",
        f"REPLACE INTO hunt.pairs VALUES ({n % 50}, {n % 7}, '{_key(d)}'), ({n % 49}, 8, 'other')",
        f"UPDATE IGNORE hunt.named SET k = '{_key(d)}' WHERE n < {n} LIMIT 1",
        f"REPLACE INTO hunt.cache VALUES ({n % 20}, '{_key(d)}')",
        f"INSERT INTO hunt.loose (c, n) VALUES ('{_key(d)}', {n}), ('same', 1), ('same', 1)",
        f"INSERT INTO hunt.files (c) VALUES ('{_key(d)}')",
    )


def _bulk(d: random.Random) -> Statements:
    return ("INSERT INTO hunt.typed (f, t, l) SELECT f, t, l FROM hunt.typed ORDER BY id LIMIT 300",)


def _temporary(d: random.Random) -> Statements:
    return (
        "CREATE TEMPORARY TABLE hunt.fleeting AS SELECT c, n FROM hunt.loose LIMIT 20",
        "INSERT INTO hunt.loose (c, n) SELECT c, n + 1 FROM hunt.fleeting",
        "DROP TEMPORARY TABLE hunt.fleeting",
    )


def _xa(d: random.Random) -> Statements:
    name, end = d.randrange(10**9), d.choice(("COMMIT", "ROLLBACK"))
    return (
        f"XA START 'x{name}'",
        "INSERT INTO hunt.loose (c, n) VALUES ('xa', 1)",
        f"XA END 'x{name}'",
        f"XA PREPARE 'x{name}'",
        f"XA {end} 'x{name}'",
    )


def _scratch(d: random.Random) -> Statements:
    name = f"hunt.s{d.randrange(5)}"
    return d.choice(
        (
            (f"CREATE TABLE {name} LIKE hunt.pairs", f"INSERT INTO {name} SELECT * FROM hunt.pairs"),
            (f"DROP TABLE IF EXISTS {name}",),
            (f"TRUNCATE TABLE {name}",),
            (f"ALTER TABLE {name} CONVERT TO CHARACTER SET {d.choice(('latin1', 'utf8mb4'))}",),
            (f"RENAME TABLE {name} TO hunt.s{d.randrange(5)}",),
            ("CREATE DATABASE fleet", "CREATE TABLE fleet.t (id INT PRIMARY KEY)", "DROP DATABASE fleet"),
        )
    )


def _alter(d: random.Random) -> Statements:
    n = d.randrange(4)
    return (
        d.choice(
            (
                f"ALTER TABLE hunt.loose ADD COLUMN c{n} INT DEFAULT {d.randrange(99)}",
                f"ALTER TABLE hunt.loose DROP COLUMN c{n}",
                f"ALTER TABLE hunt.typed ADD COLUMN c{n} VARCHAR(20) NOT NULL DEFAULT 'é' FIRST",
                f"ALTER TABLE hunt.typed DROP COLUMN c{n}",
                f"CREATE INDEX k{n} ON hunt.pairs (c)",
                f"DROP INDEX k{n} ON hunt.pairs",
                "ALTER TABLE hunt.typed FORCE",
                "OPTIMIZE TABLE hunt.pairs",
                "ANALYZE TABLE hunt.typed",
                "ALTER TABLE hunt.pairs ADD PARTITION PARTITIONS 1",
                "ALTER TABLE hunt.pairs COALESCE PARTITION 1",
                "TRUNCATE TABLE hunt.audit",
                "FLUSH BINARY LOGS",
            )
        ),
    )


def _swap(d: random.Random) -> Statements:
    return (
        "DROP TABLE IF EXISTS hunt.pairs_new, hunt.pairs_old",
        "CREATE TABLE hunt.pairs_new LIKE hunt.pairs",
        "INSERT INTO hunt.pairs_new SELECT * FROM hunt.pairs",
        "RENAME TABLE hunt.pairs TO hunt.pairs_old, hunt.pairs_new TO hunt.pairs",
        "DROP TABLE hunt.pairs_old",
    )


def _define(d: random.Random) -> Statements:
    n, m = d.randrange(4), d.randrange(1000)
    return (
        d.choice(
            (
                f"CREATE OR REPLACE VIEW hunt.v{n} AS SELECT id, t, {m} AS m FROM hunt.typed",
                f"DROP VIEW IF EXISTS hunt.v{n}",
                f"CREATE TRIGGER hunt.t{n} BEFORE INSERT ON hunt.loose FOR EACH ROW SET NEW.n = NEW.n + {n}",
                f"DROP TRIGGER IF EXISTS hunt.t{n}",
                f"CREATE PROCEDURE hunt.p{n}() SELECT {m}",
                f"DROP PROCEDURE IF EXISTS hunt.p{n}",
                f"CREATE FUNCTION hunt.f{n}() RETURNS INT DETERMINISTIC RETURN {m}",
                f"DROP FUNCTION IF EXISTS hunt.f{n}",
                f"CREATE EVENT hunt.e{n} ON SCHEDULE EVERY {m + 1} HOUR DO DELETE FROM hunt.audit",
                f"ALTER EVENT hunt.e{n} ON SCHEDULE EVERY {m + 2} DAY",
                f"DROP EVENT IF EXISTS hunt.e{n}",
            )
        ),
    )


def _account(d: random.Random) -> Statements:
    who = f"'h{d.randrange(4)}'@'%'"
    return (
        d.choice(
            (
                f"CREATE USER {who} IDENTIFIED BY 'pw-{d.randrange(9)}'",
                f"DROP USER IF EXISTS {who}",
                f"ALTER USER {who} IDENTIFIED BY 'pw-{d.randrange(9)}'",
                f"GRANT SELECT, INSERT ON hunt.* TO {who}",
                f"GRANT UPDATE (balance) ON hunt.accounts TO {who}",
                f"REVOKE INSERT ON hunt.* FROM {who}",
                f"GRANT PROCESS ON *.* TO {who}",
                "CREATE ROLE IF NOT EXISTS readers",
                f"GRANT readers TO {who}",
                "DROP ROLE IF EXISTS readers",
            )
        ),
    )


#: how often which
_KINDS: dict[Kind, int] = {
    _transfer: 20,
    _insert: 20,
    _update: 10,
    _delete: 10,
    _by_key: 15,
    _bulk: 1,
    _temporary: 2,
    _xa: 2,
    _scratch: 6,
    _alter: 5,
    _swap: 1,
    _define: 6,
    _account: 6,
}
#: of a statement that another one made impossible: something exists, or does not, or a lock was not given
_RACES = frozenset(
    {
        1007,
        1008,
        1049,
        1050,
        1051,
        1054,
        1060,
        1061,
        1062,
        1072,
        1091,
        1133,
        1141,
        1146,
        1147,
        1205,
        1213,
        1304,
        1305,
    }
    | {1347, 1356, 1359, 1396, 1410, 1412, 1467, 1494, 1508, 1537, 1539, 1615, 1684, 1959, 3523}
)


class MixedLoad:
    """Threads that run random statements until stopped.

    :param more: further kinds of statements, and how often each comes. With them, any statement may fail.
    :ivar pause_s: rest of each thread after a group of statements.
    :ivar errors: numbers of the servers' errors that no race explains, with one statement each.
    """

    def __init__(
        self,
        primary: Primary,
        seed: int,
        *,
        threads: int = 3,
        pause_s: float = 0.02,
        more: Mapping[Kind, int] | None = None,
    ) -> None:
        self.done: Counter[str] = Counter()
        self.errors: dict[int, str] = {}
        self._primary = primary
        self._kinds = {**_KINDS, **(more or {})}
        self._any_error = bool(more)
        self.pause_s = pause_s
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(f"{seed}.{n}"),)) for n in range(threads)
        ]

    @staticmethod
    def prepare(primary: Primary) -> None:
        """Make the tables."""
        primary.execute(*_TABLES)

    def __enter__(self) -> MixedLoad:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, dice: random.Random) -> None:
        while not self._stop.is_set():
            try:
                with self._primary.connect() as conn:
                    self._work(conn, dice)
            except pymysql.err.Error:
                self._stop.wait(0.2)  # the primary is being restarted

    def _work(self, conn: Connection[Any], dice: random.Random) -> None:
        while not self._stop.is_set():
            kind = dice.choices(list(self._kinds), weights=list(self._kinds.values()))[0]
            statements = kind(dice)
            statement = ""
            try:
                with conn.cursor() as cursor:
                    for statement in statements:
                        cursor.execute(statement)
                self.done[getattr(kind, "func", kind).__name__.strip("_")] += 1
            except pymysql.err.MySQLError as exc:
                number = int(exc.args[0]) if exc.args else 0
                if not 1000 <= number < 2000 and not 3000 <= number < 5000:
                    raise
                if number not in _RACES and not self._any_error:
                    self.errors.setdefault(number, f"{exc.args[1]}: {statement}"[:300])
                return  # a new session has no open transaction
            self._stop.wait(self.pause_s)
