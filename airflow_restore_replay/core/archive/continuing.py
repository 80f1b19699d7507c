"""Decide where archiving continues: in which file of the primary, at which place, and in which stream."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_restore_replay.core.archive.cutting import Cutter, Place, Unlike
from airflow_restore_replay.core.archive.logs import ArchivedLog
from airflow_restore_replay.core.archive.pieces import PieceStore
from airflow_restore_replay.core.archive.storing import File
from airflow_restore_replay.core.errors import BinlogPurged
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.binlog_cut import files_from
from airflow_restore_replay.core.flavor.binlogstream import files
from airflow_restore_replay.core.flavor.values import Conn, ServerIdentity
from airflow_restore_replay.core.repository.format.records import LogPiece, new_id, utc_now

#: begins the id of a stream
_STAMP, _STAMP_CHARS = "%Y%m%dT%H%M%SZ", 16
_NUMBERED = re.compile(r"(.+\.)([0-9]+)")


@dataclass(frozen=True)
class Start:
    """Where to continue.

    :param file: to be received from *place* on.
    :param expected: what the file's heading must list so that it continues the stream; None if nothing is known.
    :param new_stream: why the file begins a new stream; empty if it does not.
    :param gap: whether something may be missing before it that no heading lists.
    """

    file: File
    place: Place = Place()
    expected: str | None = None
    new_stream: str = ""
    gap: bool = False


@dataclass(frozen=True)
class Primary:
    """The server that is received from.

    :param position: of all that it had logged when it was asked.
    :param files: its binary log files, oldest first.
    """

    conn: Conn
    identity: ServerIdentity
    position: str
    files: Sequence[str]

    @classmethod
    def ask(cls, conn: Conn, flavor: Flavor) -> Primary:
        """Ask the server behind *conn*.

        :raises PreflightFailed: it writes no binary log.
        """
        flavor.log_program.end(conn)
        return cls(conn, flavor.identity(conn), str(flavor.primary_position(conn)), files(conn))


def first_start(primary: Primary, flavor: Flavor, oldest_backup: str | None) -> Start:
    """Return where an empty archive begins: where the oldest backup needs it, else at the primary's newest file."""
    name = primary.files[-1]
    if oldest_backup is not None:
        name = _file_after(primary, flavor, oldest_backup)
    return Start(File(new_id(), 1, name, ""))


def next_start(
    log: ArchivedLog, primary: Primary, flavor: Flavor, *, leave: str = "", whole: bool = False
) -> Start:
    """Return where archiving continues after *log*, the last file that is archived.

    :param leave: name of a file that the primary cannot send to its end.
    :param whole: receive all of a file again, not only its last pieces.
    """
    last = log.pieces[-1]
    if primary.identity.uid != last.server_uid:
        return _elsewhere(log, primary, flavor, "another server is the primary")
    following = successor(log.name)
    if (log.whole or log.name == leave) and following in primary.files:
        return Start(File(last.stream, last.number + 1, following, ""), expected=log.after)
    if log.name in primary.files:
        return _within(log, whole=whole)
    if number_of(primary.files[0]) > number_of(log.name):
        return _elsewhere(log, primary, flavor, f"the primary has purged {log.name}")
    return replace(_elsewhere(log, primary, flavor, "the primary's binary logs were reset"), gap=True)


def changed_start(log: ArchivedLog, primary: Primary, flavor: Flavor, why: str) -> Start:
    """Return where archiving continues if the primary's file is not the one that is archived."""
    return replace(_elsewhere(log, primary, flavor, why), gap=True)


def refuse_changed(log: ArchivedLog, place: Place, cutter: Cutter, store: PieceStore) -> None:
    """Compare what was received again of *log*, from *place* on, with what is archived of it.

    :raises Unlike: other bytes arrived.
    """
    for piece in (piece for piece in log.pieces if piece.begin >= place.offset):
        codec, at = store.repository.codec_for(piece), piece.begin
        for part in piece.parts:
            if codec.name(cutter.content(at, at + part.size_bytes)) != part.name:
                raise Unlike(f"the bytes from {at} on are not those that are archived")
            at += part.size_bytes


def stream_after(stream: str) -> str:
    """Return the id of a new stream, which sorts after *stream* even if the clock was set back."""
    now, last = utc_now(), datetime.strptime(stream[:_STAMP_CHARS], _STAMP).replace(tzinfo=UTC)
    return new_id(max(now, last + timedelta(seconds=1)))


def successor(name: str) -> str:
    """Return the name of the file after *name*; empty if it has no number."""
    match = _NUMBERED.fullmatch(name)
    return f"{match[1]}{int(match[2]) + 1:0{len(match[2])}d}" if match else ""


def number_of(name: str) -> int:
    """Return the number in a file's name."""
    match = _NUMBERED.fullmatch(name)
    return int(match[2]) if match else 0


def _within(log: ArchivedLog, *, whole: bool) -> Start:
    last, first = log.pieces[-1], log.pieces[0] if whole else _first_again(log)
    place = Place(
        offset=first.begin,
        position=first.before if first.begin else "",
        archived_to=last.end,
        after=last.after,
        digest=last.digest,
    )
    return Start(File(last.stream, last.number, last.log, last.digest), place)


def _first_again(log: ArchivedLog) -> LogPiece:
    """Return the last piece that begins where a transaction does, or in which one ends."""
    first = len(log.pieces) - 1
    # A piece within which no transaction ends may begin, or continue, one that is too large for a piece.
    while first and log.pieces[first - 1].before == log.pieces[first - 1].after:
        first -= 1
    return log.pieces[first]


def _elsewhere(log: ArchivedLog, primary: Primary, flavor: Flavor, why: str) -> Start:
    name = _file_after(primary, flavor, log.after)
    archived, now = flavor.parse_position(log.after), flavor.parse_position(primary.position)
    diverged = not now.contains(archived)
    stream = stream_after(log.stream)
    return Start(File(stream, 1, name, ""), expected=log.after, new_stream=why, gap=diverged)


def _file_after(primary: Primary, flavor: Flavor, position: str) -> str:
    """Return the newest file with everything that is not in *position*, or the oldest one if that was purged."""
    start: Any = flavor.parse_position(position)
    with contextlib.suppress(BinlogPurged):
        return files_from(flavor.log, primary.conn, start)[0]
    return primary.files[0]
