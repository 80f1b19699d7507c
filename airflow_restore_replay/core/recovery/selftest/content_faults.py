"""Faults in stored objects (contents, manifests, lists), and a wrong key."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

import msgspec

from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.recovery.selftest.fault import EVIL, Injection, nothing
from airflow_restore_replay.core.recovery.selftest.scratch import Scratch
from airflow_restore_replay.core.repository.format.records import FileEntry, Manifest
from airflow_restore_replay.core.repository.objects.lists import write_file_list
from airflow_restore_replay.core.repository.objects.record_store import encode_record, manifest_path, sealed
from airflow_restore_replay.core.repository.repository import Repository


def _change(kind: str, change: Callable[[bytes], bytes]) -> Callable[[Scratch], None]:
    def harm(scratch: Scratch) -> None:
        path, span = scratch.stored(kind)
        whole = path.read_bytes()
        damaged = change(whole[span])
        if span.stop is not None:
            damaged = whole[: span.start] + damaged.ljust(span.stop - span.start, b"\0") + whole[span.stop :]
        path.write_bytes(damaged)

    return harm


def _flip(data: bytes) -> bytes:
    flipped = bytearray(data)
    flipped[len(flipped) // 2] ^= 0x10
    return bytes(flipped)


def _remove(kind: str) -> Callable[[Scratch], None]:
    return lambda scratch: scratch.stored(kind)[0].unlink()


def _swap(scratch: Scratch) -> None:
    one, two = (scratch.stored(kind)[0] for kind in ("chunk", "second chunk"))
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


def _bomb(scratch: Scratch) -> None:
    path, _ = scratch.stored("chunk")
    repository = scratch.open()
    manifest = repository.load_manifest(scratch.backup_id)
    codec = repository.chunks_for(manifest).codec
    path.write_bytes(codec.encode(bytes(8 * manifest.chunk_size_bytes), path.name.partition(".")[0]))


def _cut_manifest(scratch: Scratch) -> None:
    scratch.manifest.write_bytes(scratch.manifest.read_bytes()[:-100])


def _garble_manifest(scratch: Scratch) -> None:
    scratch.manifest.write_bytes(_sealed(scratch, b"{not json"))


def _other_format(scratch: Scratch) -> None:
    body = re.sub(rb'"format":\d+', b'"format":99', scratch.manifest.read_bytes().split(b"\n")[0], count=1)
    scratch.manifest.write_bytes(_sealed(scratch, body))


def _sealed(scratch: Scratch, body: bytes) -> bytes:
    return sealed(body, scratch.open().sealer, manifest_path(scratch.backup_id))


def _edit_manifest(scratch: Scratch) -> None:
    body = scratch.manifest.read_bytes()
    scratch.manifest.write_bytes(body.replace(b'"position":"', b'"position":"9', 1))


def _forge(scratch: Scratch) -> None:
    """Forge the manifest as an attacker does who can write to the store, and knows the format but not the key."""
    body = scratch.manifest.read_bytes().split(b"\n")[0]
    scratch.manifest.write_bytes(sealed(body.replace(b'"position":"', b'"position":"9', 1)))


def _escape(scratch: Scratch) -> None:
    repository = scratch.open()
    manifest = repository.load_manifest(scratch.backup_id)
    files = [msgspec.structs.replace(f, path=EVIL) for f in repository.load_files(manifest)[:1]]
    _list_instead(repository, scratch, manifest, files)


def _escaping_reference(scratch: Scratch) -> None:
    repository = scratch.open()
    manifest = repository.load_manifest(scratch.backup_id)
    files = [msgspec.structs.replace(f, chunks=["../../etc/passwd"]) for f in repository.load_files(manifest)]
    _list_instead(repository, scratch, manifest, files)


def _list_instead(
    repository: Repository, scratch: Scratch, manifest: Manifest, files: list[FileEntry]
) -> None:
    codec = repository.chunks_for(manifest).codec
    file_list = write_file_list(repository.store, codec, files)
    changed = msgspec.structs.replace(manifest, file_list=file_list)
    scratch.manifest.write_bytes(encode_record(changed, repository.sealer))


def _cut_list(scratch: Scratch) -> None:
    for path in (scratch.root / "files").iterdir():
        path.write_bytes(path.read_bytes()[:-9])


def _wrong_key(scratch: Scratch) -> dict[str, str]:
    try:
        scratch.open(keys=[secrets.token_hex(32)])
    except RestoreReplayError as exc:
        return {"key check": exc.code}
    return {}


#: faults in stored objects, from docs/faults.md
STORED: tuple[Injection, ...] = (
    *(
        Injection("S1", f"one bit flipped in a {kind}", _change(kind, _flip), kind)
        for kind in ("chunk", "piece", "delta")
    ),
    Injection("S2", "chunk truncated", _change("chunk", lambda data: data[: len(data) // 2]), "chunk"),
    Injection("S2", "chunk empty", _change("chunk", lambda data: b""), "chunk"),
    Injection("S2", "chunk missing", _remove("chunk"), "chunk"),
    Injection("S2", "piece of a bundle zeroed", _change("piece", lambda data: b""), "piece"),
    Injection("S3", "two chunks swapped", _swap, "second chunk"),
    Injection("S4", "manifest truncated", _cut_manifest),
    Injection("S4", "manifest not JSON", _garble_manifest),
    Injection("S4", "manifest of another format", _other_format),
    Injection("S4", "manifest edited", _edit_manifest),
    Injection("S4", "file list truncated", _cut_list),
    Injection("S5", "file path leaves the data directory", _escape),
    Injection("S5", "chunk reference leaves the repository", _escaping_reference),
    Injection("S6", "chunk that decompresses beyond its size", _bomb, "chunk"),
    Injection("S14", "bundle vanished", _remove("piece"), "piece"),
    Injection("S16", "wrong key", nothing, find=_wrong_key, encrypted=True),
    Injection("X4", "manifest forged", _forge, encrypted=True),
)
