"""A backup's state is derived from its verdicts, in whatever order they are read."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_restore_replay.core.errors import ManifestCorrupt, NoSuchBackup
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import (
    BackupState,
    BaseRef,
    Manifest,
    Outcome,
    Proof,
    Sizes,
    Verdict,
    new_id,
)
from airflow_restore_replay.core.repository.objects.record_store import (
    decode_record,
    encode_record,
    manifest_path,
)

START = datetime(2026, 11, 1, 3, 0, tzinfo=UTC)
NO_SIZES = Sizes(
    total_bytes=0, new_bytes=0, reused_bytes=0, zero_bytes=0, stored_bytes=0, files=0, new_chunks=0
)


def _manifest(day: int, **fields: object) -> Manifest:
    at = START + timedelta(days=day)
    values: dict[str, object] = {
        "backup_id": f"b{day}",
        "cluster": "orders",
        "flavor": "mariadb",
        "server_release": "10.11.14",
        "created_at": at,
        "run": f"run-{day}",
        "lease_epoch": day,
        "base": BaseRef(kind="seed", method="logical"),
        "position": f"0-1-{day}",
        "goal": f"0-1-{day}",
        "goal_read_at": at,
        "chunk_size_bytes": 4096,
        "file_list": "0" * 64,
        "sizes": NO_SIZES,
    }
    return Manifest(**(values | fields))  # type: ignore[arg-type]


def _verdict(name: str, outcome: Outcome, backup_id: str = "b1", **fields: object) -> Verdict:
    values = {"verdict_id": name, "at": START, "cluster": "orders", "run": "r", "outcome": outcome}
    return Verdict(**(values | {"backup_id": backup_id} | fields))  # type: ignore[arg-type]


def _catalog(*verdicts: Verdict, days: tuple[int, ...] = (1, 2, 3)) -> Catalog:
    return Catalog.of("orders", [_manifest(d) for d in days], verdicts)


def test_without_verdicts_all_are_healthy_and_the_newest_is_last() -> None:
    assert [b.backup_id for b in _catalog(days=(3, 1, 2)).healthy()] == ["b1", "b2", "b3"]


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome.QUARANTINED, BackupState.QUARANTINED),
        (Outcome.STRANDED, BackupState.STRANDED),
        (Outcome.FAILED, BackupState.HEALTHY),
        (Outcome.RESTORED, BackupState.HEALTHY),
    ],
)
def test_a_verdict_decides_only_about_its_backup(outcome: Outcome, state: BackupState) -> None:
    catalog = _catalog(_verdict("v1", outcome))
    assert catalog.backup("b1").state is state
    assert catalog.backup("b2").state is BackupState.HEALTHY


def test_quarantine_outweighs_stranding() -> None:
    catalog = _catalog(_verdict("v1", Outcome.QUARANTINED), _verdict("v2", Outcome.STRANDED))
    assert catalog.backup("b1").state is BackupState.QUARANTINED


def test_a_withdrawal_takes_back_exactly_what_it_names() -> None:
    one, two = _verdict("v1", Outcome.QUARANTINED), _verdict("v2", Outcome.QUARANTINED)
    withdrawn = _verdict("v3", Outcome.WITHDRAWN, withdraws=["v1"])
    assert _catalog(one, withdrawn).backup("b1").state is BackupState.HEALTHY
    assert _catalog(one, two, withdrawn).backup("b1").against == [two]


def test_a_restore_raises_the_proof_until_it_is_withdrawn() -> None:
    restored = _verdict("v1", Outcome.RESTORED)
    assert _catalog(restored).backup("b1").proof is Proof.RESTORED
    assert [b.backup_id for b in _catalog(restored).healthy(proof=Proof.RESTORED)] == ["b1"]
    withdrawn = _verdict("v2", Outcome.WITHDRAWN, withdraws=["v1"])
    assert _catalog(restored, withdrawn).backup("b1").proof is Proof.READ_BACK


def test_proofs_are_ordered() -> None:
    assert [p.rank for p in (Proof.UPLOADED, Proof.READ_BACK, Proof.RESTORED)] == [0, 1, 2]
    uploaded = Catalog.of("orders", [_manifest(1, proof=Proof.UPLOADED)], [])
    assert uploaded.healthy() == []
    assert len(uploaded.healthy(proof=Proof.UPLOADED)) == 1


def test_as_of_looks_at_when_the_goal_was_read() -> None:
    assert [b.backup_id for b in _catalog().healthy(before=START + timedelta(days=2))] == ["b1", "b2"]


def test_holds_stand_until_released() -> None:
    held = _verdict("v1", Outcome.HELD, backup_id="")
    assert _catalog(held).held_by == [held]
    assert _catalog(held, _verdict("v2", Outcome.WITHDRAWN, withdraws=["v1"])).held_by == []


def test_an_unknown_backup_is_named_with_its_damage() -> None:
    catalog = Catalog.of("orders", [], [], {"manifests/b9.json": "it is not JSON."})
    with pytest.raises(NoSuchBackup, match="b9.*damaged: it is not JSON"):
        catalog.backup("b9")


@given(st.randoms(use_true_random=False), st.lists(st.sampled_from(list(Outcome)), max_size=8))
def test_the_order_of_reading_does_not_matter(shuffler: random.Random, outcomes: list[Outcome]) -> None:
    verdicts = [
        _verdict(f"v{n}", o, f"b{n % 3 + 1}", withdraws=[f"v{n - 1}"] if o is Outcome.WITHDRAWN else [])
        for n, o in enumerate(outcomes)
    ]
    shuffled = shuffler.sample(verdicts, len(verdicts))
    one, two = _catalog(*verdicts), _catalog(*shuffled, days=(2, 3, 1))
    assert [(b.backup_id, b.state, b.proof) for b in one.backups] == [
        (b.backup_id, b.state, b.proof) for b in two.backups
    ]


@given(
    st.builds(
        lambda day, notes: _manifest(day, notes=notes),
        st.integers(0, 999),
        st.dictionaries(st.text(), st.text()),
    )
)
def test_a_manifest_survives_its_encoding(manifest: Manifest) -> None:
    data = encode_record(manifest)
    assert decode_record(data, Manifest, "m") == manifest
    assert encode_record(manifest) == data
    assert data.startswith(b'{"format":2,')


@given(st.integers(min_value=0), st.integers(1, 255))
def test_no_changed_byte_of_a_record_goes_unnoticed(where: int, change: int) -> None:
    manifest = _manifest(1)
    data = bytearray(encode_record(manifest))
    data[where % len(data)] ^= change
    try:
        decoded = decode_record(bytes(data), Manifest, "m")
    except ManifestCorrupt:
        return
    assert decoded == manifest, "only white space of the second line carries no meaning"


@given(st.integers(0, 2000))
def test_no_truncated_record_passes(length: int) -> None:
    data = encode_record(_manifest(1))
    with pytest.raises(ManifestCorrupt):
        decode_record(data[: min(length, len(data) - 1)], Manifest, "m")


@pytest.mark.parametrize("record_id", ["", "../x", "a/b", ".hidden", "a\0", "a" * 200, "ä"])
def test_ids_that_are_no_names_are_refused(record_id: str) -> None:
    with pytest.raises(ManifestCorrupt, match="not a record id"):
        manifest_path(record_id)


def test_ids_sort_by_time_and_are_unique() -> None:
    ids = [new_id(START + timedelta(seconds=n)) for n in range(50)]
    assert ids == sorted(ids)
    assert len({new_id(START) for _ in range(100)}) == 100
    assert all(manifest_path(i) for i in ids)
