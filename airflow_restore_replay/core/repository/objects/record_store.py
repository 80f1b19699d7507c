"""Records as objects: manifests, verdicts and others, each with its own checksum.

A record's object has two lines: the JSON, and a seal over this line without its newline.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from airflow_restore_replay.core.decoding import decode, encode
from airflow_restore_replay.core.errors import ManifestCorrupt, StoreFailed
from airflow_restore_replay.core.repository.format.records import (
    READABLE_FORMATS,
    Condemned,
    LogGap,
    LogPiece,
    Manifest,
    PruneRecord,
    Record,
    Verdict,
    Verification,
)
from airflow_restore_replay.core.repository.format.seals import Seal, Sealer
from airflow_restore_replay.core.repository.objects.succession import FOLDERS as SUCCEEDED
from airflow_restore_replay.core.repository.objects.succession import latest
from airflow_restore_replay.core.repository.store.base import (
    AlreadyExists,
    ObjectInfo,
    ObjectMissing,
    ObjectStore,
    ObjectTooLarge,
    create_or_same,
)
from airflow_restore_replay.core.system.parallel import run_bounded

MAX_RECORD_BYTES = 64 * 2**20
#: name of a record's object, with its id
RECORD_OBJECT = re.compile(r"[a-z]+/([^/]+)\.json")
READERS = 8
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")

_UNKEYED = Sealer()

R = TypeVar("R", Manifest, Verdict, PruneRecord, Condemned, Verification, LogPiece, LogGap)
SealedRecord = Manifest | Verdict | PruneRecord | Condemned | Verification | LogPiece | LogGap
#: kind of record → its folder, and the key that holds its id
FOLDERS: dict[type[Record], tuple[str, str]] = {
    Manifest: ("manifests", "backup_id"),
    Verdict: ("verdicts", "verdict_id"),
    PruneRecord: ("prunes", "prune_id"),
    Condemned: ("condemned", "condemned_id"),
    Verification: ("verifications", "verification_id"),
    LogPiece: ("logpieces", "piece_id"),
    LogGap: ("loggaps", "gap_id"),
}


class _Version(msgspec.Struct):
    format: int = 0


def manifest_path(backup_id: str) -> str:
    """Return the name of a manifest's object; see :func:`record_path`."""
    return record_path(Manifest, backup_id)


def record_path(kind: type[Record], record_id: str) -> str:
    """Return the name of a record's object.

    :raises ManifestCorrupt: *record_id* is not a valid id.
    """
    return f"{FOLDERS[kind][0]}/{_checked_id(record_id)}.json"


def sealed(
    body: bytes, sealer: Sealer = _UNKEYED, path: str = "", after: Sequence[str] = (), key_id: str = ""
) -> bytes:
    """Return the bytes of the object *path* whose JSON is *body*; see :meth:`~...seals.Sealer.seal`."""
    return b"%s\n%s\n" % (body, encode(sealer.seal(body, path, after, key_id)))


def unsealed(data: bytes, path: str, sealer: Sealer = _UNKEYED) -> tuple[bytes, Seal]:
    """Check the seal of an object, and return its JSON and the seal.

    :raises ManifestCorrupt: the object does not match its seal.
    """
    # No more parts than three: an object of line ends alone would cost a multiple of its size.
    lines = data.split(b"\n", 2)
    if len(lines) != 3 or lines[2]:
        raise _corrupt(path, f"it is not two whole lines ({len(data)} bytes)")
    try:
        seal = decode(lines[1], Seal)
    except msgspec.DecodeError as exc:
        raise _corrupt(path, str(exc)) from exc
    if complaint := sealer.complaint(lines[0], seal, path):
        raise _corrupt(path, complaint)
    return lines[0], seal


def encode_record(record: SealedRecord, sealer: Sealer = _UNKEYED, after: Sequence[str] = ()) -> bytes:
    """Return the bytes of a record's object; equal records give equal bytes under the same key and *after*."""
    # The version is written although it is a default, because readers need it.
    body = encode({"format": record.format, **msgspec.to_builtins(record)})
    return sealed(body, sealer, _path_of(record), after)


def decode_record(data: bytes, kind: type[R], path: str, sealer: Sealer = _UNKEYED) -> R:
    """Check and decode a record's object.

    :raises ManifestCorrupt: the object is damaged; the message names *path* and the damage.
    """
    return _decoded(data, kind, path, sealer)[0]


def _decoded(data: bytes, kind: type[R], path: str, sealer: Sealer) -> tuple[R, Seal]:
    body, seal = unsealed(data, path, sealer)
    try:
        version = decode(body, _Version).format
        if version not in READABLE_FORMATS:
            known = " and ".join(map(str, READABLE_FORMATS))
            raise _corrupt(path, f"it has the unknown format {version}; this release reads {known}")
        return decode(body, kind), seal
    except msgspec.DecodeError as exc:
        raise _corrupt(path, str(exc)) from exc


def read_manifest(store: ObjectStore, backup_id: str, cluster: str, sealer: Sealer = _UNKEYED) -> Manifest:
    """Read a manifest.

    :raises ManifestCorrupt: it is damaged, or belongs to another backup or cluster.
    :raises ObjectMissing: there is no manifest of that id.
    """
    return read_sealed(store, Manifest, backup_id, cluster, sealer)[0]


def read_sealed(
    store: ObjectStore, kind: type[R], record_id: str, cluster: str, sealer: Sealer
) -> tuple[R, Seal]:
    """Read a record of any kind with its seal; see :func:`read_manifest`."""
    path = record_path(kind, record_id)
    try:
        record, seal = _decoded(store.get(path, max_bytes=MAX_RECORD_BYTES), kind, path, sealer)
    except ObjectTooLarge:
        raise _corrupt(path, f"it is larger than {MAX_RECORD_BYTES} bytes") from None
    _check_belongs(path, getattr(record, FOLDERS[kind][1]), record_id, record.cluster, cluster)
    return record, seal


def read_all(
    store: ObjectStore,
    kind: type[R],
    cluster: str,
    sealer: Sealer,
    listed: Iterable[ObjectInfo],
    unreadable: dict[str, str],
    threads: int = READERS,
) -> Iterator[tuple[ObjectInfo, R, Seal]]:
    """Read the records of *kind* among *listed* objects, in any order, without those deleted since the listing.

    :param unreadable: gets path → error for objects that are no record, or a damaged one.
    :param threads: that read at the same time.
    """

    def read(info: ObjectInfo) -> tuple[R, Seal] | str | None:
        match = RECORD_OBJECT.fullmatch(info.path)
        if not match:
            return f"{info.path} is not a record's name."
        try:
            return read_sealed(store, kind, match[1], cluster, sealer)
        except ManifestCorrupt as exc:
            return exc.message
        except ObjectMissing:
            return None

    one_by_one = ((info, read(info)) for info in listed)
    for info, found in one_by_one if threads == 1 else run_bounded(list(listed), read, threads=threads):
        if isinstance(found, str):
            unreadable[info.path] = found
        elif found:
            yield info, found[0], found[1]


def stranger(store: ObjectStore, path: str, sealer: Sealer) -> str:
    """Return the id of the key that sealed the record *path*, if that key is not known and one that is vouches for it.

    :returns: empty also if the record is damaged or forged.
    """
    try:
        lines = store.get(path, max_bytes=MAX_RECORD_BYTES).split(b"\n", 2)
        seal = decode(lines[1], Seal)
    except (ObjectMissing, ObjectTooLarge, IndexError, msgspec.DecodeError):
        return ""
    return seal.key_id if sealer.vouches(lines[0], seal, path) else ""


def write_record(store: ObjectStore, record: SealedRecord, sealer: Sealer = _UNKEYED) -> None:
    """Create a record's object; a repeated call with the same record changes nothing.

    :raises StoreFailed: another record has that id, or the object did not read back.
    """
    path = _path_of(record)
    noticed = FOLDERS[type(record)][0] in SUCCEEDED
    data = encode_record(record, sealer, latest(store) if sealer.binds and noticed else ())
    try:
        create_or_same(store, path, data)
    except AlreadyExists:
        if _same_record(store, path, data, sealer):
            return
        raise StoreFailed(
            f"{path} exists in {store.url} with other content; records are never rewritten."
        ) from None
    if store.get_uncached(path, max_bytes=len(data)) != data:
        raise StoreFailed(f"{path} was written to {store.url} and did not read back.")


def _same_record(store: ObjectStore, path: str, data: bytes, sealer: Sealer) -> bool:
    """Return whether *path* holds the same record, possibly sealed after fewer records, or with an earlier key."""
    try:
        body, _ = unsealed(store.get_uncached(path, max_bytes=MAX_RECORD_BYTES), path, sealer)
    except (ObjectMissing, ObjectTooLarge, ManifestCorrupt):
        return False
    return body == data.partition(b"\n")[0]


def _path_of(record: SealedRecord) -> str:
    return record_path(type(record), getattr(record, FOLDERS[type(record)][1]))


def _check_belongs(path: str, inside: str, expected: str, cluster: str, expected_cluster: str) -> None:
    if inside != expected:
        raise _corrupt(path, f"the id inside is {inside!r}")
    if cluster != expected_cluster:
        raise _corrupt(path, f"it belongs to cluster {cluster!r}, not {expected_cluster!r}")


def _checked_id(record_id: str) -> str:
    if not _ID.fullmatch(record_id):
        raise ManifestCorrupt(f"{record_id[:200]!r} is not a record id.", evidence={"id": record_id[:200]})
    return record_id


def _corrupt(path: str, what: Any) -> ManifestCorrupt:
    return ManifestCorrupt(f"{path} is corrupt: {what}.", evidence={"record": path, "observed": str(what)})
