"""Receive a primary's binary logs into files, by the server's own program."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import IO

from blake3 import blake3

from airflow_restore_replay.core.archive.continuing import number_of
from airflow_restore_replay.core.errors import NodeFull, RestoreReplayError
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.classify import disk_full
from airflow_restore_replay.core.flavor.optionfile import option_file
from airflow_restore_replay.core.flavor.program_output import telling_line
from airflow_restore_replay.core.flavor.values import ARCHIVER_SERVER_IDS, Endpoint
from airflow_restore_replay.core.system.files import allocated_bytes, empty_directory, make_directory
from airflow_restore_replay.core.system.libc import LIBC
from airflow_restore_replay.core.system.processes import program_environment

_WATCH_S = 0.2
_STOP_S = 10.0
_MESSAGE_BYTES = 2**14
_LOGS = "logs"
# Source: prctl(2), linux/prctl.h
_PR_SET_PDEATHSIG = 1
#: number of the server's errors in a stream, which the programs report without it
IN_STREAM = 1236
_NOT_WRITTEN = re.compile(r"Could not (?:write into|create) (?:output )?log file")
_NOT_CONNECTED = re.compile(r"Failed on connect|Could not connect|Lost connection|gone away|Can't connect")


def server_id_of(repository_id: str) -> int:
    """Return the server id of a repository's archiver, which is always the same.

    A primary ends the connection of an older reader with the same id, for example of an archiver that was killed.
    """
    number = int.from_bytes(blake3(repository_id.encode()).digest(length=8), "big")
    return ARCHIVER_SERVER_IDS[number % len(ARCHIVER_SERVER_IDS)]


class Receiver:
    """The program that receives, and the directory of what it has received: the spool.

    The spool holds what is not stored yet. It is empty when the program starts, so what the program wrote before a
    restart never mixes with what it writes after.

    :param directory: of the spool; nothing else may be in it.
    :param limit_bytes: size of the spool at which the program is ended.
    :ivar full: whether it was ended for that reason.
    """

    def __init__(
        self,
        flavor: Flavor,
        endpoint: Endpoint,
        directory: Path,
        *,
        bindir: Path | None,
        server_id: int,
        limit_bytes: int,
    ) -> None:
        self._flavor = flavor
        self._endpoint = endpoint
        self._directory = directory
        self._bindir = bindir
        self._server_id = server_id
        self._limit_bytes = limit_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._secrets = contextlib.ExitStack()
        self._errors: IO[bytes] | None = None
        self.full = False

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def spooled_bytes(self) -> int:
        """Return how many bytes the spool takes on disk."""
        return allocated_bytes(self._directory)

    def start(self, file: str, offset: int, *, beyond_limit_bytes: int = 0) -> None:
        """Empty the spool, and receive *file* from *offset*, and the files after it.

        :param beyond_limit_bytes: room for what is received again, beside what the limit allows.
        :raises NodeFull: the disk has no room.
        :raises PreflightFailed: the program is not installed.
        """
        self.stop()
        self.full = False
        try:
            make_directory(self._directory)
            empty_directory(self._directory)
            (self._directory / _LOGS).mkdir(mode=0o700)
            options = self._secrets.enter_context(
                option_file(self._endpoint, self._directory, self._flavor.log_program.tls)
            )
            command = self._flavor.log_program.command(
                self._bindir,
                options,
                reader_id=self._server_id,
                file=file,
                offset=offset,
                directory=self._directory / _LOGS,
            )
            # In memory: a full disk would not take the message that says so.
            self._errors = self._secrets.enter_context(os.fdopen(os.memfd_create("errors"), "w+b"))
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                env=program_environment(),
                preexec_fn=_end_with_parent,
            )
        except OSError as exc:
            self.stop()
            if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NodeFull(f"The spool {self._directory} cannot be written: {exc.strerror}.") from exc
            raise
        threading.Thread(
            target=self._watch, args=(self._process, self._limit_bytes + beyond_limit_bytes), daemon=True
        ).start()

    def stop(self) -> None:
        """End the program; what it received stays until the next start."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._secrets.close()

    def discard(self) -> None:
        """End the program and remove the spool."""
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def files(self) -> list[str]:
        """Return the names of the received files in their order; all but the last have ended."""
        with contextlib.suppress(FileNotFoundError):
            names = (entry.name for entry in os.scandir(self._directory / _LOGS))
            return sorted(names, key=number_of)
        return []

    def path(self, file: str) -> Path:
        return self._directory / _LOGS / file

    def error(self) -> RestoreReplayError:
        """Return why the program ended by itself."""
        status = self._process.returncode if self._process else 0
        text = ""
        if self._errors is not None and not self._errors.closed:
            self._errors.seek(0)
            text = self._errors.read(_MESSAGE_BYTES).decode("utf-8", "replace")
        line = telling_line(text, self._flavor.log_program.name, status)
        # The programs do not say why they cannot write.
        if disk_full(line) or _NOT_WRITTEN.search(line):
            return NodeFull(
                f"The spool {self._directory} cannot be written: {line}",
                hint="Free space there, or give archive.spool another directory.",
            )
        return self._flavor.log.classify(0 if _NOT_CONNECTED.search(line) else IN_STREAM, line)

    def _watch(self, process: subprocess.Popen[bytes], limit_bytes: int) -> None:
        # In a thread of its own: while a store does not answer, nothing else would bound the spool.
        stopped = threading.Event()
        while process.poll() is None and not stopped.wait(_WATCH_S):
            if self.spooled_bytes > limit_bytes:
                self.full = True
                process.kill()
                return


def _end_with_parent() -> None:
    # A program whose archiver was killed would fill the disk.
    LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
