"""Archived binary logs come back byte by byte, from every store, under every key, loose and merged."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.logs import ArchivedLog
from airflow_restore_replay.core.archive.merging import MAX_LOOSE, merge_due, merged
from airflow_restore_replay.core.archive.pieces import MAX_PART_BYTES
from airflow_restore_replay.core.errors import KeyMissing, LogCorrupt, LogMissing
from airflow_restore_replay.core.flavor.log_file import log_events
from airflow_restore_replay.core.repository.format.records import LogPiece, new_id
from airflow_restore_replay.core.repository.format.refs import part_path
from tests.contract.archive.conftest import Shelf
from tests.contract.conftest import Place
from tests.support.archives import RUN, Archivist, ReadLog
from tests.support.keys import NEW, OLD, key_id


def merge(archivist: Archivist, log: ArchivedLog, **options: bool) -> LogPiece:
    piece = merged(archivist.store, log, run=RUN, lease_epoch=1, **options)
    archivist.store.write(piece)
    return piece


def the_log(archive: Archive, number: int = 1) -> ArchivedLog:
    return next(log for stream in archive.streams for log in stream.logs if log.number == number)


def content(archive: Archive, log: ArchivedLog, begin: int = 0) -> bytes:
    return b"".join(archive.content(log, begin))


def test_files_come_back_with_their_events(place: Place, shelf: Shelf, tmp_path: Path) -> None:
    archivist = Archivist(place.open(), shelf.flavor)
    for number, made in enumerate(shelf.logs):
        archivist.add(made, range(number, len(made.groups)), closed=made is not shelf.logs[-1])
    archive = Archive.read(place.open(write=False))
    (stream,) = archive.streams
    assert [log.number for log in stream.logs] == [1, 2, 3]
    for made, log in zip(shelf.logs, stream.logs, strict=True):
        amounts: list[int] = []
        archive.write_log(log, tmp_path / made.name, amounts.append)
        assert (tmp_path / made.name).read_bytes() == made.data
        assert sum(amounts) == len(made.data)
        expected = list(log_events(io.BytesIO(made.data)))
        assert list(archive.events(log)) == expected
        begin = log.pieces[-1].begin
        later = [event for event in expected if event.event.offset >= begin]
        assert list(archive.events(log, begin)) == later
        assert content(archive, log, begin) == made.data[begin:]
    assert not list(tmp_path.glob(".*"))


def test_every_position_reaches_the_end(place: Place, shelf: Shelf) -> None:
    archivist = Archivist(place.open(), shelf.flavor)
    for log in shelf.logs:
        archivist.add(log, range(0, len(log.groups), 2), closed=log is not shelf.logs[-1])
    archive = Archive.read(place.open(write=False))
    end = shelf.logs[-1].after
    for number, log in enumerate(shelf.logs):
        for group in log.groups:
            reach = archive.reach(log.position(group.begin), shelf.flavor)
            assert str(reach.position) == str(end)
            assert [found.number for leg in reach.legs for found in leg.logs] == list(range(number + 1, 4))
    behind = archive.reach(shelf.flavor.parse_position(""), shelf.flavor)
    assert not behind.legs


def test_a_merged_file_is_the_same_in_fewer_parts(place: Place, shelf: Shelf) -> None:
    archivist = Archivist(place.open(), shelf.flavor)
    made = shelf.logs[0]
    loose = archivist.add(made, range(len(made.groups)), closed=False)
    before = the_log(Archive.read(archivist.repository))
    assert not merge_due(before)
    assert merge_due(replace(before, pieces=before.pieces * (MAX_LOOSE + 1)))
    whole = merge(archivist, before, closed=True)
    archive = Archive.read(place.open(write=False))
    after = the_log(archive)
    assert after.pieces == (whole,)
    assert after.whole
    assert not merge_due(after)
    assert len(whole.parts) == 1 < len(loose)
    assert (after.before, after.after, after.transactions) == (
        before.before,
        before.after,
        before.transactions,
    )
    assert (after.first_at, after.last_at) == (before.first_at, before.last_at)
    assert content(archive, after) == made.data
    # The merged piece grows by later ones.
    longer = replace(made, data=made.data + made.groups[-1].end.to_bytes(8, "big"))
    archivist.store.write(archivist.piece(longer, len(made.data), len(longer.data)))
    again = merge(archivist, the_log(Archive.read(archivist.repository)))
    assert content(archive, replace(after, pieces=(again,))) == longer.data


def test_large_parts_are_not_stored_again(place: Place, shelf: Shelf) -> None:
    archivist = Archivist(place.open(), shelf.flavor, number=1)
    noise = bytes(range(256)) * (MAX_PART_BYTES // 256)
    log = ReadLog("binlog.000001", shelf.logs[0].data + noise + noise[:1000], shelf.logs[0].before, ())
    ends = [100, 300, 300 + MAX_PART_BYTES, len(log.data)]
    pieces = [archivist.piece(log, a, b) for a, b in zip([0, *ends], ends, strict=False)]
    for piece in pieces:
        archivist.store.write(piece)
    whole = merge(archivist, the_log(Archive.read(archivist.repository)))
    assert pieces[2].parts[0] in whole.parts
    assert len(whole.parts) == 3
    # What follows it alone needs not be stored again, either.
    assert whole.parts[-1] == pieces[3].parts[0]
    assert content(Archive.read(archivist.repository), ArchivedLog((whole,))) == log.data


def test_s16_each_piece_is_under_its_key(place: Place, shelf: Shelf) -> None:
    made = shelf.logs[0]
    first = Archivist(place.open(OLD), shelf.flavor)
    first.add(made, [0], closed=False, end=made.groups[1].end)
    second = Archivist(place.open(NEW, OLD), shelf.flavor, number=1)
    second.store.write(second.piece(made, made.groups[1].end, len(made.data)))
    archive = Archive.read(second.repository)
    assert content(archive, the_log(archive)) == made.data
    assert second.repository.log_keys_needed() == {key_id(OLD): [made.name], key_id(NEW): [made.name]}
    with pytest.raises(KeyMissing, match="archived binary logs need it"):
        place.open(NEW)
    reader = place.open(NEW, write=False)
    with pytest.raises(KeyMissing, match=key_id(OLD)):
        content(Archive.read(reader), the_log(Archive.read(reader)))
    # A merged piece is under the present key, and needs no other.
    whole = merge(second, the_log(archive))
    assert whole.key_id == key_id(NEW)
    assert content(Archive.read(reader), the_log(Archive.read(reader))) == made.data


def test_a21_a_damaged_part_is_read_from_another_piece(place: Place, shelf: Shelf) -> None:
    archivist = Archivist(place.open(), shelf.flavor)
    made = shelf.logs[0]
    archivist.add(made, range(len(made.groups)))
    whole = merge(archivist, the_log(Archive.read(archivist.repository)))
    path = part_path(whole.parts[0].object)
    for damaged in (b"x", None):
        place.damage.remove(path) if damaged is None else place.damage.write(path, damaged)
        archive = Archive.read(place.open(write=False))
        assert the_log(archive).pieces == (whole,)
        assert content(archive, the_log(archive)) == made.data


@pytest.mark.parametrize("merge_first", [False, True], ids=["loose", "merged"])
def test_a20_damage_names_file_offset_and_what_is_reachable(
    place: Place, shelf: Shelf, *, merge_first: bool
) -> None:
    archivist = Archivist(place.open(), shelf.flavor, number=1)
    made = shelf.logs[1]
    bound = made.groups[2].begin
    one, two = (archivist.piece(made, a, b) for a, b in ((0, bound), (bound, len(made.data))))
    pieces = [replace_parts(one, two)] if merge_first else [one, two]
    for piece in pieces:
        archivist.store.write(piece)
    path = part_path(two.parts[0].object)
    place.damage.write(path, place.damage.read(path)[:-1])
    archive = Archive.read(place.open(write=False))
    log = next(iter(archive.streams[0].logs))
    for read in (lambda: content(archive, log), lambda: list(archive.events(log))):
        with pytest.raises(LogCorrupt) as caught:
            read()
        # Of a merged piece, the last transaction before the damage may end after it.
        reachable = made.position(made.groups[1].begin if merge_first else bound)
        assert f"{made.name} (file" in caught.value.message
        assert f"at offset {bound}" in caught.value.message
        assert f"up to position {reachable}" in caught.value.message
        assert caught.value.evidence["reachable"] == str(reachable)
        assert caught.value.evidence["object"] == path
    place.damage.remove(path)
    with pytest.raises(LogMissing, match=path):
        content(archive, log)
    # Events from a later place need the file's beginning, too.
    place.damage.remove(part_path(one.parts[0].object))
    with pytest.raises(LogMissing, match=f"at offset 0: .* up to position {made.before}") as caught_first:
        list(archive.events(log, bound))
    assert caught_first.value.message.count("Reachable") == 1


def replace_parts(one: LogPiece, two: LogPiece) -> LogPiece:
    """Return one piece with the parts of both."""
    return msgspec.structs.replace(
        one, piece_id=new_id(), end=two.end, parts=[*one.parts, *two.parts], after=two.after, transactions=9
    )
