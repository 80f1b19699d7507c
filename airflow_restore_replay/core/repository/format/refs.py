"""References: where the bytes of a chunk are stored, as written in file lists, and which objects hold them.

A reference is null (all zero), a chunk object, a piece of a bundle, or a page delta: a stored base with some pages
replaced. A chunk object and a piece each hold one content. Their references are the *leaves* that page deltas consist
of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from airflow_restore_replay.core.errors import BackupFault, LogCorrupt, ManifestCorrupt, PathEscapes

#: unit of page deltas, an InnoDB page of the default size; a chunk's last one may be shorter
PAGE_BYTES = 16 * 2**10
#: a writer gives up on a store that damaged this many copies of a content
MAX_GENERATIONS = 16
_NAME_CHARS = 64
#: no object is larger; stores take no larger number
_MAX_OFFSET = 2**62
_REF = re.compile(r"([0-9a-f]{64})(?:\.([1-9][0-9]{0,3}))?")
_PATH = re.compile(r"(?:chunks|bundles|lists)/([0-9a-f]{2})/\1[0-9a-f]{62}\.(?:0|[1-9][0-9]{0,3})")
#: folder of the parts of binary logs
PARTS = "logdata/"
_PART_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_PART_PATH = re.compile(rf"{PARTS}{_PART_ID.pattern}\.zst")
_CHUNK_PATH = re.compile(r"chunks/[0-9a-f]{2}/([0-9a-f]{64})\.(0|[1-9][0-9]{0,3})")


class Piece(msgspec.Struct, frozen=True, array_like=True, tag="piece", gc=False):
    """Reference to a content that is stored in a bundle.

    :param name: name of the content.
    :param bundle: name and generation of the bundle, written like those of a chunk.
    :param offset, stored_bytes: place of the encoded bytes in the bundle.
    """

    name: str
    bundle: str
    offset: int
    stored_bytes: int


class PageDelta(msgspec.Struct, frozen=True, array_like=True, tag="delta", gc=False):
    """Reference to a chunk that is a stored base of the same size with some pages replaced.

    :param name: name of the resulting content.
    :param base: reference of the base, never a delta itself.
    :param pages: reference of the replaced pages, concatenated.
    :param runs: numbers of these pages as (first page, count), ascending.
    """

    name: str
    base: str | Piece
    pages: Piece
    runs: tuple[tuple[int, int], ...]


#: reference of one stored content
Leaf = str | Piece
#: ``None``: all zero bytes, not stored. ``"<name>"`` or ``"<name>.<generation>"``: a chunk object of its own.
ChunkRef = str | Piece | PageDelta | None


def make_ref(name: str, generation: int) -> str:
    """Return ``<name>`` for generation 0, else ``<name>.<generation>``."""
    return f"{name}.{generation}" if generation else name


def split_ref(ref: str) -> tuple[str, int]:
    """Return name and generation of a reference.

    :raises PathEscapes: *ref* is not a reference and could name any object.
    """
    match = _REF.fullmatch(ref)
    if not match:
        raise PathEscapes(
            f"{ref[:200]!r} is not a chunk reference (64 hex digits, and a generation).",
            evidence={"chunk": ref[:200]},
        )
    return match[1], int(match[2] or 0)


def _path(folder: str, ref: str) -> str:
    match = _REF.fullmatch(ref)
    if match is None:
        split_ref(ref)
    # Generation 0 is written in the path, but not in the reference.
    return f"{folder}/{ref[:2]}/{ref}" if len(ref) > _NAME_CHARS else f"{folder}/{ref[:2]}/{ref}.0"


def chunk_path(ref: str) -> str:
    """Return the name of a chunk object, ``chunks/<first two digits>/<name>.<generation>``."""
    return _path("chunks", ref)


def bundle_path(ref: str) -> str:
    """Return the name of a bundle, ``bundles/<first two digits>/<name>.<generation>``."""
    return _path("bundles", ref)


def list_path(ref: str) -> str:
    """Return the name of a chunk list, ``lists/<first two digits>/<name>.<generation>``."""
    return _path("lists", ref)


def ref_of(path: str) -> str | None:
    """Return the reference of the chunk object *path*; None if *path* is not the name of a chunk object."""
    match = _CHUNK_PATH.fullmatch(path)
    return make_ref(match[1], int(match[2])) if match else None


def is_content_path(path: str) -> bool:
    """Return whether *path* is the name of a chunk, a bundle or a chunk list."""
    return bool(_PATH.fullmatch(path))


def part_path(part_id: str) -> str:
    """Return the name of an object with a part of a binary log, ``logdata/<id>.zst``.

    :raises LogCorrupt: *part_id* is not the id of a part and could name any object.
    """
    if not _PART_ID.fullmatch(part_id):
        raise LogCorrupt(f"{part_id[:200]!r} is not the id of a part.", evidence={"part": part_id[:200]})
    return f"{PARTS}{part_id}.zst"


def is_part_path(path: str) -> bool:
    """Return whether *path* is the name of an object with a part of a binary log."""
    return bool(_PART_PATH.fullmatch(path))


def content_name(ref: str | Piece | PageDelta) -> str:
    """Return the name of the content that *ref* refers to."""
    return ref.partition(".")[0] if isinstance(ref, str) else ref.name


def leaves(ref: ChunkRef) -> tuple[Leaf, ...]:
    """Return the stored contents that *ref* consists of."""
    if ref is None:
        return ()
    return (ref.base, ref.pages) if isinstance(ref, PageDelta) else (ref,)


def object_of(leaf: Leaf) -> str:
    """Return the name of the object that holds *leaf*."""
    return chunk_path(leaf) if isinstance(leaf, str) else bundle_path(leaf.bundle)


def objects_of(ref: ChunkRef) -> list[str]:
    """Return names of the objects that *ref* needs."""
    return [object_of(leaf) for leaf in leaves(ref)]


def key_of(leaf: Leaf) -> str:
    """Return the key of a leaf for messages and evidence: a chunk's reference, or ``<bundle>@<offset>``.

    It begins with the name of the object.
    """
    return leaf if isinstance(leaf, str) else f"{leaf.bundle}@{leaf.offset}"


def page_count(size_bytes: int) -> int:
    """Return how many pages a chunk of *size_bytes* has."""
    return -(-size_bytes // PAGE_BYTES)


def chunk_count(file_bytes: int, chunk_size_bytes: int) -> int:
    """Return how many chunks a file of *file_bytes* has."""
    return -(-file_bytes // chunk_size_bytes)


def chunk_bytes(file_bytes: int, index: int, chunk_size_bytes: int) -> int:
    """Return the size of a file's chunk number *index*; the last one may be shorter."""
    return min(chunk_size_bytes, file_bytes - index * chunk_size_bytes)


def page_spans(runs: Iterable[tuple[int, int]], size_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of the bytes that *runs* cover in a chunk of *size_bytes*."""
    for first, count in runs:
        yield first * PAGE_BYTES, min((first + count) * PAGE_BYTES, size_bytes)


def pages_bytes(runs: Iterable[tuple[int, int]], size_bytes: int) -> int:
    """Return how many bytes *runs* cover in a chunk of *size_bytes*."""
    return sum(end - begin for begin, end in page_spans(runs, size_bytes))


def leaves_with_sizes(ref: ChunkRef, size_bytes: int) -> Iterator[tuple[Leaf, int]]:
    """Yield the stored contents that *ref* consists of, with the size of each."""
    if isinstance(ref, PageDelta):
        yield ref.base, size_bytes
        yield ref.pages, pages_bytes(ref.runs, size_bytes)
    elif ref is not None:
        yield ref, size_bytes


def check_ref(ref: ChunkRef, size_bytes: int) -> None:
    """Raise if a reference leaves its folder, or if its numbers are impossible.

    :raises PathEscapes: a name in it is not a valid name.
    :raises ManifestCorrupt: offsets, sizes or pages are out of range.
    """
    if ref is None:
        return
    if not isinstance(ref, str):
        split_ref(ref.name)
    for leaf in leaves(ref):
        if isinstance(leaf, str):
            split_ref(leaf)
            continue
        split_ref(leaf.name)
        split_ref(leaf.bundle)
        if not 0 <= leaf.offset <= _MAX_OFFSET or leaf.stored_bytes <= 0:
            raise _wrong(leaf, f"a piece of {leaf.stored_bytes} bytes at {leaf.offset}")
    if isinstance(ref, PageDelta):
        _check_runs(ref, size_bytes)


def _check_runs(ref: PageDelta, size_bytes: int) -> None:
    last, after = page_count(size_bytes), 0
    for first, count in ref.runs:
        if first < after or count < 1 or first + count > last:
            raise _wrong(ref, f"pages {first}+{count} of {last}, from {after} on")
        after = first + count
    if not ref.runs:
        raise _wrong(ref, "a delta without pages")


def _wrong(ref: Piece | PageDelta, what: str) -> BackupFault:
    return ManifestCorrupt(
        f"The reference to chunk {ref.name} is wrong: {what}.", evidence={"chunk": ref.name}
    )
