"""Archives of binary log files, as the archiver would write them: whole files at hand, cut at chosen transactions."""

from __future__ import annotations

import io
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blake3 import blake3

from airflow_restore_replay.core.archive.pieces import MAX_PART_BYTES, PieceStore
from airflow_restore_replay.core.archive.places import piece_id
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.log_file import LogEvent, log_events
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.repository.format.records import LogPart, LogPiece, new_id, utc_now
from airflow_restore_replay.core.repository.repository import Repository
from tests.support.primary import ROOT_PASSWORD, Primary

STREAM = "20261101T000000Z-00000001"
RUN = "archive/tests"


@dataclass(frozen=True)
class Group:
    """A transaction in a file: where it begins and ends, its GTID, and its stamp."""

    begin: int
    end: int
    gtid: Any
    at: datetime


@dataclass(frozen=True)
class ReadLog:
    """A binary log file with its transactions."""

    name: str
    data: bytes
    before: Any
    groups: tuple[Group, ...]

    def position(self, offset: int) -> Any:
        """Return the position after the transactions that end at or before *offset*."""
        return self.before.extended(group.gtid for group in self.groups if group.end <= offset)

    @property
    def after(self) -> Any:
        return self.position(len(self.data))


def read_log(flavor: Flavor, name: str, data: bytes) -> ReadLog:
    """Find the transactions of a whole file."""
    before: Any = None
    starts: list[tuple[LogEvent, Any]] = []
    for found in log_events(io.BytesIO(data)):
        before = before if before is not None else flavor.log.listed(found.event)
        if start := flavor.log.start_of(found.event):
            starts.append((found, start))
    begins = [found.event.offset for found, _ in starts]
    groups = tuple(
        Group(begin, end, start.gtid, datetime.fromtimestamp(start.committed_s, UTC))
        for begin, end, (_, start) in zip(
            begins, [*begins[1:], len(data)][: len(begins)], starts, strict=True
        )
    )
    return ReadLog(name, data, before, groups)


def logs_of(primary: Primary, flavor: Flavor, names: Sequence[str] = ()) -> list[ReadLog]:
    """Return the primary's binary log files, all or some of them, as it sends them to a replica."""
    names = list(names) or [str(row[0]) for row in primary.execute("SHOW BINARY LOGS")]
    program = primary.program({"mariadb": "mariadb-binlog", "mysql": "mysqlbinlog"}[primary.flavor])
    command = [program, "--no-defaults", "--read-from-remote-server", "--raw", f"--socket={primary.socket}"]
    with tempfile.TemporaryDirectory() as raw:
        command += ["--user=root", f"--password={ROOT_PASSWORD}", f"--result-file={raw}/", *names]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [read_log(flavor, name, Path(raw, name).read_bytes()) for name in names]


@dataclass
class Archivist:
    """Writes files into a repository's archive."""

    repository: Repository
    flavor: Flavor
    stream: str = STREAM
    number: int = 0

    @property
    def store(self) -> PieceStore:
        return PieceStore(self.repository)

    def add(
        self, log: ReadLog, cuts: Iterable[int] = (), *, closed: bool = True, end: int | None = None
    ) -> list[LogPiece]:
        """Archive a file in pieces that end after these of its transactions, and at its end.

        :param cuts: numbers of transactions, from 0.
        :param end: offset up to which it is archived, by default its end.
        """
        return self.add_at(log, (log.groups[cut].end for cut in cuts), closed=closed, end=end)

    def add_at(
        self, log: ReadLog, offsets: Iterable[int], *, end: int | None = None, **of_last: Any
    ) -> list[LogPiece]:
        """Archive a file in pieces that end at these offsets, and at its end.

        :param of_last: fields of the last piece.
        """
        self.number += 1
        end = len(log.data) if end is None else end
        ends = [0, *sorted({offset for offset in offsets if offset < end}), end]
        pieces = [
            self.piece(log, begin, stop, **(of_last if stop == end else {}))
            for begin, stop in zip(ends, ends[1:], strict=False)
        ]
        for piece in pieces:
            self.store.write(piece)
        return pieces

    def piece(self, log: ReadLog, begin: int, end: int, *, closed: bool = False, **fields: Any) -> LogPiece:
        """Store bytes as parts, and return their piece, not yet written."""
        parts = [
            self.store.put(log.data[at : min(at + MAX_PART_BYTES, end)])
            for at in range(begin, end, MAX_PART_BYTES)
        ]
        stamps = [group.at for group in log.groups if begin <= group.begin < end]
        values: dict[str, Any] = {
            "server_uid": "tests",
            "stream": self.stream,
            "number": self.number,
            "log": log.name,
            "digest": blake3(log.data[:512]).hexdigest(),
            "parts": parts,
            "key_id": self.store.key_id,
            "before": str(log.position(begin)),
            "after": str(log.position(end)),
            "transactions": len(stamps),
            "first_at": min(stamps, default=None),
            "last_at": max(stamps, default=None),
            "closed": closed,
        }
        return piece_of(self.repository.cluster, self.flavor.name, begin, end, **(values | fields))


def archive_logs(
    repository: Repository,
    primary: Primary,
    *,
    logs: Sequence[str] = (),
    stream: str = "",
    piece_bytes: int = 16 * 2**10,
    within: bool = False,
) -> list[LogPiece]:
    """Archive binary log files of *primary* as one stream, as the archiver does, in one go.

    :param logs: their names; all of them by default.
    :param piece_bytes: a piece ends with the transaction that reaches this size.
    :param within: pieces may also end within a transaction, as those of a large one do.
    """
    current_at, flavor = utc_now(), get_flavor(primary.flavor)
    archivist = Archivist(repository, flavor, stream or new_id())
    read, pieces = logs_of(primary, flavor, logs), list[LogPiece]()
    for log in read:
        of_last: dict[str, Any] = {"current_at": current_at} if log is read[-1] else {"closed": True}
        pieces += archivist.add_at(log, _offsets(log, piece_bytes, within=within), **of_last)
    return pieces


def _offsets(log: ReadLog, piece_bytes: int, *, within: bool) -> Iterator[int]:
    """Yield where pieces end that have at least so many bytes, and a transaction or a part of one."""
    starts = [group.begin for group in log.groups]
    candidates = starts[1:]
    if within and starts:
        events = (found.event.offset for found in log_events(io.BytesIO(log.data)))
        candidates = [offset for offset in events if offset > starts[0]]
    begin = 0
    for offset in candidates:
        if offset - begin >= piece_bytes:
            yield offset
            begin = offset


def piece_of(cluster: str, flavor: str, begin: int, end: int, **fields: Any) -> LogPiece:
    """Return a piece; by default, its one part names no object."""
    at = utc_now()
    part = LogPart(object=new_id(), name="0" * 64, size_bytes=end - begin)
    values: dict[str, Any] = {
        "at": at,
        "parts": [part] if end > begin else [],
        "stream": STREAM,
        "number": 1,
        "log": "binlog.000001",
        # Of no lease: tests write pieces without one.
        "lease_epoch": 0,
    }
    values |= fields
    values.setdefault("piece_id", piece_id(values["at"], values["stream"], values["number"], begin, end))
    return LogPiece(cluster=cluster, run=RUN, flavor=flavor, begin=begin, end=end, **values)


def some_transactions(primary: Primary, files: int = 4, each: int = 4) -> None:
    """Write a few transactions into each of some files, the last of which stays open."""
    primary.execute(
        "CREATE DATABASE IF NOT EXISTS arc", "CREATE TABLE IF NOT EXISTS arc.t (id INT, body TEXT)"
    )
    for number in range(files):
        for row in range(each):
            primary.execute(f"INSERT INTO arc.t VALUES ({number * each + row}, REPEAT('abc ', 2000))")
        if number < files - 1:
            primary.execute("FLUSH BINARY LOGS")
