"""``mariadb-backup``: its command lines, its position file, and the classification of its errors."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from airflow_restore_replay.core.errors import (
    NodeFull,
    PrimaryUnreachable,
    RestoreReplayError,
    SeedFailed,
    SourceCorrupt,
)
from airflow_restore_replay.core.flavor.classify import denied, disk_full
from airflow_restore_replay.core.flavor.mariadb.gtid import MariaDbPosition
from airflow_restore_replay.core.flavor.program_output import telling_line
from airflow_restore_replay.core.flavor.redaction import redacted
from airflow_restore_replay.core.flavor.tls import unreachable_hint

#: releases before and after 10.11 use different names
_POSITION_FILES = ("mariadb_backup_binlog_info", "xtrabackup_binlog_info")
#: files that the tool leaves in the data directory and a server does not need
LEFTOVERS = ("xtrabackup_*", "mariadb_backup_*", "backup-my.cnf", "ib_buffer_pool", "*.qp", "aria_log_dummy")
_CORRUPT = re.compile(r"page corruption|seems to be corrupted|is corrupt|failed to read page", re.IGNORECASE)
_UNREACHABLE = re.compile(
    r"Failed to connect to (MariaDB|MySQL) server|Can't connect to|Lost connection|gone away|"
    r"Connection (refused|timed out|closed|reset)|Could not resolve hostname|No route to host|Host key",
    re.IGNORECASE,
)
_DENIED = re.compile(r"Access denied|missing required privilege|command denied", re.IGNORECASE)


def backup_command(program: str, options: str | None, scratch: str) -> list[str]:
    """Return argv that streams a complete copy to standard output.

    :param options: option file on the host where the program runs.
    :param scratch: directory on that host for the program's small temporary files.
    """
    # --defaults-file must be the first option.
    head = [program, f"--defaults-file={options}"] if options else [program]
    return [*head, "--backup", "--stream=xbstream", f"--target-dir={scratch}", f"--tmpdir={scratch}"]


def on_host(prefix: list[str], command: list[str]) -> list[str]:
    """Return argv that runs *command* by *prefix*.

    The arguments are quoted for ssh, because it joins them for a remote shell.
    """
    if prefix and any(Path(word).name in ("ssh", "sshpass") for word in prefix):
        return [*prefix, shlex.join(command)]
    return [*prefix, *command]


def prepare_command(program: str, datadir: Path, memory_bytes: int, page_bytes: str = "") -> list[str]:
    """Return argv that makes the copy consistent.

    :param page_bytes: size of the primary's pages; empty for the usual one.
    """
    command = [
        program,
        "--no-defaults",
        "--prepare",
        f"--target-dir={datadir}",
        f"--use-memory={memory_bytes}",
    ]
    return [*command, f"--innodb-page-size={page_bytes}"] if page_bytes else command


def copied_position(datadir: Path) -> MariaDbPosition:
    """Return the position of a copy, from its position file.

    :raises SeedFailed: the copy has no position file.
    """
    for name in _POSITION_FILES:
        path = datadir / name
        if path.exists():
            fields = path.read_text(encoding="utf-8", errors="replace").split("\t")
            if len(fields) >= 3:
                return MariaDbPosition.parse(fields[2].strip())
            return MariaDbPosition()
    raise SeedFailed("mariadb-backup left no binary log position.", hint="Set log_bin on the primary.")


def backup_error(status: int, stderr: str) -> RestoreReplayError:
    """Classify a failed ``mariadb-backup --backup`` by its blame."""
    line = telling_line(stderr, "mariadb-backup", status)
    stderr = redacted(stderr)
    if _CORRUPT.search(stderr):
        page = next(found for found in stderr.splitlines() if _CORRUPT.search(found))
        return SourceCorrupt(
            f"mariadb-backup found damage on the primary: {page.strip()}",
            hint="Repair the primary; the last good backup is kept.",
        )
    if _DENIED.search(stderr):
        refused = next(found for found in stderr.splitlines() if _DENIED.search(found))
        return denied(1045 if "Access denied for user" in refused else 1227, refused, "mariadb-backup")
    if _UNREACHABLE.search(stderr):
        return PrimaryUnreachable(
            f"mariadb-backup cannot reach the primary: {line}", hint=unreachable_hint(stderr)
        )
    return SeedFailed(f"mariadb-backup failed with status {status}: {line}")


def extract_error(status: int, stderr: str) -> RestoreReplayError:
    """Classify a failure of ``mbstream`` or of the prepare step on the node."""
    line = telling_line(stderr, "mbstream", status)
    kind = NodeFull if disk_full(stderr) else SeedFailed
    return kind(f"The physical copy could not be written on the node, status {status}: {line}")
