"""File lists, and the chunk lists of large files: content-addressed, so that backups share unchanged lists."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence

import msgspec

from airflow_restore_replay.core.decoding import decode, decode_lines, encode
from airflow_restore_replay.core.errors import BackupFault, ManifestCorrupt
from airflow_restore_replay.core.repository.format.codec import Codec, CodecError
from airflow_restore_replay.core.repository.format.records import FileEntry
from airflow_restore_replay.core.repository.format.refs import (
    MAX_GENERATIONS,
    ChunkRef,
    list_path,
    make_ref,
    split_ref,
)
from airflow_restore_replay.core.repository.objects.generations import place
from airflow_restore_replay.core.repository.store.base import (
    ObjectMissing,
    ObjectStore,
    ObjectTooLarge,
)
from airflow_restore_replay.core.system.parallel import run_bounded

#: about 7 million files of up to :data:`INLINE_REFS` chunks
MAX_LIST_BYTES = 2**30
#: a file with more references has them in a chunk list
INLINE_REFS = 64
_THREADS = 8


def file_list_path(ref: str) -> str:
    """Return the name of a file list object.

    :raises PathEscapes: *ref* is not a reference.
    """
    name, generation = split_ref(ref)
    return f"files/{make_ref(name, generation)}.jsonl.zst"


def write_file_list(
    store: ObjectStore,
    codec: Codec,
    files: Sequence[FileEntry],
    *,
    condemned: Container[str] = (),
    known: Container[str] = (),
) -> str:
    """Store the file list of *files* and the chunk lists of large files, and read them back.

    :param files: entries with chunks filled in; an entry that has only a chunk list keeps it.
    :param condemned: names of objects that may be deleted at any time, and so are not referenced.
    :param known: chunk lists that were decoded in this cycle, and so are not read again.
    :returns: the reference for ``Manifest.file_list``.
    :raises StoreFailed: a list did not read back.
    """
    writer = _Writer(store, codec, condemned)

    def place(entry: FileEntry) -> str:
        return writer.put(list_path, encode(entry.chunks), known)

    lists: dict[str, str] = {}
    large = (entry for entry in files if len(entry.chunks) > INLINE_REFS)
    for entry, ref in run_bounded(large, place, threads=_THREADS):
        lists[entry.path] = ref
    lines = []
    for entry in files:
        ref = lists.get(entry.path, "" if entry.chunks else entry.list)
        stored = msgspec.structs.replace(entry, chunks=[] if ref else entry.chunks, list=ref)
        lines.append(encode(stored))
    lines.append(b"")
    return writer.put(file_list_path, b"\n".join(lines))


def read_entries(store: ObjectStore, codec: Codec, ref: str) -> list[FileEntry]:
    """Return a file list as stored, without the ``chunks`` of large files.

    :raises ManifestCorrupt: the list is missing, does not decode, or its hash is not its name.
    :raises PathEscapes: *ref* is not a reference.
    """
    path = file_list_path(ref)
    try:
        return decode_lines(_content(store, codec, path, ref), FileEntry)
    except msgspec.DecodeError as exc:
        raise _corrupt(path, str(exc)) from exc


def read_chunk_list(store: ObjectStore, codec: Codec, ref: str, *, uncached: bool = False) -> list[ChunkRef]:
    """Return the references of one large file.

    :raises ManifestCorrupt, PathEscapes: see :func:`read_entries`.
    """
    path = list_path(ref)
    try:
        return decode(_content(store, codec, path, ref, uncached=uncached), list[ChunkRef])
    except msgspec.DecodeError as exc:
        raise _corrupt(path, str(exc)) from exc


def fill_in(store: ObjectStore, codec: Codec, entries: Iterable[FileEntry]) -> list[FileEntry]:
    """Return *entries* with the ``chunks`` of large files filled in; each chunk list is read once."""
    entries = list(entries)
    wanted = sorted({entry.list for entry in entries if entry.list})
    found = dict(run_bounded(wanted, lambda ref: read_chunk_list(store, codec, ref), threads=_THREADS))
    return [msgspec.structs.replace(e, chunks=found[e.list]) if e.list else e for e in entries]


class _Writer:
    def __init__(self, store: ObjectStore, codec: Codec, condemned: Container[str]) -> None:
        self._store = store
        self._codec = codec
        self._condemned = condemned

    def put(self, path_of: Callable[[str], str], content: bytes, known: Container[str] = ()) -> str:
        """Store a list, unless it exists, and return the reference of an object that reads back as *content*."""
        name = self._codec.name(content)
        for generation in range(MAX_GENERATIONS):
            ref = make_ref(name, generation)
            if ref in known and path_of(ref) not in self._condemned:
                return ref
        return place(
            self._store,
            "List",
            name,
            self._codec.encode(content, name),
            path_of=path_of,
            read_back=lambda ref: self._read_back(path_of(ref), ref),
            condemned=self._condemned,
        ).ref

    def _read_back(self, path: str, ref: str) -> str:
        """Return what is wrong with the stored list; empty if it reads back."""
        try:
            _content(self._store, self._codec, path, ref)
        except BackupFault as exc:
            return exc.message
        return ""


def _content(store: ObjectStore, codec: Codec, path: str, ref: str, *, uncached: bool = True) -> bytes:
    fetch = store.get_uncached if uncached else store.get
    try:
        stored = fetch(path, max_bytes=MAX_LIST_BYTES)
        return codec.decode_up_to(stored, split_ref(ref)[0], max_bytes=MAX_LIST_BYTES)
    except ObjectMissing:
        raise _corrupt(path, "the object is missing") from None
    except ObjectTooLarge:
        raise _corrupt(path, f"it is larger than {MAX_LIST_BYTES} bytes") from None
    except CodecError as exc:
        raise _corrupt(path, exc) from exc


def _corrupt(path: str, what: object) -> ManifestCorrupt:
    return ManifestCorrupt(f"{path} is corrupt: {what}.", evidence={"record": path, "observed": str(what)})
