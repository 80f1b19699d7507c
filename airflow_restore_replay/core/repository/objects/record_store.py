"""Records as objects: manifests, verdicts and others, each with its own checksum.

A record's object has two lines: the JSON, and a seal over this line without its newline.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from airflow_restore_replay.core.decoding import decode, encode
from airflow_restore_replay.core.errors import ManifestCorrupt, StoreFailed
from airflow_restore_replay.core.repository.format.records import (
    FORMAT_VERSION,
    Condemned,
    Manifest,
    PruneRecord,
    Record,
    Verdict,
    Verification,
)
from airflow_restore_replay.core.repository.format.seals import Seal, Sealer
from airflow_restore_replay.core.repository.store.base import (
    AlreadyExists,
    ObjectMissing,
    ObjectStore,
    ObjectTooLarge,
    create_or_same,
)

MAX_RECORD_BYTES = 64 * 2**20
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")

_UNKEYED = Sealer()

R = TypeVar("R", Manifest, Verdict, PruneRecord, Condemned, Verification)
SealedRecord = Manifest | Verdict | PruneRecord | Condemned | Verification
#: kind of record → its folder, and the key that holds its id
FOLDERS: dict[type[Record], tuple[str, str]] = {
    Manifest: ("manifests", "backup_id"),
    Verdict: ("verdicts", "verdict_id"),
    PruneRecord: ("prunes", "prune_id"),
    Condemned: ("condemned", "condemned_id"),
    Verification: ("verifications", "verification_id"),
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


def sealed(body: bytes, sealer: Sealer = _UNKEYED) -> bytes:
    """Return the bytes of the object of a record whose JSON is *body*."""
    return b"%s\n%s\n" % (body, encode(sealer.seal(body)))


def unsealed(data: bytes, path: str, sealer: Sealer = _UNKEYED) -> bytes:
    """Check the seal of a record's object, and return its JSON.

    :raises ManifestCorrupt: the object does not match its seal.
    """
    lines = data.split(b"\n")
    if len(lines) != 3 or lines[2]:
        raise _corrupt(path, f"it is not two whole lines ({len(data)} bytes)")
    try:
        seal = decode(lines[1], Seal)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise _corrupt(path, str(exc)) from exc
    if complaint := sealer.complaint(lines[0], seal):
        raise _corrupt(path, complaint)
    return lines[0]


def encode_record(record: SealedRecord, sealer: Sealer = _UNKEYED) -> bytes:
    """Return the bytes of a record's object; equal records give equal bytes under the same key."""
    # The version is written although it is a default, because readers need it.
    return sealed(encode({"format": record.format, **msgspec.to_builtins(record)}), sealer)


def decode_record(data: bytes, kind: type[R], path: str, sealer: Sealer = _UNKEYED) -> R:
    """Check and decode a record's object.

    :raises ManifestCorrupt: the object is damaged; the message names *path* and the damage.
    """
    body = unsealed(data, path, sealer)
    try:
        version = decode(body, _Version).format
        if version != FORMAT_VERSION:
            raise _corrupt(path, f"it has the unknown format {version}; this release reads {FORMAT_VERSION}")
        return decode(body, kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise _corrupt(path, str(exc)) from exc


def read_manifest(store: ObjectStore, backup_id: str, cluster: str, sealer: Sealer = _UNKEYED) -> Manifest:
    """Read a manifest.

    :raises ManifestCorrupt: it is damaged, or belongs to another backup or cluster.
    :raises ObjectMissing: there is no manifest of that id.
    """
    return read_record(store, Manifest, backup_id, cluster, sealer)


def read_record(
    store: ObjectStore, kind: type[R], record_id: str, cluster: str, sealer: Sealer = _UNKEYED
) -> R:
    """Read a record of any kind; see :func:`read_manifest`."""
    path = record_path(kind, record_id)
    record = _read(store, path, kind, sealer)
    _check_belongs(path, getattr(record, FOLDERS[kind][1]), record_id, record.cluster, cluster)
    return record


def sealing_key(store: ObjectStore, path: str) -> str:
    """Return the id of the key that the seal of the record *path* names, unchecked; empty if it names none."""
    try:
        lines = store.get(path, max_bytes=MAX_RECORD_BYTES).split(b"\n")
        return decode(lines[1], Seal).key_id
    except (ObjectMissing, ObjectTooLarge, IndexError, msgspec.DecodeError, UnicodeDecodeError):
        return ""


def write_record(store: ObjectStore, record: SealedRecord, sealer: Sealer = _UNKEYED) -> None:
    """Create a record's object; a repeated call with the same record changes nothing.

    :raises StoreFailed: another record has that id, or the object did not read back.
    """
    path = record_path(type(record), getattr(record, FOLDERS[type(record)][1]))
    data = encode_record(record, sealer)
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
    """Return whether *path* holds the same record, possibly sealed with a key from before a rotation."""
    try:
        body = unsealed(store.get_uncached(path, max_bytes=MAX_RECORD_BYTES), path, sealer)
    except (ObjectMissing, ObjectTooLarge, ManifestCorrupt):
        return False
    return body == data.split(b"\n")[0]


def _read(store: ObjectStore, path: str, kind: type[R], sealer: Sealer) -> R:
    try:
        return decode_record(store.get(path, max_bytes=MAX_RECORD_BYTES), kind, path, sealer)
    except ObjectTooLarge:
        raise _corrupt(path, f"it is larger than {MAX_RECORD_BYTES} bytes") from None


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
