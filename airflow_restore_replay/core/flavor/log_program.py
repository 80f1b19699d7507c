"""The program of a flavor that copies a primary's binary log files, event for event, and continues as they grow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from airflow_restore_replay.core.errors import PreflightFailed
from airflow_restore_replay.core.flavor.programs import find_program
from airflow_restore_replay.core.flavor.sql import rows
from airflow_restore_replay.core.flavor.values import Conn, Endpoint


@dataclass(frozen=True)
class LogProgram:
    """``mariadb-binlog`` or ``mysqlbinlog``.

    :param package: of the distribution, which has it.
    :param reader_option: option that gives the connection a server id.
    :param tls: returns its options for TLS.
    :param end_statement: returns the statement that shows where the primary's binary log ends.
    """

    name: str
    package: str
    reader_option: str
    tls: Callable[[Endpoint], Mapping[str, str]]
    end_statement: Callable[[Conn], str]

    def command(
        self, bindir: Path | None, options: Path, *, reader_id: int, file: str, offset: int, directory: Path
    ) -> list[str]:
        """Return argv that copies *file* from *offset*, and then each later file, into *directory*.

        The first copy begins with the magic number and the format event, whatever *offset* is.
        """
        return [
            find_program(self.name, bindir, package=self.package),
            f"--defaults-file={options}",
            "--read-from-remote-server",
            "--raw",
            "--stop-never",
            f"{self.reader_option}={reader_id}",
            f"--start-position={offset}",
            f"--result-file={directory}/",
            "--",
            file,
        ]

    def end(self, conn: Conn) -> tuple[str, int]:
        """Return file and offset at which the primary's binary log ends now; a transaction ends there.

        The server reads both under the lock with which it writes whole groups.

        :raises PreflightFailed: it writes no binary log.
        """
        for row in rows(conn, self.end_statement(conn)):
            return str(row[0]), int(row[1])
        raise PreflightFailed("The primary writes no binary log.", hint="Set log_bin and restart it.")
