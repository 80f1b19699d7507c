"""Fault X14: whatever bytes an object of the store has, its reader answers with a value or the documented error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_restore_replay.core.config.units import human_bytes
from airflow_restore_replay.core.decoding import encode
from airflow_restore_replay.core.errors import ChunkCorrupt, ManifestCorrupt, RestoreReplayError, StoreFailed
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.repository.format.codec import Codec, CodecError
from airflow_restore_replay.core.repository.format.entries import check_entries
from airflow_restore_replay.core.repository.format.keyring import Key, Keyring
from airflow_restore_replay.core.repository.format.records import (
    BaseRef,
    Condemned,
    FileEntry,
    Manifest,
    Outcome,
    Pruned,
    PruneRecord,
    Sizes,
    Verdict,
    Verification,
    utc_now,
)
from airflow_restore_replay.core.repository.format.refs import PAGE_BYTES, PageDelta, Piece, make_ref
from airflow_restore_replay.core.repository.format.seals import Sealer
from airflow_restore_replay.core.repository.objects.bundles import ranges_of
from airflow_restore_replay.core.repository.objects.chunks import ChunkStore
from airflow_restore_replay.core.repository.objects.descriptor import Marker, read_marker
from airflow_restore_replay.core.repository.objects.key_checks import check_complaint
from airflow_restore_replay.core.repository.objects.lease_objects import (
    Claim,
    Released,
    Renewal,
    read_lease_object,
)
from airflow_restore_replay.core.repository.objects.lists import read_chunk_list, read_entries
from airflow_restore_replay.core.repository.objects.record_store import (
    FOLDERS,
    decode_record,
    encode_record,
    sealed,
    stranger,
)
from airflow_restore_replay.core.repository.objects.upgrade import Upgrade, upgrade_complaint
from airflow_restore_replay.core.repository.store.base import ObjectInfo, ObjectTooLarge
from airflow_restore_replay.core.repository.store.local import LocalStore
from tests.support.hostile import FEW, MANY, Case, bounded, ends
from tests.support.keys import NEW, OLD

NOW = utc_now()
PLAIN, KEYED = Codec(), Codec(key=Key.of(OLD))
KEYRING = Keyring.of([OLD, NEW])
NAME = "ab" * 32
CHUNK = 4 * PAGE_BYTES
FAILURE = Failure.of(RestoreReplayError("m", evidence={"differences": [{"table": "a.b"}], "table": "a.b"}))
VERDICT = Verdict(
    verdict_id="v",
    at=NOW,
    cluster="orders",
    run="r",
    outcome=Outcome.FAILED,
    failure=FAILURE,
    measured={"a": 1},
)
MANIFEST = Manifest(
    backup_id="b",
    cluster="orders",
    flavor="mysql",
    server_release="8.0.40",
    created_at=NOW,
    run="r",
    lease_epoch=1,
    base=BaseRef(kind="seed", method="logical"),
    position="0-1-2",
    goal="0-1-2",
    goal_read_at=NOW,
    lineage_since=NOW,
    chunk_size_bytes=CHUNK,
    file_list=NAME,
    sizes=Sizes(
        total_bytes=1, new_bytes=1, reused_bytes=0, zero_bytes=0, stored_bytes=1, files=1, new_chunks=1
    ),
)
RECORDS: list[Any] = [
    MANIFEST,
    VERDICT,
    PruneRecord(
        prune_id="p",
        at=NOW,
        cluster="o",
        run="r",
        lease_epoch=1,
        deleted=[Pruned(backup_id="b", reason="old")],
    ),
    Condemned(condemned_id="c", at=NOW, cluster="o", run="r", lease_epoch=1, objects=[f"chunks/ab/{NAME}.0"]),
    Verification(
        verification_id="v",
        at=NOW,
        cluster="o",
        by="u",
        pass_id="p",
        started_at=NOW,
        folders=["ab"],
        bad=[NAME],
    ),
]


class Shelf:
    """A store that holds one content under every name."""

    url = "memory://"

    def __init__(self, content: bytes) -> None:
        self._content = content

    def get(self, path: str, *, max_bytes: int | None = None) -> bytes:
        if max_bytes is not None and len(self._content) > max_bytes:
            raise ObjectTooLarge(path)
        return self._content

    get_uncached = get

    def get_range(self, path: str, offset: int, size_bytes: int, *, uncached: bool = False) -> bytes:
        if offset + size_bytes >= 2**63:
            raise OverflowError("as a file system says")
        return self._content[offset : offset + size_bytes]

    def size(self, path: str) -> int | None:
        return len(self._content)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return iter(())


def shelf(content: bytes) -> Any:
    return Shelf(content)


def _frame(codec: Codec) -> Case:
    data = bytes(range(256)) * 300

    def read(stored: bytes) -> None:
        for size in (len(data), 0, 1):
            try:
                codec.decode(stored, codec.name(data), size_bytes=size)
            except CodecError:
                continue
        codec.decode_up_to(stored, codec.name(data), max_bytes=2**20)

    return Case(read, [codec.encode(data, codec.name(data))], (CodecError,))


def _listed(content: bytes) -> tuple[Any, str]:
    """:returns: a store that holds a list with that content, and its reference."""
    name = PLAIN.name(content)
    return shelf(PLAIN.encode(content, name)), make_ref(name, 0)


def _file_list() -> Case:
    delta = PageDelta(NAME, NAME, Piece(NAME, NAME, 0, 9), ((0, 1), (2, 2)))
    entries = [
        FileEntry(path="a", directory=True, mode=0o700),
        FileEntry(path="a/b", size_bytes=3 * CHUNK, chunks=[None, NAME, delta]),
        FileEntry(path="c", size_bytes=70 * CHUNK, list=NAME),
    ]

    def read(content: bytes) -> None:
        check_entries([e for e in read_entries(*_with(content)) if not e.list], CHUNK)

    return Case(read, [b"\n".join([*map(encode, entries), b""])])


def _with(content: bytes) -> tuple[Any, Codec, str]:
    store, ref = _listed(content)
    return store, PLAIN, ref


def _chunk_list() -> Case:
    """A chunk list, and the chunks that it refers to."""
    delta = PageDelta(NAME, make_ref(NAME, 3), Piece(NAME, NAME, 0, 9), ((0, 1), (2, 2)))

    def read(content: bytes) -> None:
        refs = read_chunk_list(*_with(content))
        chunks = ChunkStore(shelf(PLAIN.encode(bytes(CHUNK), NAME)), PLAIN)
        ranges_of(refs)
        for ref in refs:
            try:
                chunks.read(ref, CHUNK)
            except RestoreReplayError:
                continue

    return Case(read, [encode([None, NAME, Piece(NAME, NAME, 0, 9), delta])])


def _sealed_as(kind: Any, path: str, valid: bytes) -> Case:
    """A record whose seal fits whatever it holds, as in a repository that is not encrypted."""

    def read(body: bytes) -> None:
        record = decode_record(sealed(body), kind, path)
        _use(record)

    return Case(read, [valid])


def _use(record: Any) -> None:
    encode_record(record)
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if name in ("at", "created_at", "goal_read_at", "started_at", "lineage_since", "as_of") and value:
            assert isinstance(value < NOW, bool)
            value.astimezone(NOW.tzinfo) - timedelta(days=400), value + timedelta(days=400)
        if isinstance(value, int):
            human_bytes(value)
    if isinstance(record, Manifest):
        human_bytes(record.sizes.restored_bytes)
        human_bytes(record.sizes.stored_bytes)
    if isinstance(record, Verdict) and record.failure:
        record.failure.to_exception()
        assert isinstance(record.failure.tables, frozenset)


def _keyed(kind: Any, path: str, record: Any) -> Case:
    sealer = Sealer(KEYRING, "id")

    def read(data: bytes) -> None:
        stranger(shelf(data), path, sealer)
        decode_record(data, kind, path, sealer)

    return Case(read, [encode_record(record, sealer)])


def _record_cases() -> dict[str, Case]:
    cases = {}
    for record in RECORDS:
        folder, key = FOLDERS[type(record)]
        path, body = f"{folder}/{getattr(record, key)}.json", encode_record(record).partition(b"\n")[0]
        cases[f"sealed {folder}"] = _sealed_as(type(record), path, body)
        cases[folder] = _keyed(type(record), path, record)
    return cases


def _marker(**over: Any) -> Marker:
    return Marker(
        format=2, cluster="orders", repository_id="id", chunk_size_bytes=CHUNK, created_at=NOW, **over
    )


def _lease(kind: Any, valid: Any) -> Case:
    def read(body: bytes) -> None:
        read_lease_object(shelf(body), "leases/1/x.json", kind, Sealer())
        read_lease_object(shelf(sealed(body)), "leases/1/x.json", kind, Sealer())

    return Case(read, [encode(valid)])


def _cases() -> dict[str, Case]:
    key = Key.of(OLD)
    return {
        "frame": _frame(PLAIN),
        "encrypted frame": _frame(KEYED),
        "file list": _file_list(),
        "chunk list": _chunk_list(),
        **_record_cases(),
        "marker": Case(lambda data: read_marker(shelf(sealed(data))), [encode(_marker())]),
        "bare marker": Case(lambda data: read_marker(shelf(data)), [sealed(encode(_marker()))]),
        "upgrade": Case(
            lambda data: upgrade_complaint(shelf(data), Sealer()),
            [sealed(encode(Upgrade(format=2, repository_id="id", at=NOW, sealed_before=["a"])))],
        ),
        "key check": Case(
            lambda data: check_complaint(shelf(data), key.key_id, "id", Keyring.of([OLD])),
            [
                b'{"format":2,"key_id":"%s","repository_id":"id","check":"00","records":{"a":"00"},"also":{"a":"b"}}'
                % key.key_id.encode()
            ],
        ),
        "claim": _lease(
            Claim,
            Claim(format=2, cluster="o", epoch=1, owner="r", ttl_s=600.0, acquired_at=NOW, expires_at=NOW),
        ),
        "renewal": _lease(Renewal, Renewal(owner="r", renewed_at=NOW, expires_at=NOW)),
        "released": _lease(Released, Released(owner="r", released_at=NOW, renewals=1)),
    }


CASES = _cases()


@pytest.mark.parametrize("reader", CASES)
def test_x14_any_object_is_read_or_refused(reader: str) -> None:
    CASES[reader].try_out(FEW)


@pytest.mark.sweep(guards="any bytes in the store are a value or a documented error")
@pytest.mark.parametrize("reader", CASES)
def test_x14_any_object_is_read_or_refused_with_many_examples(reader: str) -> None:
    CASES[reader].try_out(MANY)


def test_x14_a_claimed_size_costs_no_memory() -> None:
    claims_an_exbibyte = b"\x28\xb5\x2f\xfd\xe0" + (2**60).to_bytes(8, "little") + b"\x01\x00\x00"
    huge = [
        FileEntry(path="a", size_bytes=2**62, chunks=[None]),
        FileEntry(
            path="a", size_bytes=CHUNK, chunks=[PageDelta(NAME, NAME, Piece(NAME, NAME, 0, 9), ((0, 2**62),))]
        ),
    ]
    with bounded(8 * 2**20):
        for codec in (PLAIN, KEYED):
            with pytest.raises(CodecError):
                codec.decode(claims_an_exbibyte, NAME, size_bytes=CHUNK)
            with pytest.raises(CodecError):
                codec.decode_up_to(claims_an_exbibyte, NAME, max_bytes=2**20)
        for entry in huge:
            with pytest.raises(ManifestCorrupt):
                check_entries([entry], CHUNK)
        with pytest.raises(ChunkCorrupt, match="has more than"):
            ChunkStore(shelf(b""), PLAIN).read(Piece(NAME, NAME, 0, 2**62), CHUNK)
        ranges_of([Piece(NAME, NAME, 0, 1), Piece(NAME, NAME, 2**62, 1)])


def test_x14_a_pipe_in_the_place_of_an_object_is_refused(tmp_path: Path) -> None:
    """Who may write to a directory that is a store can make one; to open it waits for a writer."""
    os.mkfifo(tmp_path / "repository.json")
    store = LocalStore(tmp_path)
    with ends(), pytest.raises(StoreFailed, match=r"repository\.json in .* is no file"):
        store.get("repository.json")
