"""``mariadb-dump`` and what its output and its errors mean."""

from __future__ import annotations

import re
from pathlib import Path

from airflow_restore_replay.core.errors import (
    NodeFull,
    NodeServerCrashed,
    PrimaryUnreachable,
    RestoreReplayError,
    SeedFailed,
    SourceCorrupt,
)
from airflow_restore_replay.core.flavor.mariadb import classify
from airflow_restore_replay.core.flavor.mariadb.gtid import MariaDbPosition

_GTID = re.compile(rb"^(?:-- )?SET GLOBAL gtid_slave_pos='([0-9,\- ]*)';", re.MULTILINE)
_CORRUPT_NUMBERS = {126, 127, 134, 144, 145, 1034, 1035, 1194, 1195, 1712, 1728, 1877, 1932, 1033, 1296}
_CORRUPT = re.compile(
    r"is corrupt|marked as crashed|Incorrect key file|doesn't exist in engine|page corruption|"
    r"seems to be corrupted|Corrupted|checksum mismatch",
    re.IGNORECASE,
)
_GONE = {1053, 1927, 2002, 2003, 2005, 2006, 2013, 2026, 1158, 1159, 1160, 1161, 1040, 1203, 1226}


def dump_command(program: str, options: Path) -> list[str]:
    """:returns: argv that dumps everything from one snapshot with its exact GTID, history rows included."""
    return [
        program,
        f"--defaults-file={options}",
        "--all-databases",
        "--single-transaction",
        "--skip-lock-tables",
        "--master-data=2",
        "--gtid",
        "--dump-history",
        "--routines",
        "--events",
        "--triggers",
        "--quick",
        "--no-tablespaces",
        "--default-character-set=utf8mb4",
        "--max-allowed-packet=1G",
        # Replication's own state comes from the snapshot's GTID, not from what the primary once replicated.
        "--ignore-table=mysql.gtid_slave_pos",
        # The node's optimizer computes these anew.
        "--ignore-table=mysql.innodb_index_stats",
        "--ignore-table=mysql.innodb_table_stats",
    ]


def load_command(program: str, options: Path) -> list[str]:
    """:returns: argv of the client that loads a dump on the node."""
    return [
        program,
        f"--defaults-file={options}",
        "--batch",
        "--binary-mode",
        "--default-character-set=utf8mb4",
        "--max-allowed-packet=1G",
        "--init-command=SET SESSION innodb_strict_mode=0",
    ]


def dumped_position(tail: bytes) -> MariaDbPosition:
    """:param tail: the end of a dump, where its position is written.
    :raises SeedFailed: there is none.
    """
    found = _GTID.findall(tail)
    if not found:
        raise SeedFailed("The dump names no GTID.", hint="The primary must write a binary log.")
    return MariaDbPosition.parse(found[-1].decode())


def dump_error(status: int, stderr: str) -> RestoreReplayError:
    """:returns: whom a failed ``mariadb-dump`` blames."""
    line = telling_line(stderr, "mariadb-dump", status)
    number = _number(line)
    if number in (1044, 1045, 1142, 1143, 1227, 1370, 1698):
        return classify.denied(number, line, "the dump's account")
    if number in _CORRUPT_NUMBERS or _CORRUPT.search(line):
        return SourceCorrupt(
            f"The primary cannot read its own data: {line}",
            hint="Repair the table on the primary; the last good backup is kept.",
            evidence={"error": number},
        )
    if number in _GONE:
        return PrimaryUnreachable(f"The dump lost the primary: {line}")
    return SeedFailed(f"mariadb-dump failed with status {status}: {line}", evidence={"error": number})


def load_error(status: int, stderr: str) -> RestoreReplayError:
    """:returns: why the node did not take the dump."""
    line = telling_line(stderr, "mariadb", status)
    if classify.disk_full(line):
        return NodeFull(f"The node's disk is full: {line}")
    if _number(line) in _GONE:
        return NodeServerCrashed(f"The node's server went away while the dump was loaded: {line}")
    return SeedFailed(f"Loading the dump failed with status {status}: {line}")


def telling_line(stderr: str, program: str, status: int) -> str:
    """:returns: the line that says why."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"error|denied|corrupt|fail", line, re.IGNORECASE)]
    chosen = errors[0] if errors else (lines[-1] if lines else "")
    return chosen or (
        f"{program} was killed by signal {-status}" if status < 0 else f"{program} said nothing"
    )


def _number(line: str) -> int:
    match = re.search(r"(?:error:?|ERROR)\s*:?\s*(\d{3,4})\b", line, re.IGNORECASE)
    return int(match[1]) if match else 0
