"""Write tables of a restored copy as SQL, by the server's own program, to a file that appears when it is complete."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import zstandard

from airflow_restore_replay.core.errors import JobCancelled, PreflightFailed, SeedFailed
from airflow_restore_replay.core.flavor.carry.raw import return_bytes
from airflow_restore_replay.core.flavor.filenames import TableName
from airflow_restore_replay.core.flavor.node_server import NodeServer
from airflow_restore_replay.core.flavor.optionfile import option_file
from airflow_restore_replay.core.flavor.quoting import identifier
from airflow_restore_replay.core.flavor.sql import SYSTEM_SCHEMAS, rows, value
from airflow_restore_replay.core.flavor.values import Conn
from airflow_restore_replay.core.repository.format.records import Manifest
from airflow_restore_replay.core.system.files import fsync_directory
from airflow_restore_replay.core.system.processes import program_environment

_BLOCK_BYTES = 2**20
_OPTIONS = (
    "--single-transaction",
    "--skip-lock-tables",
    "--quick",
    "--hex-blob",
    "--triggers",
    "--no-tablespaces",
    # Whoever loads it where the table still exists must not lose that.
    "--skip-add-drop-table",
    "--default-character-set=utf8mb4",
    "--max-allowed-packet=1G",
)
#: of each flavor
_MORE = {"mysql": ("--set-gtid-purged=OFF", "--column-statistics=0")}
_PROGRAMS = {"mariadb": "mariadb-dump", "mysql": "mysqldump"}
#: tables in one call of the program
_MOST_TABLES = 200


@dataclass(frozen=True)
class Dumped:
    """A dump.

    :param sql_bytes: of SQL.
    :param size_bytes: of the file.
    """

    path: str
    schemas: list[str]
    tables: int
    sql_bytes: int
    size_bytes: int


def refuse_file(path: Path) -> str:
    """Return *path*, or raise if a dump cannot be written there.

    :raises PreflightFailed: it exists, or its directory does not.
    """
    if path.exists() or path.is_symlink():
        raise PreflightFailed(f"{path} exists.", hint="Name a new file; a dump replaces none.")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise PreflightFailed(f"The directory {path.parent} cannot be written to.", hint="Name another file.")
    return str(path)


def dump(
    server: NodeServer,
    copy: Conn,
    manifest: Manifest,
    tables: Sequence[TableName],
    path: Path,
    *,
    secrets_dir: Path,
    progress: Callable[[int], None],
    cancelled: Callable[[], bool],
) -> Dumped:
    """Write *tables* to *path*; everything of users if there are none, with routines and events.

    :param path: compressed by zstd if it ends with ``.zst``.
    :param progress: called with the bytes of SQL so far.
    :raises SeedFailed: the dump program failed; nothing is left of the file.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    wanted = _by_schema(copy, tables)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with _compressed(file, path) as stream:
                out = _Counting(stream, progress)
                out.write(f"-- Backup {manifest.backup_id}, position {manifest.position}\n".encode())
                for schema, names in wanted.items():
                    out.write(_use(server, schema))
                    for argv in _commands(server, manifest.flavor, schema, names):
                        _run(server, argv, out, secrets_dir, cancelled)
                out.write(b"-- Complete\n")
            file.flush()
            os.fsync(file.fileno())
        # A link fails if the name is taken meanwhile; a rename would replace what has it.
        os.link(part, path)
        fsync_directory(path.parent)
    finally:
        part.unlink(missing_ok=True)
    number = sum(len(names) for names in wanted.values()) or _count(copy)
    return Dumped(str(path), list(wanted), number, out.size, path.stat().st_size)


def _by_schema(copy: Conn, tables: Sequence[TableName]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for table in tables:
        found.setdefault(table.schema, []).append(table.name)
    if not tables:
        query = (
            f"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN {SYSTEM_SCHEMAS}"
        )
        found = {str(schema): [] for (schema,) in rows(copy, query)}
    return found


def _count(copy: Conn) -> int:
    query = (
        "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_TYPE <> 'VIEW' AND TABLE_SCHEMA NOT IN"
    )
    return int(value(copy, f"{query} {SYSTEM_SCHEMAS}"))


def _use(server: NodeServer, schema: str) -> bytes:
    with contextlib.closing(server.connect()) as copy:
        return_bytes(copy)
        statement = bytes(rows(copy, f"SHOW CREATE DATABASE IF NOT EXISTS {identifier(schema)}")[0][1])
    return b"\n" + statement + b";\nUSE " + identifier(schema).encode() + b";\n"


def _commands(server: NodeServer, flavor: str, schema: str, names: Sequence[str]) -> Iterator[list[str]]:
    """Yield argv of the dump program, without its option file; a whole schema comes with all that is in it."""
    program = [server.program(_PROGRAMS[flavor])]
    options = [*_OPTIONS, *_MORE.get(flavor, ())]
    if not names:
        yield [*program, *options, "--routines", "--events", "--", schema]
    for begin in range(0, len(names), _MOST_TABLES):
        yield [*program, *options, "--", schema, *names[begin : begin + _MOST_TABLES]]


def _run(
    server: NodeServer, argv: Sequence[str], out: _Counting, secrets_dir: Path, cancelled: Callable[[], bool]
) -> None:
    with (
        option_file(server.endpoint(), secrets_dir, lambda _: {}) as options,
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [argv[0], f"--defaults-file={options}", *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=program_environment(),
        ) as process,
    ):
        try:
            assert process.stdout is not None
            while block := process.stdout.read(_BLOCK_BYTES):
                if cancelled():
                    raise JobCancelled("The dump was cancelled.")
                out.write(block)
        except BaseException:
            process.kill()
            raise
        if status := process.wait():
            errors.seek(0)
            text = errors.read(2**16).decode("utf-8", "replace").strip()
            raise SeedFailed(f"{Path(argv[0]).name} of the restored copy ended with {status}: {text[-500:]}")


class _Counting:
    def __init__(self, stream: IO[bytes], progress: Callable[[int], None]) -> None:
        self.size = 0
        self._stream = stream
        self._progress = progress

    def write(self, block: bytes) -> None:
        self._stream.write(block)
        self.size += len(block)
        self._progress(self.size)


@contextlib.contextmanager
def _compressed(file: IO[bytes], path: Path) -> Iterator[Any]:
    if path.suffix != ".zst":
        yield file
        return
    with zstandard.ZstdCompressor(level=3, write_checksum=True).stream_writer(file, closefd=False) as stream:
        yield stream
