"""Faults of the archive: some pieces of it are copied, damaged, and read as a restore to a moment and ``verify`` do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.verifying import verify_archive
from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.recovery.selftest.fault import Found, Injection
from airflow_restore_replay.core.recovery.selftest.scratch import Scratch
from airflow_restore_replay.core.repository.format.records import LogPiece
from airflow_restore_replay.core.repository.format.refs import part_path
from airflow_restore_replay.core.repository.objects.record_store import record_path
from airflow_restore_replay.core.repository.repository import Repository

#: pieces that are copied: the one in the middle has one before it and one after it
_WANTED = 3


def some_pieces(production: Repository) -> list[LogPiece]:
    """Return pieces of the newest stream that follow each other from the beginning of a file; as few as are needed."""
    streams = Archive.read(production).streams
    if not streams:
        return []
    logs = streams[-1].logs
    found = [[p for p in log.pieces if p.parts] for log in logs]
    after = list(accumulate((len(pieces) for pieces in reversed(found)), initial=0))[::-1]
    enough = [number for number in range(len(logs)) if after[number] >= _WANTED] or [0]
    return [piece for pieces in found[enough[-1] :] for piece in pieces][:_WANTED]


def read_archive(scratch: Scratch) -> Found:
    """Read the copied pieces.

    :returns: the steps that found damage.
    """
    found: Found = {}
    archive = Archive.read(scratch.open(), everything=True)
    try:
        for stream in archive.streams:
            for log in stream.logs:
                for _ in archive.content(log):
                    pass
    except RestoreReplayError as exc:
        found["replay"] = exc.code
    try:
        report = verify_archive(archive, get_flavor(scratch.pieces[0].flavor), threads=1)
    except RestoreReplayError as exc:
        return found | {"verify": exc.code}
    if not report.ok:
        codes = {failure.code for failure in report.bad} or {"ManifestCorrupt"}
        found["verify"] = ", ".join(sorted(codes))
    return found


def _flip(scratch: Scratch) -> None:
    path = scratch.part(1)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _lose(scratch: Scratch) -> None:
    scratch.part(1).unlink()


def _swap(scratch: Scratch) -> None:
    first, second = scratch.part(0), scratch.part(1)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def _open_gap(scratch: Scratch) -> None:
    """Remove a piece as a whole: its record, and its bytes."""
    piece = scratch.pieces[1]
    (scratch.root / record_path(LogPiece, piece.piece_id)).unlink()
    for part in piece.parts:
        (scratch.root / part_path(part.object)).unlink()


def _fault(fault: str, harm: Callable[[Scratch], None], pieces: int) -> Injection:
    return Injection("A20", fault, harm, find=read_archive, pieces=pieces)


#: faults of the archive, from docs/faults.md
ARCHIVES: Sequence[Injection] = (
    _fault("one bit flipped in a piece of the archive", _flip, 2),
    _fault("the bytes of a piece of the archive missing", _lose, 2),
    _fault("two pieces of the archive swapped", _swap, 2),
    _fault("a gap in the archive that no record notes", _open_gap, _WANTED),
)
