"""Makes docs/failures.md from the code: ``python -m tests.support.failures > docs/failures.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from airflow_restore_replay.core import errors
from airflow_restore_replay.core.errors import Blame, Circumstance, Refused, RestoreReplayError
from airflow_restore_replay.core.flavor.classify import (
    ROWS_CONFLICT,
    TABLE_DAMAGED,
    TABLE_MISSING,
    ErrorRules,
)
from airflow_restore_replay.core.flavor.errorlog import LogRules
from airflow_restore_replay.core.flavor.mariadb import errorlog as mariadb_log
from airflow_restore_replay.core.flavor.mariadb.classify import RULES as mariadb
from airflow_restore_replay.core.flavor.mysql import errorlog as mysql_log
from airflow_restore_replay.core.flavor.mysql.classify import RULES as mysql

_HEAD = """\
# Every failure

Made from the code by `python -m tests.support.failures`. The blame of an error decides what the run does. The last
column tells you what to do.

| blames | the run | the backup |
|---|---|---|
| environment | is tried again, then red | nothing is recorded against any |
| source | is red; if the primary's data is corrupt or gone, the cluster is [held](operations.md#a-hold) | \
nothing is recorded against any |
| stranded | takes a fresh full, or is red with `fallback: none` | \
stays restorable and is kept, but is no base any more |
| backup | quarantines the base and takes a fresh full, or is red with `fallback: none`; after a fresh full: is red | \
quarantined, with the evidence |

## By class
"""
_NUMBERS = """
## By a server's error

What the server's threads report, by number, or by text where a number has many causes; and what a node's server writes
to its error log, at its first start on restored data and later.
"""


@dataclass(frozen=True)
class Said:
    """Something that a replication thread may stop with.

    :param text: what decides, as the server words it; empty where the number does.
    """

    number: int
    text: str = ""


#: texts that decide where the number does not; receiver
DUMP = {
    "mariadb": (
        Said(1236, "Could not find first log file name in binary log index file"),
        Said(1236, "Could not find GTID state requested by slave in any binlog files, probably purged"),
        Said(
            1236, "connecting slave requested to start from GTID 0-1-9, which is not in the master's binlog"
        ),
        Said(1236, "log event entry exceeded max_allowed_packet; Increase max_allowed_packet on master"),
        Said(1236, "binlog truncated in the middle of event"),
        Said(1236, "event read from binlog did not pass checksum"),
        Said(1593, "master and slave have equal MySQL server ids"),
    ),
    "mysql": (
        Said(13114, "Cannot replicate because the source purged required binary logs"),
        Said(13114, "Could not find first log file name in binary log index file"),
        Said(13114, "the replica has more GTIDs than the source has"),
        Said(13114, "log event entry exceeded max_allowed_packet; Increase max_allowed_packet on source"),
        Said(13114, "binlog truncated in the middle of event"),
        Said(13114, "event read from binlog did not pass checksum"),
        Said(13117, "source and replica have equal MySQL server UUIDs"),
    ),
}
#: lines of an error log
LOGGED = {
    "mariadb": (
        "[ERROR] InnoDB: Database page corruption on disk or a failed read of page 60 of shop/orders.ibd",
        "[Note] InnoDB: Could not find a valid tablespace file for shop/orders",
        "[ERROR] InnoDB: Missing MLOG_CHECKPOINT between the checkpoint and the end of the log",
        "[ERROR] mariadbd: Table './shop/archive' is marked as crashed and should be repaired",
        "mariadbd got signal 11 ;",
        "[ERROR] InnoDB: preallocating 65536 bytes failed: No space left on device",
        "[ERROR] InnoDB: Cannot allocate memory for the buffer pool",
        "[ERROR] mariadbd: unknown variable 'x=1'",
        "[ERROR] InnoDB: Unable to lock ./ibdata1 error: 11",
        "[ERROR] Couldn't load plugins from 'ha_spider.so'",
        "[ERROR] Master 'x': error connecting to master",
    ),
    "mysql": (
        "[ERROR] [MY-011899] [InnoDB] Database page corruption on disk or a failed read of page 60",
        "[Warning] [MY-012351] [InnoDB] Tablespace 7, name 'shop/orders', file './shop/orders.ibd' is missing!",
        "[ERROR] [MY-013183] [InnoDB] Assertion failure: page0page.cc",
        "[ERROR] [MY-010334] [Server] Failed to initialize DD Storage Engine",
        "mysqld got signal 6 ;",
        "[ERROR] [MY-012814] [InnoDB] preallocating failed: No space left on device",
        "[ERROR] [MY-012681] [InnoDB] Cannot allocate memory for the buffer pool",
        "[ERROR] [MY-000067] [Server] unknown variable 'x=1'",
        "[ERROR] [MY-012574] [InnoDB] Unable to lock ./ibdata1 error: 11",
        "[ERROR] [MY-010205] [Server] Can't open shared library 'keyring.so'",
        "[ERROR] [MY-010584] [Repl] Replica SQL: could not execute Update_rows event",
    ),
}
#: row conflicts and the like: whatever is not known to be a circumstance is evidence
#: examples of events that no node can replay
UNREPLAYABLE = (1049, 1050, 1051, 1054, 1091, 1118, 1141, 1286, 1396, 1677)


def classes() -> list[type[RestoreReplayError]]:
    """Return the leaves and nodes of the tree that are raised, in the order of the module."""
    found = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, RestoreReplayError)]
    groups = {"RestoreReplayError", "Refused", "Circumstance", "SourceFault", "Stranded", "BackupFault"}
    return [c for c in found if c.__name__ not in groups]


def run_does(kind: type[RestoreReplayError]) -> str:
    if issubclass(kind, Refused):
        return "refused before anything is done"
    if issubclass(kind, Circumstance):
        return "tried again, then red" if kind.retryable else "red"
    return {
        Blame.SOURCE: "red",
        Blame.STRANDED: "stranded, then a fresh full",
        Blame.BACKUP: "quarantined, then a fresh full",
    }[kind.default_blame]


def document() -> str:
    """Return docs/failures.md."""
    lines = [_HEAD, "| error | meaning | blames | the run | you |", "|---|---|---|---|---|"]
    for kind in classes():
        meaning = (kind.__doc__ or "").strip().split("\n")[0]
        cells = (
            f"`{kind.__name__}`",
            meaning,
            kind.default_blame.value,
            run_does(kind),
            kind.advice,
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines.append(_NUMBERS)
    for name, rules, log in (("MariaDB", mariadb, mariadb_log), ("MySQL", mysql, mysql_log)):
        lines += [f"### {name}", "", "| thread | number | text | error | blames |", "|---|---|---|---|---|"]
        lines += [_row(*found) for found in known(rules, DUMP[name.lower()])]
        lines += ["", "| in the error log | blames |", "|---|---|"]
        lines += [f"| `{line}` | {logged(log.RULES, line)} |" for line in LOGGED[name.lower()]]
        lines.append("")
    return "\n".join(lines)


def known(
    rules: ErrorRules, said: tuple[Said, ...]
) -> Iterator[tuple[str, str, str, RestoreReplayError | None]]:
    """Return thread, numbers, text, and what the flavor makes of it; None is tried again by the server."""
    transient = sorted(rules.transient)
    yield "receiver", ", ".join(map(str, transient)), "", None
    for number in sorted(rules.denied_numbers - rules.transient):
        yield "receiver", str(number), "", rules.io_error(number, "…")
    for one in said:
        yield "receiver", str(one.number), one.text, rules.io_error(one.number, one.text)
    for number in sorted(rules.circumstance | rules.missing_plugin):
        yield "applier", str(number), "", rules.applier_error(number, "…", "…")
    yield "applier", "1021, 28", "No space left on device", rules.applier_error(1021, "…", "…")
    yield "applier", "any", "relay log read failure", rules.applier_error(1594, "Relay log read failure", "…")
    for number in (*sorted(ROWS_CONFLICT), TABLE_MISSING, *sorted(TABLE_DAMAGED), *UNREPLAYABLE):
        yield "applier", str(number), "", rules.applier_error(number, "…", "…")
    yield "applier", "any other", "", rules.applier_error(9999, "…", "…")


def logged(rules: LogRules, line: str) -> str:
    """Return what a line of the error log blames."""
    if rules.data_errors(line):
        return "backup"
    return "environment" if rules.environment_errors(line) else "no blame"


def _row(thread: str, number: str, text: str, error: RestoreReplayError | None) -> str:
    what = (
        ("the server tries again by itself", "") if error is None else (f"`{error.code}`", error.blame.value)
    )
    return f"| {' | '.join((thread, number, text, *what))} |"


if __name__ == "__main__":
    sys.stdout.write(document())
