"""Test the tester: damage copies of the newest backup in every way that the store could, and see what finds it.

Nothing is written to the repository itself. What only a server can find is not among it: each cycle runs one.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.recovery.scratch import Scratch, make_scratch
from airflow_restore_replay.core.repository.format.records import FileEntry, Manifest
from airflow_restore_replay.core.repository.objects.lists import write_file_list
from airflow_restore_replay.core.repository.objects.manifests import encode_record, sealed
from airflow_restore_replay.core.repository.objects.marker import opened_for_writing
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.local import LocalStore
from airflow_restore_replay.core.repository.transfer.restore import restore_tree
from airflow_restore_replay.core.repository.verification.verify import verify

_EVIL = "../outside.ibd"


@dataclass(frozen=True)
class Injection:
    """:param row: of the catalogue of faults. :param kind: of stored content that it needs, if any.
    :param harm: does it. :param find: looks for it, instead of reading the backup.
    """

    row: str
    fault: str
    harm: Callable[[Scratch], None]
    kind: str = ""
    find: Callable[[Scratch], dict[str, str]] | None = None


@dataclass
class Tried:
    """:param found_by: what found it → how it called it; empty when nothing did.
    :param left_out: why it could not be tried; empty when it was.
    """

    row: str
    fault: str
    found_by: dict[str, str] = field(default_factory=dict)
    left_out: str = ""


@dataclass
class SelftestReport:
    """:param control: what was found in a copy that nobody damaged."""

    cluster: str
    backup_id: str
    control: dict[str, str]
    tried: list[Tried]

    @property
    def ok(self) -> bool:
        return not self.control and all(t.found_by for t in self.tried if not t.left_out)


def selftest(
    repository: Repository,
    manifest: Manifest,
    keys: Sequence[str],
    *,
    tell: Callable[[str], None] = lambda what: None,
) -> SelftestReport:
    """:param repository: opened for reading. :param manifest: of the backup that is copied and damaged."""
    with tempfile.TemporaryDirectory(prefix="restore-replay-selftest-") as name:
        root = Path(name)
        whole = make_scratch(repository, manifest, root / "whole", keys)
        tell("control")
        control = read(whole.copy(root / "control"))
        tried = []
        for number, injection in enumerate(INJECTIONS):
            tell(f"{injection.row} {injection.fault}")
            tried.append(_try(injection, whole, root / f"{number:02}"))
    return SelftestReport(repository.cluster, manifest.backup_id, control, tried)


def _try(injection: Injection, whole: Scratch, root: Path) -> Tried:
    tried = Tried(injection.row, injection.fault)
    if injection.kind and injection.kind not in whole.files:
        tried.left_out = f"the backup has no {injection.kind}"
    elif injection.row in _ENCRYPTED and not whole.keys:
        tried.left_out = "the repository is not encrypted"
    else:
        damaged = whole.copy(root)
        injection.harm(damaged)
        tried.found_by = (injection.find or read)(damaged)
    return tried


def read(scratch: Scratch) -> dict[str, str]:
    """Read the backup as a cycle, a person and ``verify`` do.

    :returns: what found something → the error.
    """
    found: dict[str, str] = {}
    target = scratch.root.parent / f"{scratch.root.name}-restored" / "data"
    repository = scratch.open()
    if repository.catalog().unreadable:
        found["catalog"] = "ManifestCorrupt"
    try:
        manifest = repository.load_manifest(scratch.backup_id)
        restore_tree(
            repository.chunks_for(manifest),
            repository.load_files(manifest),
            target,
            chunk_size_bytes=manifest.chunk_size_bytes,
            label=manifest.backup_id,
        )
    except RestoreReplayError as exc:
        found["restore"] = exc.code
    report = verify(scratch.open())
    if not report.ok:
        codes = {bad.failure.code for bad in report.bad} | {f.code for f in report.bad_lists.values()}
        found["verify"] = ", ".join(sorted(codes)) or "ManifestCorrupt"
    # A file outside the target is worse than one that nobody found.
    return {} if (target.parent / _EVIL.removeprefix("../")).exists() else found


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
    scratch.manifest.write_bytes(sealed(b"{not json", scratch.open().sealer))


def _other_format(scratch: Scratch) -> None:
    body = scratch.manifest.read_bytes().split(b"\n")[0].replace(b'"format":1', b'"format":99', 1)
    scratch.manifest.write_bytes(sealed(body, scratch.open().sealer))


def _edit_manifest(scratch: Scratch) -> None:
    body = scratch.manifest.read_bytes()
    scratch.manifest.write_bytes(body.replace(b'"position":"', b'"position":"9', 1))


def _forge(scratch: Scratch) -> None:
    """By somebody who can write to the store, and knows the format but not the key."""
    body = scratch.manifest.read_bytes().split(b"\n")[0]
    scratch.manifest.write_bytes(sealed(body.replace(b'"position":"', b'"position":"9', 1)))


def _escape(scratch: Scratch) -> None:
    repository = scratch.open()
    manifest = repository.load_manifest(scratch.backup_id)
    files = [msgspec.structs.replace(f, path=_EVIL) for f in repository.load_files(manifest)[:1]]
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


class _Forgetful(LocalStore):
    """Replaces objects that are there."""

    def put_new(self, path: str, data: bytes) -> None:
        (Path(self.url.removeprefix("file://")) / path).unlink(missing_ok=True)
        super().put_new(path, data)


def _start_up(scratch: Scratch) -> dict[str, str]:
    try:
        opened_for_writing(_Forgetful(scratch.root), scratch.cluster, "")
    except RestoreReplayError as exc:
        return {"start-up": exc.code}
    return {}


def _wrong_key(scratch: Scratch) -> dict[str, str]:
    try:
        scratch.open(keys=[secrets.token_hex(32)])
    except RestoreReplayError as exc:
        return {"key check": exc.code}
    return {}


def _nothing(scratch: Scratch) -> None:
    return


_ENCRYPTED = ("S16", "X4")
#: from the catalogue's rows about storage, in its order
INJECTIONS: tuple[Injection, ...] = (
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
    Injection("S10", "store replaces objects", _nothing, find=_start_up),
    Injection("S14", "bundle vanished", _remove("piece"), "piece"),
    Injection("S16", "wrong key", _nothing, find=_wrong_key),
    Injection("X4", "manifest forged", _forge),
)
