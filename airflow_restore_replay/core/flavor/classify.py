"""Classify a server's errors by whom they blame.

Numbers decide where they can; each flavor adds its own to those that all flavors have. One number covers many causes
(above all 1236, and 13114 in newer releases of MySQL), so messages decide where numbers do not. They are classified as
they are shown, without what a user wrote: a value like "disk is full" decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from pymysql.err import MySQLError

from airflow_restore_replay.core.errors import (
    BinlogPurged,
    HistoryDiverged,
    NodeFull,
    NodeServerCrashed,
    NotReplayable,
    PreflightFailed,
    PrimaryUnreachable,
    ReplayConflict,
    ReplicationDenied,
    RestoreReplayError,
    SeedFailed,
    SourceCorrupt,
)
from airflow_restore_replay.core.flavor.program_output import error_number
from airflow_restore_replay.core.flavor.redaction import redacted, redacted_message
from airflow_restore_replay.core.flavor.sql import READ_TIMEOUT_S, open_connection
from airflow_restore_replay.core.flavor.tls import (
    ACCOUNT_HINT,
    about_certificates,
    tls_context,
    unreachable_hint,
)
from airflow_restore_replay.core.flavor.values import Conn, Endpoint

_TRANSIENT = {1040, 1053, 1129, 1152, 1158, 1159, 1160, 1161, 1184, 1203, 1205, 1226, 1317, 1429}
_TRANSIENT |= {2002, 2003, 2005, 2006, 2013, 2055}
_DENIED = {1044, 1045, 1130, 1142, 1143, 1227, 1698, 1820, 1862, 3118, 4151}
_ABOUT_THE_ACCOUNT = (1044, 1045, 1130, 1698)
_NO_SUCH_SCHEMA = 1049
_MEMORY = {5, 12, 1037, 1038, 1041, 1135, 2008}
# Killed by an administrator or a shutdown, or a lock wait that the node itself caused.
_INTERRUPTED = {1053, 1180, 1205, 1213, 1317}
# The node lacks a plugin that the statement names.
_MISSING_PLUGIN = {1524}
_RELAY_LOG = {1594}
#: rows that a row event needs are missing, or are there already: nothing but the data is behind it. A foreign key that
#: fails (1451, 1452) is none: servers also log rows in an order in which a replica's own check fails (MySQL 9.7,
#: ON UPDATE CASCADE with triggers).
ROWS_CONFLICT = frozenset({1022, 1032, 1062, 1169, 1557, 1586, 1761, 1762})
#: the node's server cannot read a table that it has
TABLE_DAMAGED = frozenset(
    {126, 127, 134, 144, 145, 1016, 1017, 1030, 1033, 1034, 1035, 1194, 1195, 1712, 1812, 1877, 1932}
)
#: evidence only if the base recorded the table and lacks it; jobs.catch_up asks for that
TABLE_MISSING = 1146
_EVIDENCE = ROWS_CONFLICT | TABLE_DAMAGED | {TABLE_MISSING}
#: an administrator, or a time limit of the server, ended the statement
STATEMENT_ENDED = frozenset({1317, 1969, 3024})
_KILLED = 1317
_LONGEST_CHARS = 1000
# A lock, or a change of what is being read; the next try may find other circumstances.
_PASSING = frozenset({1049, 1051, 1146, 1205, 1213, 1305, 1412})
# of the connection, not of a server that answered
_OF_CLIENTS = range(2000, 3000)
_FULL = (1021, 28)
_FATAL = (1236, 13114)

_DISK_FULL = re.compile(
    r"No space left on device|disk is full|OS errno 28|Errcode: 28|errno: 28|table .* is full|Disk quota exceeded",
    re.I,
)
_NETWORK = re.compile(
    r"Lost connection to|server has gone away|Can't connect to|reading initial communication packet", re.I
)
_OUT_OF_MEMORY = re.compile(r"out of memory|cannot allocate memory|Errcode: 12\b|needed \d+ bytes", re.I)
_GRANT = re.compile(
    r"at least one of the (.+?) privilege|need .*?the (.+?) privilege|(?:^|: )(\w[\w ]*) command denied"
)
_REPLICATING = re.compile(r"COM_REGISTER_(SLAVE|REPLICA)|COM_BINLOG_DUMP")
_SAME_ID = re.compile(r"server (ids|uuids)", re.I)
# Parts of the texts of error 1236, of which sql_repl.cc and rpl_binlog_sender.cc have one for each cause.
_TOO_LARGE = re.compile(r"max_allowed_packet|packet.*larger|larger.*packet", re.I | re.S)
_PURGED = re.compile(
    r"purged|could not find first log file|could not find gtid state|provision a new replica", re.I
)
_DIVERGED = re.compile(
    r"not in the master's binlog|which is not in|diverged|more gtids than the|has more gtids|rolled back",
    re.I,
)
_DAMAGED = re.compile(
    r"corrupt|truncated|bogus data|event read from binlog|checksum|log event entry exceeded", re.I
)
# The file that it imports is in no binary log.
_IMPORT = re.compile(
    r"\bQuery: '\s*ALTER\s+(?:ONLINE\s+|IGNORE\s+)*TABLE\s.*\bIMPORT\s+(?:PARTITION\s.+\s)?TABLESPACE\s*'",
    re.I | re.DOTALL,
)
_COMMENT = re.compile(r"/\*.*?\*/|(?:#|-- )[^\n]*\n", re.DOTALL)
_TABLE = re.compile(r"on table ([^;]+?);|Table '([^']+)' doesn't exist")


class ErrorRules:
    """Classifier of a flavor's errors.

    :param transient: numbers of connection errors that the receiver retries by itself.
    :param denied: numbers that refuse an account or a privilege.
    :param circumstance: numbers of an applier's errors that memory, locks or whoever ended it caused.
    """

    def __init__(
        self, *, transient: Collection[int], denied: Collection[int], circumstance: Collection[int]
    ) -> None:
        self.transient = frozenset(_TRANSIENT.union(transient))
        self.denied_numbers = frozenset(_DENIED.union(denied))
        self.missing_plugin = frozenset(_MISSING_PLUGIN)
        self.circumstance = frozenset(_MEMORY.union(_INTERRUPTED, _RELAY_LOG, circumstance))

    def connect_error(self, exc: BaseException, endpoint: Endpoint) -> RestoreReplayError:
        """Classify a failed connection to *endpoint*."""
        number, text = number_and_text(exc)
        if number in self.denied_numbers or number == _NO_SUCH_SCHEMA:
            return denied(number, text, str(endpoint))
        where = endpoint.socket or f"{endpoint.host}:{endpoint.port}"
        return PrimaryUnreachable(
            f"Cannot connect to the server at {where} as {endpoint.user}: {text}.",
            hint=unreachable_hint(text),
        )

    def connect(self, endpoint: Endpoint, *, encrypted: bool, read_timeout_s: int = READ_TIMEOUT_S) -> Conn:
        """Open an autocommit connection in UTC, verified if the endpoint names a CA.

        :raises PrimaryUnreachable: the server does not answer.
        :raises ReplicationDenied: the password or a grant is wrong.
        """
        try:
            context = tls_context(endpoint) if encrypted else None
            return open_connection(endpoint, context, read_timeout_s=read_timeout_s)
        except (MySQLError, OSError, RuntimeError) as exc:
            raise self.connect_error(exc, endpoint) from exc

    def passes(self, number: int, text: str) -> bool:
        """Return whether a connection error is transient, so that the receiver's retry can succeed."""
        return (number in self.transient or bool(_NETWORK.search(text))) and not about_certificates(text)

    def io_error(self, number: int, text: str) -> RestoreReplayError:
        """Classify ``Last_IO_Errno``/``Last_IO_Error`` of a stopped receiver."""
        text = redacted(text, number)
        evidence = {"error": number, "text": text}
        if number in _FATAL or "fatal error 1236" in text:
            return _dump_error(text, evidence)
        if number in self.denied_numbers or "ccess denied" in text:
            return denied(number, text, "the replication account")
        if disk_full(text) or number in _FULL:
            return NodeFull(f"The node's disk is full: {text}", evidence=evidence)
        if _SAME_ID.search(text):
            return ReplicationDenied(
                f"The primary and the node have the same server id or UUID: {text}",
                hint="Server ids of replay nodes lie in 3900000000–3999999999; give the primary another.",
                evidence=evidence,
            )
        return PrimaryUnreachable(
            f"The receiver stopped with error {number}: {text}",
            hint=unreachable_hint(text),
            evidence=evidence,
        )

    def applier_error(self, number: int, text: str, position: str) -> RestoreReplayError:
        """Classify ``Last_SQL_Errno`` and its message, or those of a worker, of a stopped applier.

        Only what a defect of the data can cause is evidence. The rest is an event that no node of this kind can replay:
        the binary log lacks a setting or a file, or the node lacks software.
        """
        imports = bool(_IMPORT.search(_COMMENT.sub(" ", text)))
        text = redacted_message(number, text)
        evidence: dict[str, Any] = {"error": number, "text": text, "position": position}
        found = _TABLE.search(text)
        table = (found[1] or found[2]) if found else ""
        if table:
            evidence["table"] = table
        if disk_full(text) or number in _FULL:
            return NodeFull(f"The node's disk is full at {position}: {text}", evidence=evidence)
        if number in self.circumstance or _OUT_OF_MEMORY.search(text):
            return NodeServerCrashed(
                f"The applier stopped at {position} for a reason that is not in the data, error {number}: {text}",
                hint="See the node's memory and who killed the thread.",
                evidence=evidence,
            )
        if number in self.missing_plugin:
            return NotReplayable(
                f"A statement at {position} names a plugin that the node lacks, error {number}: {text}",
                hint="Install the plugin on the node; until then, a fresh full has what the statement did.",
                evidence=evidence,
            )
        if "relay log read failure" in text.lower():
            return NodeServerCrashed(
                f"The node's relay log is unreadable at {position}: {text}", evidence=evidence
            )
        about = f" in table {table}" if table else ""
        evident = number in _EVIDENCE and not imports
        kind = ReplayConflict if evident else NotReplayable
        return kind(f"The applier stopped at {position}{about}, error {number}: {text}", evidence=evidence)


def number_and_text(exc: BaseException) -> tuple[int, str]:
    """Return number and text of a driver's error; 0 if it has no number."""
    number = exc.args[0] if exc.args and isinstance(exc.args[0], int) else 0
    return number, str(exc.args[1] if len(exc.args) > 1 else exc)


def denied(number: int, text: str, who: str) -> ReplicationDenied:
    """Return the error for a refused password or a missing grant, with the name of the grant if it is known."""
    text = redacted(text, number)
    # The pattern takes cubic time for texts that were made for that.
    found = _GRANT.search(text[:_LONGEST_CHARS])
    grant = next(filter(None, found.groups())).upper() if found else ""
    if _REPLICATING.search(text):
        grant = "REPLICATION SLAVE"
    # A refused command of replication has the number of a refused account (1045).
    about_the_account = number in _ABOUT_THE_ACCOUNT and not grant
    if about_the_account:
        hint = ACCOUNT_HINT
    else:
        hint = (
            f"Grant {grant or 'the missing privilege'} ON *.* to the account; `doctor` prints the statement."
        )
    return ReplicationDenied(
        f"The primary refused {who}: {text} (error {number}).",
        hint=hint,
        evidence={"error": number},
    )


def dump_ended(number: int, line: str) -> RestoreReplayError:
    """Return the error of a dump of which the primary ended a statement, see :data:`STATEMENT_ENDED`."""
    if number == _KILLED:
        return SeedFailed(
            f"A statement of the dump was killed on the primary: {line}",
            hint="Find who kills long statements there, then run the cycle again.",
            evidence={"error": number},
        )
    return PreflightFailed(
        f"The primary limits how long a statement takes, and the dump takes longer: {line}",
        hint="Exempt the account: max_statement_time 0 on MariaDB, max_execution_time 0 on MySQL.",
        evidence={"error": number},
    )


def program_failed(what: str, status: int, line: str) -> SeedFailed:
    """Return the error of a program of a seed that ended with *status*.

    A retry ends in the same way if a server refused a statement for a reason that time alone does not change.
    """
    number = error_number(line)
    message, evidence = f"{what} failed with status {status}: {line}", {"error": number}
    if not number or number in _PASSING or number in _OF_CLIENTS:
        return SeedFailed(message, evidence=evidence)
    hint = "A retry would fail in the same way: change what the message names, or use another seed.method."
    return SeedFailed(message, hint=hint, evidence=evidence, retryable=False)


def disk_full(text: str) -> bool:
    """Return whether a server's message says that a disk is full."""
    return bool(_DISK_FULL.search(text))


def _dump_error(text: str, evidence: dict[str, Any]) -> RestoreReplayError:
    """Classify a fatal error of the binary log's stream by its text."""
    if _TOO_LARGE.search(text):
        return PrimaryUnreachable(
            f"The primary cannot send an event because of its size: {text}",
            hint="Raise max_allowed_packet on the primary.",
            evidence=evidence,
        )
    if _PURGED.search(text):
        return BinlogPurged(
            f"The primary no longer has the binary logs that are needed: {text}", evidence=evidence
        )
    if _DIVERGED.search(text):
        return HistoryDiverged(f"The primary's history is another one: {text}", evidence=evidence)
    if _DAMAGED.search(text):
        return SourceCorrupt(
            f"The primary's binary log is damaged: {text}",
            hint="Check the primary's disk; a fresh full copy does not need the damaged file.",
            evidence=evidence,
        )
    return PrimaryUnreachable(f"The primary stopped sending its binary log: {text}", evidence=evidence)
