"""Classify the errors of a MySQL server by their blame.

One number covers many causes (above all 1236, and 13114 in newer releases), so messages decide where numbers do not.
"""

from __future__ import annotations

import re
from typing import Any

from airflow_restore_replay.core.errors import (
    BinlogPurged,
    HistoryDiverged,
    NodeFull,
    NodeServerCrashed,
    PrimaryUnreachable,
    ReplayConflict,
    ReplicationDenied,
    RestoreReplayError,
    SourceCorrupt,
)
from airflow_restore_replay.core.flavor.tls import ACCOUNT_HINT, about_certificates, unreachable_hint
from airflow_restore_replay.core.flavor.values import Endpoint

#: connection errors that the I/O thread retries by itself
TRANSIENT_IO = frozenset({1040, 1053, 1129, 1158, 1159, 1160, 1161, 1203, 1205, 1226, 1429, 1152, 1184})
TRANSIENT_IO |= {2002, 2003, 2005, 2006, 2013, 2026, 2055, 13117, 3024, 4031}
_DENIED = frozenset({1044, 1045, 1130, 1142, 1143, 1227, 1410, 1698, 1820, 1862, 3118, 3955, 4151, 13120})
_DISK_FULL = re.compile(
    r"No space left on device|disk is full|OS errno 28|Errcode: 28|errno: 28|table .* is full|Disk quota exceeded",
    re.I,
)
_NETWORK = re.compile(
    r"Lost connection to|server has gone away|Can't connect to|reading initial communication packet", re.I
)
_MEMORY = re.compile(r"out of memory|cannot allocate memory|Errcode: 12\b|needed \d+ bytes", re.I)
_MEMORY_NUMBERS = frozenset({1037, 1038, 1041, 5, 12, 1135, 2008, 3170})
# Killed by an administrator or a shutdown, or a lock wait that the node itself caused.
_CIRCUMSTANCE_NUMBERS = frozenset({1053, 1317, 1205, 1213, 1180, 3572, 13118})
# The node lacks installed software, not data: an engine, a plugin, a component, a keyring.
_MISSING_SOFTWARE = frozenset({1286, 1128, 1126, 1127, 1524, 3185, 3184, 3529})
_PURGED = ("purged", "could not find first log file", "provision a new replica")
_DIVERGED = ("more gtids than the", "has more gtids", "rolled back", "diverged")
_DAMAGED = (
    "corrupt",
    "truncated",
    "bogus data",
    "event read from binlog",
    "checksum",
    "log event entry exceeded",
)
# The node's InnoDB does not know the directory, which does not blame the backup.
_ELSEWHERE = frozenset({3121})


def connect_error(exc: BaseException, endpoint: Endpoint) -> RestoreReplayError:
    """Classify a failed connection to *endpoint*."""
    number = exc.args[0] if exc.args and isinstance(exc.args[0], int) else 0
    text = f"{exc.args[1] if len(exc.args) > 1 else exc}"
    if number in _DENIED or number == 1049:
        return denied(number, text, str(endpoint))
    where = endpoint.socket or f"{endpoint.host}:{endpoint.port}"
    return PrimaryUnreachable(
        f"Cannot connect to the server at {where} as {endpoint.user}: {text}.",
        hint=unreachable_hint(text),
    )


def denied(number: int, text: str, who: str) -> ReplicationDenied:
    """Return the error for a refused password or a missing grant, with the name of the grant if it is known."""
    match = re.search(r"at least one of the (.+?) privilege|need .*?the (.+?) privilege", text)
    grant = (match[1] or match[2]) if match else ""
    command = re.search(r"^(\w[\w ]*) command denied", text)
    grant = grant or (command[1] if command else "")
    if re.search(r"COM_REGISTER_(SLAVE|REPLICA)|COM_BINLOG_DUMP", text):
        grant = "REPLICATION SLAVE"
    if number in (1045, 1130, 1698, 1044) and not grant:
        hint = ACCOUNT_HINT
    else:
        hint = (
            f"Grant {grant or 'the missing privilege'} ON *.* to the account; `doctor` prints the statement."
        )
    return ReplicationDenied(
        f"The primary refused {who}: {text} (error {number}).", hint=hint, evidence={"error": number}
    )


def is_network(text: str) -> bool:
    """Return whether the text of an I/O thread's "fatal error" only says that the connection was lost."""
    return bool(_NETWORK.search(text))


def passes(number: int, text: str) -> bool:
    """Return whether a connection error is transient, so that the I/O thread's retry can succeed."""
    return (number in TRANSIENT_IO or is_network(text)) and not about_certificates(text)


def io_error(number: int, text: str) -> RestoreReplayError:
    """Classify ``Last_IO_Errno``/``Last_IO_Error`` of a stopped I/O thread."""
    evidence = {"error": number, "text": text}
    if number in (1236, 13114) or "fatal error 1236" in text:
        return _dump_error(text, evidence)
    if number in _DENIED or "ccess denied" in text:
        return denied(number, text, "the replication account")
    if _DISK_FULL.search(text) or number in (1021, 28):
        return NodeFull(f"The node's disk is full: {text}", evidence=evidence)
    if "server ids" in text.lower() or "server uuids" in text.lower():
        return ReplicationDenied(
            f"The primary and the node have the same server id or UUID: {text}",
            hint="Server ids of replay nodes lie in 3900000000–3999999999; give the primary another.",
            evidence=evidence,
        )
    return PrimaryUnreachable(
        f"The receiver stopped with error {number}: {text}", hint=unreachable_hint(text), evidence=evidence
    )


def _dump_error(text: str, evidence: dict[str, Any]) -> RestoreReplayError:
    """Classify error 1236 by its text: MySQL's rpl_binlog_sender.cc has a different one for each of its causes."""
    lower = text.lower()
    if "max_allowed_packet" in lower or ("packet" in lower and "larger" in lower):
        return PrimaryUnreachable(
            f"The primary cannot send an event because of its size: {text}",
            hint="Raise max_allowed_packet on the primary.",
            evidence=evidence,
        )
    if any(part in lower for part in _PURGED):
        return BinlogPurged(
            f"The primary no longer has the binary logs that are needed: {text}", evidence=evidence
        )
    if any(part in lower for part in _DIVERGED):
        return HistoryDiverged(f"The primary's history is another one: {text}", evidence=evidence)
    if any(part in lower for part in _DAMAGED):
        return SourceCorrupt(
            f"The primary's binary log is damaged: {text}",
            hint="Check the primary's disk; a fresh full copy does not need the damaged file.",
            evidence=evidence,
        )
    return PrimaryUnreachable(f"The primary stopped sending its binary log: {text}", evidence=evidence)


def applier_error(number: int, text: str, position: str) -> RestoreReplayError:
    """Classify the error of a stopped applier: ``Last_SQL_Errno``, and the message of a worker."""
    evidence: dict[str, Any] = {"error": number, "text": text, "position": position}
    table = _table(text)
    if table:
        evidence["table"] = table
    if _DISK_FULL.search(text) or number in (1021, 28):
        return NodeFull(f"The node's disk is full at {position}: {text}", evidence=evidence)
    circumstance = _CIRCUMSTANCE_NUMBERS | _MEMORY_NUMBERS | _MISSING_SOFTWARE | _ELSEWHERE
    if number in circumstance or _MEMORY.search(text):
        return NodeServerCrashed(
            f"The applier stopped at {position} for a reason that is not in the data, error {number}: {text}",
            hint="See the node's memory, plugins and who killed the thread.",
            evidence=evidence,
        )
    if "relay log read failure" in text.lower():
        return NodeServerCrashed(
            f"The node's relay log is unreadable at {position}: {text}", evidence=evidence
        )
    about = f" in table {table}" if table else ""
    return ReplayConflict(
        f"The applier stopped at {position}{about}, error {number}: {text}", evidence=evidence
    )


def _table(text: str) -> str:
    match = re.search(r"on table ([^;]+?);", text) or re.search(r"Table '([^']+)' doesn't exist", text)
    return match[1] if match else ""


def disk_full(text: str) -> bool:
    """Return whether a server's message says that a disk is full."""
    return bool(_DISK_FULL.search(text))
