"""Pieces of binary logs as objects: records, and their bytes as parts of a bounded size.

A part is written once, under an id that no other part has, and read back before a record names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from airflow_restore_replay.core.archive.places import FileKey, Selection, named, select
from airflow_restore_replay.core.errors import LogCorrupt, LogMissing, StoreFailed
from airflow_restore_replay.core.repository.format.codec import Codec, CodecError, Content
from airflow_restore_replay.core.repository.format.records import LogGap, LogPart, LogPiece, new_id
from airflow_restore_replay.core.repository.format.refs import part_path
from airflow_restore_replay.core.repository.objects.record_store import read_all
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.base import (
    AlreadyExists,
    ObjectInfo,
    ObjectMissing,
    ObjectTooLarge,
    create_or_same,
)

F = TypeVar("F", LogMissing, LogCorrupt)

MAX_PART_BYTES = 16 * 2**20
_ATTEMPTS = 4


@dataclass(frozen=True)
class StoredLogs:
    """All records of the archive, unsorted.

    :param unreadable: name of an object → what is wrong with it.
    :param left_out: file → records of pieces that were not read, because longer ones have their place.
    """

    pieces: tuple[LogPiece, ...]
    gaps: tuple[LogGap, ...]
    unreadable: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[FileKey, Sequence[ObjectInfo]] = field(default_factory=dict)


class PieceStore:
    """Reads and creates pieces; may be shared by threads.

    :ivar key_id: the key that :meth:`put` encrypts with, which the piece must name; empty without encryption.
    """

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.key_id = repository.key_id

    def read(self, *, everything: bool = False) -> StoredLogs:
        """Read the records of the archive.

        :param everything: also pieces whose place longer ones have taken. A day without pruning has thousands.
        """
        listed = list(self.repository.store.list("logpieces/"))
        selection = Selection(listed) if everything else select(listed)
        pieces, unreadable = self.pieces(selection.first)
        for file, left_out in [*selection.rest.items()]:
            of_file = [n.info.path for info in selection.first if (n := named(info)) and n.file == file]
            if any(path not in pieces for path in of_file):
                del selection.rest[file]
                more, bad = self.pieces(left_out)
                pieces, unreadable = pieces | more, unreadable | bad
        gaps, also = self.repository.records(LogGap)
        return StoredLogs(tuple(pieces.values()), tuple(gaps), unreadable | also, selection.rest)

    def pieces(self, listed: Iterable[ObjectInfo]) -> tuple[dict[str, LogPiece], dict[str, str]]:
        """Read some records of pieces.

        :returns: name of the object → piece, and → what is wrong with it.
        """
        repository = self.repository
        unreadable: dict[str, str] = {}
        pieces: dict[str, LogPiece] = {}
        for info, piece, _ in read_all(
            repository.store, LogPiece, repository.cluster, repository.sealer, listed, unreadable
        ):
            if why := _contradiction(piece, info):
                unreadable[info.path] = why
            else:
                pieces[info.path] = piece
        return pieces, unreadable

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
                create_or_same(self.repository.store, part_path(part.object), encoded)
            except AlreadyExists:  # an id that another writer drew
                continue
            del encoded
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

    def part(self, piece: LogPiece, part: LogPart, at: int, *, uncached: bool = False) -> bytes:
        """Fetch, decode and check one part.

        :param at: offset in the file, for messages.
        :param uncached: read from the medium, not from a cache of this machine.
        :raises LogMissing, LogCorrupt, KeyMissing: see :meth:`content`.
        """
        codec = self.repository.codec_for(piece)
        try:
            return bytes(self._fetch(part, codec, uncached=uncached))
        except ObjectMissing as exc:
            self.repository.require_marker()
            raise damaged(
                LogMissing, piece, at, f"{self.repository.store.url} has no object {exc.path}", exc.path
            ) from None
        except (CodecError, ObjectTooLarge) as exc:
            why = str(exc) if isinstance(exc, CodecError) else "it is larger than it can be"
            path = part_path(part.object)
            raise damaged(LogCorrupt, piece, at, f"object {path} is corrupt: {why}", path) from None

    def _prove(self, part: LogPart, codec: Codec) -> None:
        try:
            self._fetch(part, codec, uncached=True)
        except (ObjectMissing, ObjectTooLarge, CodecError) as exc:
            raise StoreFailed(
                f"{part_path(part.object)} was written to {self.repository.store.url} and did not read back: {exc}.",
                hint="The store lost or changed bytes within seconds; no record names them.",
            ) from None

    def _fetch(self, part: LogPart, codec: Codec, *, uncached: bool) -> memoryview:
        """Return a part's bytes in a buffer of this thread, valid until it decodes the next one."""
        if part.size_bytes > MAX_PART_BYTES:
            raise CodecError(f"its record claims {part.size_bytes} bytes")
        store = self.repository.store
        fetch = store.get_uncached if uncached else store.get
        stored = fetch(part_path(part.object), max_bytes=codec.bound(part.size_bytes))
        return codec.decode(stored, part.name, size_bytes=part.size_bytes)


def _contradiction(piece: LogPiece, info: ObjectInfo) -> str:
    """Return why *piece* cannot be true; empty if it can."""
    if (name := named(info)) and not name.is_of(piece):
        return f"its name tells another place than {piece.stream}, {piece.number}, {piece.begin}-{piece.end}"
    size_bytes = sum(part.size_bytes for part in piece.parts)
    if size_bytes != piece.end - piece.begin:
        return f"it goes from {piece.begin} to {piece.end}, and its parts have {size_bytes} bytes"
    return "" if piece.number else "it has no place in its stream"


def damaged(kind: type[F], piece: LogPiece, at: int, why: str, path: str) -> F:
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
