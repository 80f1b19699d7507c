"""What a server's error log says about its data."""

from __future__ import annotations

import re
from pathlib import Path

_TAIL_BYTES = 4 * 2**20
_ERROR = re.compile(r"\[ERROR\]|^mariadbd: .*rror|got signal \d+|Assertion .* failed|^InnoDB: .*(fail|rror)")
# InnoDB reports a missing table file as a warning or a note, depending on the release.
_DATA_WARNING = re.compile(
    r"Could not find a valid tablespace|Cannot open datafile|Ignoring tablespace"
    r"|tablespace .*(missing|corrupt)|marked as crashed|is corrupted|checksum mismatch|Missing MLOG",
    re.IGNORECASE,
)
_HARMLESS = re.compile(
    "|".join(
        [
            # Plugins and UDFs of the primary that the node leaves out on purpose.
            r"Can't open shared library",
            r"Couldn't load plugin",
            r"Can't find symbol|Function '.*' is not defined|Can't open the mysql\.(plugin|func) table",
            r"Plugin '.*' (init function returned error|registration as|is disabled)",
            r"Unknown/unsupported storage engine",
            # Replication has its own status; the applier's errors are judged there.
            r"Slave (SQL|I/O|worker)|Slave I/O|Slave:|replication",
            # The other end of a connection: a primary that went away or restarts.
            r"server_errno=|Error reading packet from server|Lost connection|Master '|error (re)?connecting to master",
            # System tables of another minor release; a restored copy is not upgraded.
            r"Incorrect definition of table mysql\.|mysql_upgrade|mariadb-upgrade|mariadb_upgrade",
            r"Event Scheduler",
            r"Missing system table mysql\.roles_mapping",
            # About the host, not the data.
            r"SSL error|Failed to setup SSL|io_uring|liburing|O_DIRECT|Setting O_DIRECT|native AIO|memlock",
        ]
    )
)
_ENVIRONMENT = re.compile(
    r"No space left|disk is full|Errcode: (28|24|13|12)\b|out of memory|Cannot allocate memory|"
    r"Too many open files|Permission denied|Unable to lock|unknown (option|variable)|Can't change dir",
    re.I,
)


def read_from(log_path: Path, offset: int) -> str:
    """:returns: the log's text after *offset*, at most its last 4 MiB."""
    try:
        with log_path.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(offset, size - _TAIL_BYTES))
            return log.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def data_errors(text: str) -> list[str]:
    """:returns: lines that blame the data, harmless and environmental ones left out."""
    lines = [line for line in text.splitlines() if _ERROR.search(line) or _DATA_WARNING.search(line)]
    return [line for line in lines if not _HARMLESS.search(line) and not _ENVIRONMENT.search(line)]


def environment_errors(text: str) -> list[str]:
    """:returns: error lines about memory, disk, permissions, locks or options; the complaints that follow
    from them do not blame the data either."""
    return [line for line in all_errors(text) if _ENVIRONMENT.search(line)]


def all_errors(text: str) -> list[str]:
    """:returns: error lines of any cause, for the explanation of a failed start."""
    return [line for line in text.splitlines() if _ERROR.search(line) or _DATA_WARNING.search(line)]


def telling(lines: list[str]) -> str:
    """:returns: the line that says why, without its time stamp; not the "Aborting" after it."""
    for line in lines:
        if not re.search(r"Aborting|Failed to initialize plugins|Plugin 'InnoDB'", line):
            return re.sub(r"^\d{4}-\d\d-\d\d +[\d:]+ +\d+ +", "", line)
    return lines[0] if lines else "the server left no error line"
