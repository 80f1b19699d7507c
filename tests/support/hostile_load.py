"""What the mixed load leaves out: statements that depend on what the binary log does not carry, or is not told.

Sessions and globals with other settings, definitions without the binary log, tablespaces that are discarded and
imported, halves of a failed ``DROP DATABASE``, engines, time zones, hostile names, and partial revokes. No statement
writes rows that only the primary has: what follows is a replay, or a fresh full that says why, but never a quarantine.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial

from airflow_restore_replay.core.flavor.quoting import identifier
from tests.support.names import HOSTILE
from tests.support.primary import Primary

Statements = Iterable[str]
Kind = Callable[[random.Random], Statements]

_MODES = (
    "",
    "ANSI_QUOTES,PIPES_AS_CONCAT",
    "STRICT_ALL_TABLES",
    "NO_BACKSLASH_ESCAPES",
    "NO_AUTO_VALUE_ON_ZERO",
)
_ZONES = ("+05:30", "-11:00", "SYSTEM")
#: of both flavors: settings of a session that its statements depend on
_SESSION = (
    *(f"sql_mode = '{mode}'" for mode in _MODES),
    *(f"time_zone = '{zone}'" for zone in _ZONES),
    *(f"{name} = {value}" for name in ("foreign_key_checks", "unique_checks") for value in (0, 1)),
    *(
        "innodb_strict_mode = 0",
        "auto_increment_increment = 7",
        "timestamp = 86400",
        "default_week_format = 3",
    ),
    *("group_concat_max_len = 20", "lc_time_names = 'de_DE'", "tx_isolation = 'READ-COMMITTED'"),
    *("sql_safe_updates = 1", "div_precision_increment = 8", "collation_connection = utf8mb4_bin"),
)
_SESSION_OF = {
    "mariadb": (
        "alter_algorithm = 'INPLACE'",
        "check_constraint_checks = 0",
        "default_storage_engine = 'Aria'",
    ),
    "mysql": (
        *("default_storage_engine = 'MyISAM'", "sql_generate_invisible_primary_key = 1"),
        *("binlog_row_image = 'MINIMAL'", "default_collation_for_utf8mb4 = utf8mb4_general_ci"),
    ),
}
_GLOBALS = (
    *("sql_mode = ''", "sql_mode = DEFAULT", "time_zone = '+03:00'", "time_zone = 'SYSTEM'"),
    *(
        "sql_select_limit = 5",
        "sql_select_limit = DEFAULT",
        "innodb_strict_mode = 0",
        "innodb_strict_mode = 1",
    ),
    *("group_concat_max_len = 64", "group_concat_max_len = DEFAULT", "event_scheduler = 1"),
    *("character_set_server = latin1", "character_set_server = utf8mb4", "init_connect = ''"),
    *("low_priority_updates = 1", "low_priority_updates = 0", "net_write_timeout = 20"),
)
_ENGINES = {
    "mariadb": ("ARCHIVE", "BLACKHOLE", "CSV", "Aria", "MyISAM", "MRG_MyISAM"),
    "mysql": ("ARCHIVE", "BLACKHOLE", "CSV", "MyISAM", "MRG_MyISAM"),
}
_SPACES = (
    "DROP TABLE IF EXISTS odd.spaces",
    "CREATE TABLE odd.spaces (id INT PRIMARY KEY, c VARCHAR(20)) ENGINE=InnoDB",
    "INSERT INTO odd.spaces VALUES (1, 'a'), (2, 'b')",
)


def prepare(primary: Primary) -> None:
    """Make the tables, and load the engines."""
    if primary.flavor == "mariadb":
        # Without them, a session that permits other engines gets InnoDB, and the node gets what was asked for.
        primary.execute("INSTALL SONAME 'ha_archive'", "INSTALL SONAME 'ha_blackhole'")
    primary.execute(
        "CREATE DATABASE odd",
        "CREATE TABLE odd.t (id INT AUTO_INCREMENT PRIMARY KEY, at TIMESTAMP(3) NULL, c VARCHAR(60), n INT DEFAULT 1)"
        " DEFAULT CHARSET utf8mb4",
        *_SPACES,
    )


def kinds(primary: Primary, dice: random.Random) -> dict[Kind, int]:
    """Return kinds of statements for *primary*, and how often each comes.

    Those that make a replay impossible are in every third cycle, so that others replay.
    """
    flavor = primary.flavor
    found: dict[Kind, int] = {
        partial(_in_session, flavor): 20,
        _global: 3,
        partial(_engine, flavor): 4,
        _hostile_name: 6,
    }
    spoiling: tuple[Kind, ...] = (
        *(_discard, _unlogged),
        *(partial(act, primary) for act in (_half_dropped, _import)),
    )
    if dice.random() < 0.35:
        found[dice.choice(spoiling)] = 1
    if flavor == "mysql":
        found[_partial_revoke] = 1
    return found


def _in_session(flavor: str, d: random.Random) -> Statements:
    settings = d.sample(_SESSION + _SESSION_OF[flavor], 2)
    if flavor == "mysql":
        settings = [setting.replace("tx_isolation", "transaction_isolation") for setting in settings]
    n = d.randrange(4)
    work = d.choice(
        (
            f"INSERT INTO odd.t (at, c) VALUES (NOW(3), CONCAT('é', {n})), ('2026-03-08 12:30:00', 'x')",
            f"UPDATE odd.t SET n = n + 1, at = FROM_UNIXTIME({d.randrange(10**9)}) WHERE id % 5 = {n} LIMIT 20",
            f"INSERT INTO odd.t (c) SELECT GROUP_CONCAT(c ORDER BY id) FROM odd.t WHERE id < 9 HAVING COUNT(*) > {n}",
            f"INSERT INTO odd.t (c) VALUES (DATE_FORMAT('2026-03-0{n + 1}', '%M %W')), (1 / 7)",
            f"CREATE TABLE IF NOT EXISTS odd.m{n} (c CHAR(20), n INT CHECK (n <> 5))",
            f"INSERT INTO odd.m{n} VALUES ('a\\\\b', {n})",
            f"ALTER TABLE odd.m{n} ADD COLUMN x{n} TEXT, ADD KEY (n)",
            f"DROP TABLE IF EXISTS odd.m{n}",
            f"CREATE OR REPLACE VIEW odd.w{n} AS SELECT 'a' 'b' AS x, id FROM odd.t",
            f"DROP PROCEDURE IF EXISTS odd.p{n}",
            f"CREATE PROCEDURE odd.p{n}() SELECT 'a' 'b', NOW()",
            f"DELETE FROM odd.t WHERE id % 11 = {n} LIMIT 50",
        )
    )
    # The pool of a driver resets a session as little.
    return (*(f"SET SESSION {setting}" for setting in settings), work)


def _global(d: random.Random) -> Statements:
    return (f"SET GLOBAL {d.choice(_GLOBALS)}",)


def _engine(flavor: str, d: random.Random) -> Statements:
    n, engine = d.randrange(3), d.choice(_ENGINES[flavor])
    union = f" UNION=(odd.e{n}_of)" if engine == "MRG_MyISAM" else ""
    name = f"odd.e{n}_{engine.lower()}"
    return d.choice(
        (
            (
                f"CREATE TABLE IF NOT EXISTS odd.e{n}_of (a INT NOT NULL, b VARCHAR(9) NOT NULL) ENGINE=MyISAM",
                f"CREATE TABLE {name} (a INT NOT NULL, b VARCHAR(9) NOT NULL) ENGINE={engine}{union}",
            ),
            (f"INSERT INTO {name} VALUES ({n}, 'x'), ({n + 1}, 'y')",),
            (f"DROP TABLE IF EXISTS {name}",),
        )
    )


def _hostile_name(d: random.Random) -> Statements:
    schema, table, column = (identifier(name) for name in d.sample(HOSTILE, 3))
    column = identifier(d.choice(HOSTILE).strip())
    return d.choice(
        (
            (
                f"CREATE DATABASE IF NOT EXISTS {schema}",
                f"CREATE TABLE {schema}.{table} (id INT PRIMARY KEY, {column} VARCHAR(20))",
                f"INSERT INTO {schema}.{table} VALUES (1, 'x')",
            ),
            (f"INSERT INTO {schema}.{table} (id) VALUES ({d.randrange(99)})",),
            (f"CREATE VIEW {schema}.v AS SELECT * FROM {schema}.{table}",),
            (f"DROP TABLE IF EXISTS {schema}.{table}", f"DROP VIEW IF EXISTS {schema}.v"),
            (f"DROP DATABASE IF EXISTS {schema}",),
        )
    )


def _discard(d: random.Random) -> Statements:
    return d.choice(
        (
            ("ALTER TABLE odd.spaces DISCARD TABLESPACE",),
            _SPACES,
        )
    )


def _import(primary: Primary, d: random.Random) -> Iterator[str]:
    """Import a tablespace, whose rows no binary log has; no replica has its file."""
    files = [primary.datadir / "odd" / f"spaces.{kind}" for kind in ("ibd", "cfg")]
    kept = [primary.tmp_dir / f"{d.random()}.{file.name}" for file in files]
    yield from _SPACES
    yield "FLUSH TABLES odd.spaces FOR EXPORT"
    with suppress(OSError):  # another session has dropped the table
        for file, copy in zip(files, kept, strict=True):
            shutil.copy(file, copy)
    yield "UNLOCK TABLES"
    yield "ALTER TABLE odd.spaces DISCARD TABLESPACE"
    with suppress(OSError):
        for file, copy in zip(files, kept, strict=True):
            shutil.copy(copy, file)
            copy.unlink()
    yield "ALTER TABLE odd.spaces IMPORT TABLESPACE"


def _unlogged(d: random.Random) -> Statements:
    n = d.randrange(3)
    return (
        "SET sql_log_bin = 0",
        d.choice(
            (
                f"ALTER TABLE odd.t ADD COLUMN u{n} INT",
                f"ALTER TABLE odd.t DROP COLUMN u{n}",
                f"CREATE INDEX k{n} ON odd.t (c)",
                f"CREATE TABLE odd.u{n} (id INT PRIMARY KEY)",
                f"DROP TABLE IF EXISTS odd.u{n}",
                f"CREATE OR REPLACE VIEW odd.wu AS SELECT {n} AS n",
            )
        ),
        "SET sql_log_bin = 1",
    )


def _half_dropped(primary: Primary, d: random.Random) -> Statements:
    """A file of another program in the schema's directory makes DROP DATABASE fail when its tables are gone."""
    strange = primary.datadir / "half" / "strange"
    if strange.parent.is_dir():
        if strange.exists():
            strange.unlink()
        else:
            strange.write_text("")
    elif strange.parent.exists():
        shutil.rmtree(strange.parent)
    return d.choice(
        (
            (
                "CREATE DATABASE half",
                "CREATE TABLE half.t (id INT PRIMARY KEY)",
                "INSERT INTO half.t VALUES (1)",
            ),
            ("DROP DATABASE half",),
        )
    )


def _partial_revoke(d: random.Random) -> Statements:
    who = f"'r{d.randrange(2)}'@'%'"
    return d.choice(
        (
            (f"CREATE USER IF NOT EXISTS {who}", f"GRANT SELECT, INSERT ON *.* TO {who}"),
            (f"REVOKE INSERT ON hunt.* FROM {who}",),
            (f"DROP USER IF EXISTS {who}",),
            ("SET GLOBAL partial_revokes = ON",),
        )
    )
