"""Pieces of binary logs as objects: records, and their bytes as parts of a bounded size.

A part is written once, under an id that no other part has, and read back before a record names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from airflow_restore_replay.core.errors import LogCorrupt, LogMissing, StoreFailed
from airflow_restore_replay.core.repository.format.codec import Codec, CodecError, Content
from airflow_restore_replay.core.repository.format.records import LogGap, LogPart, LogPiece, new_id
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.base import (
    AlreadyExists,
    ObjectMissing,
    ObjectTooLarge,
    create_or_same,
)

MAX_PART_BYTES = 16 * 2**20
#: folder of the parts
PARTS = "logdata/"
_PART_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_PART_PATH = re.compile(rf"{PARTS}{_PART_ID.pattern}\.zst")
_ATTEMPTS = 4


@dataclass(frozen=True)
class StoredLogs:
    """All records of the archive, unsorted.

    :param unreadable: name of an object → what is wrong with it.
    """

    pieces: tuple[LogPiece, ...]
    gaps: tuple[LogGap, ...]
    unreadable: Mapping[str, str] = field(default_factory=dict)


def part_path(part: LogPart) -> str:
    """Return the name of the object that holds *part*.

    :raises LogCorrupt: its id is not one, and could name any object.
    """
    if not _PART_ID.fullmatch(part.object):
        raise LogCorrupt(
            f"{part.object[:200]!r} is not the id of a part.", evidence={"part": part.object[:200]}
        )
    return f"{PARTS}{part.object}.zst"


def is_part_path(path: str) -> bool:
    """Return whether *path* is the name of a part."""
    return bool(_PART_PATH.fullmatch(path))


class PieceStore:
    """Reads and creates pieces; may be shared by threads.

    :ivar key_id: the key that :meth:`put` encrypts with, which the piece must name; empty without encryption.
    """

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.key_id = repository.key_id

    def read(self) -> StoredLogs:
        """Read all records of the archive."""
        pieces, damaged = self.repository.records(LogPiece)
        gaps, also = self.repository.records(LogGap)
        return StoredLogs(tuple(pieces), tuple(gaps), damaged | also)

    def put(self, data: Content) -> LogPart:
        """Store bytes as a part, and prove that they read back from the medium.

        :param data: at most ``MAX_PART_BYTES``, and not empty.
        :raises StoreFailed: they do not read back.
        """
        if not 0 < len(data) <= MAX_PART_BYTES:
            raise ValueError(f"a part has 1 to {MAX_PART_BYTES} bytes, not {len(data)}")
        codec = self.repository.codec
        name = codec.name(data)
        encoded = codec.encode(data, name)
        for _ in range(_ATTEMPTS):
            part = LogPart(object=new_id(), name=name, size_bytes=len(data))
            try:
                create_or_same(self.repository.store, part_path(part), encoded)
            except AlreadyExists:  # an id that another writer drew
                continue
            self._prove(part, codec)
            return part
        raise StoreFailed(f"{self.repository.store.url} says of each new part that it exists already.")

    def write(self, record: LogPiece | LogGap) -> None:
        """Write a record, after its parts; a repeated call with the same record changes nothing."""
        self.repository.record(record)

    def content(self, piece: LogPiece, begin: int | None = None) -> Iterator[bytes]:
        """Yield the verified bytes of *piece*; one part at a time is in memory.

        :param begin: offset in the file to begin at, inside of the piece; by default its beginning.
        :raises LogMissing, LogCorrupt: a part is damaged; the message names the file and the offset.
        :raises KeyMissing: the key of the piece is not available.
        """
        at = piece.begin
        begin = at if begin is None else begin
        for part in piece.parts:
            if at + part.size_bytes > begin:
                data = self.part(piece, part, at)
                yield data[begin - at :] if begin > at else data
            at += part.size_bytes
        if at != piece.end:
            raise damaged(LogCorrupt, piece, at, f"its parts have {at - piece.begin} bytes in sum", "")

    def part(self, piece: LogPiece, part: LogPart, at: int, *, uncached: bool = False) -> bytes:
        """Fetch, decode and check one part.

        :param at: offset in the file, for messages.
        :param uncached: read from the medium, not from a cache of this machine.
        :raises LogMissing, LogCorrupt, KeyMissing: see :meth:`content`.
        """
        codec = self.repository.codec_for(piece)
        try:
            return self._fetch(part, codec, uncached=uncached)
        except ObjectMissing as exc:
            self.repository.require_marker()
            raise damaged(
                LogMissing, piece, at, f"{self.repository.store.url} has no object {exc.path}", exc.path
            ) from None
        except (CodecError, ObjectTooLarge) as exc:
            why = str(exc) if isinstance(exc, CodecError) else "it is larger than it can be"
            path = part_path(part)
            raise damaged(LogCorrupt, piece, at, f"object {path} is corrupt: {why}", path) from None

    def _prove(self, part: LogPart, codec: Codec) -> None:
        try:
            self._fetch(part, codec, uncached=True)
        except (ObjectMissing, ObjectTooLarge, CodecError) as exc:
            raise StoreFailed(
                f"{part_path(part)} was written to {self.repository.store.url} and did not read back: {exc}.",
                hint="The store lost or changed bytes within seconds; no record names them.",
            ) from None

    def _fetch(self, part: LogPart, codec: Codec, *, uncached: bool) -> bytes:
        if part.size_bytes > MAX_PART_BYTES:
            raise CodecError(f"its record claims {part.size_bytes} bytes")
        store = self.repository.store
        fetch = store.get_uncached if uncached else store.get
        stored = fetch(part_path(part), max_bytes=codec.bound(part.size_bytes))
        return bytes(codec.decode(stored, part.name, size_bytes=part.size_bytes))


def damaged(
    kind: type[LogMissing | LogCorrupt], piece: LogPiece, at: int, why: str, path: str
) -> LogMissing | LogCorrupt:
    """Return an error about the bytes at the offset *at* of a file."""
    return kind(
        f"The archived binary log {piece.log} (file {piece.number} of stream {piece.stream}) is damaged at "
        f"offset {at}: {why}.",
        evidence={
            "log": piece.log,
            "stream": piece.stream,
            "number": piece.number,
            "offset": at,
            "object": path,
            "piece": piece.piece_id,
            "observed": why,
        },
    )
