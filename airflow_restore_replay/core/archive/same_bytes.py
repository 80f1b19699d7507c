"""Comparison of a piece with a longer one of the same file, before the shorter one is deleted."""

from __future__ import annotations

from airflow_restore_replay.core.archive.pieces import PieceStore
from airflow_restore_replay.core.errors import ArchiveFault
from airflow_restore_replay.core.repository.format.records import LogPart, LogPiece


class SameBytes:
    """Compares pieces; the part that was read last stays in memory, because the next piece is often within it."""

    def __init__(self, store: PieceStore) -> None:
        self._store = store
        self._object = ""
        self._data = b""

    def complaint(self, piece: LogPiece, cover: LogPiece) -> str:
        """Return why *cover* does not have the bytes of *piece*, or other facts about them; empty if it has the same.

        :raises LogMissing, LogCorrupt, KeyMissing: the bytes of *cover* are not readable.
        """
        if piece.end == cover.end and piece.after != cover.after:
            return f"it ends at the position {piece.after}, and {cover.piece_id} at {cover.after}"
        if piece.begin == cover.begin and piece.before != cover.before:
            return f"it begins at the position {piece.before}, and {cover.piece_id} at {cover.before}"
        at = piece.begin
        for part in piece.parts:
            if not self._has(cover, piece, part, at):
                return f"{cover.piece_id} has other bytes from offset {at} on"
            at += part.size_bytes
        return ""

    def _has(self, cover: LogPiece, piece: LogPiece, part: LogPart, at: int) -> bool:
        end, begin = at + part.size_bytes, cover.begin
        found = bytearray()
        for mine in cover.parts:
            if begin < end and begin + mine.size_bytes > at:
                data = self._read(cover, mine, begin)
                if mine.object == part.object:
                    return begin == at
                found += data[max(0, at - begin) : end - begin]
            begin += mine.size_bytes
        try:
            return found == self._store.part(piece, part, at)
        except ArchiveFault:
            # The shorter piece is damaged, and the longer one is sound.
            return len(found) == part.size_bytes

    def _read(self, cover: LogPiece, part: LogPart, at: int) -> bytes:
        if part.object != self._object:
            self._data = self._store.part(cover, part, at, uncached=True)
            self._object = part.object
        return self._data
