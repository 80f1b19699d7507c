"""Every object of the archive, damaged in every way: verification names it, and no reader takes less for all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.verifying import ArchiveReport, verify_archive
from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.errors import ArchiveFault
from airflow_restore_replay.core.repository.format.records import LogGap, new_id, utc_now
from airflow_restore_replay.core.repository.repository import Repository
from tests.contract.archive.conftest import Shelf
from tests.contract.archive.test_pieces import content, merge, the_log
from tests.contract.conftest import LocalDamage, Place
from tests.support.archives import RUN, Archivist, piece_of
from tests.support.keys import OLD

Damage = Callable[[Path, Path], None]


def flip(path: Path, other: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def halve(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def swap(path: Path, other: Path) -> None:
    first, second = path.read_bytes(), other.read_bytes()
    path.write_bytes(second)
    other.write_bytes(first)


def remove(path: Path, other: Path) -> None:
    path.unlink()


def build(repository: Repository, shelf: Shelf) -> dict[int, bytes]:
    """Archive three files: in pieces, merged, and open with a stream and a gap after them."""
    archivist = Archivist(repository, shelf.flavor)
    for log in shelf.logs:
        archivist.add(log, [0, 2], closed=log is not shelf.logs[-1])
    last = shelf.logs[-1]
    # What an idle primary is told by.
    archivist.store.write(
        piece_of(
            "orders",
            shelf.flavor.name,
            len(last.data),
            len(last.data),
            number=3,
            before=str(last.after),
            after=str(last.after),
            current_at=utc_now(),
        )
    )
    later = Archivist(repository, shelf.flavor, stream="20261102T000000Z-00000002")
    # The same files again, with other positions, stand for another server after a gap.
    far = "0-1-900" if shelf.flavor.name == "mariadb" else "11111111-1111-1111-1111-111111111111:1-900"
    position = shelf.flavor.parse_position(far)
    later.number = 1
    piece = later.piece(last, 0, len(last.data), before=str(position), after=str(position))
    later.store.write(piece)
    at = utc_now()
    gap = LogGap(
        gap_id=new_id(at),
        at=at,
        cluster="orders",
        run=RUN,
        lease_epoch=1,
        stream=later.stream,
        number=1,
        before=str(last.after),
        after=far,
        lacking="some transactions",
        reason="the primary purged them",
    )
    later.store.write(gap)
    return {number: log.data for number, log in enumerate(shelf.logs, 1)}


def verified(repository: Repository, shelf: Shelf) -> ArchiveReport:
    return verify_archive(Archive.read(repository, everything=True), shelf.flavor, threads=2)


@pytest.mark.parametrize("damage", [flip, halve, swap, remove])
@pytest.mark.parametrize("key", [(), (OLD,)], ids=["plain", "encrypted"])
def test_a20_damage_to_any_object_is_found(
    shelf: Shelf, tmp_path: Path, damage: Damage, key: tuple[str, ...]
) -> None:
    place = Place(RepositorySpec(url=tmp_path.as_uri()), LocalDamage(tmp_path))
    repository = place.open(*key)
    whole = build(repository, shelf)
    good = verified(repository, shelf)
    assert good.ok, good
    assert [gap.lacking for gap in good.gaps] == ["some transactions"]
    objects = sorted(
        p for folder in ("logdata", "logpieces", "loggaps") for p in (tmp_path / folder).iterdir()
    )
    idle = [p for p in objects if p.parent.name == "logpieces" and b'"parts"' not in p.read_bytes()]
    saved = {path: path.read_bytes() for path in objects}
    missed = []
    for path in objects:
        other = next((p for p in objects if p != path and p.parent == path.parent), None)
        if damage is swap and other is None:
            continue
        damage(path, other or path)
        report = verified(repository, shelf)
        # That nothing was new is no longer said, and nothing else is lost.
        if report.ok and not (damage is remove and path in idle):
            missed.append(path)
        archive = Archive.read(repository)
        for number in whole:
            _read_or_told(archive, number, whole[number], report)
        for each in {path, other or path}:
            each.write_bytes(saved[each])
    assert not missed
    assert verified(repository, shelf).ok


def _read_or_told(archive: Archive, number: int, data: bytes, report: ArchiveReport) -> None:
    """Check that a file is read whole, or that it is known to be not."""
    logs = [log for stream in archive.streams[:1] for log in stream.logs if log.number == number]
    if not logs:
        assert not report.ok
        return
    try:
        found = content(archive, logs[0])
    except ArchiveFault:
        assert not report.ok
        return
    assert data.startswith(found)
    if found != data:
        assert not report.ok


def test_a20_verification_names_file_offset_and_what_is_reachable(place: Place, shelf: Shelf) -> None:
    repository = place.open()
    build(repository, shelf)
    archive = Archive.read(repository)
    piece = the_log(archive, 2).pieces[1]
    place.damage.write(f"logdata/{piece.parts[0].object}.zst", b"")
    (failure,) = verified(repository, shelf).bad
    assert failure.code == "LogCorrupt"
    assert f"{shelf.logs[1].name} (file 2 of stream" in failure.message
    assert f"at offset {piece.begin}" in failure.message
    assert f"up to position {piece.before}" in failure.message


def test_damage_that_another_piece_makes_good_is_still_found(place: Place, shelf: Shelf) -> None:
    archivist = Archivist(place.open(), shelf.flavor)
    archivist.add(shelf.logs[0], [1])
    whole = merge(archivist, the_log(Archive.read(archivist.repository)))
    place.damage.remove(f"logdata/{whole.parts[0].object}.zst")
    (failure,) = verified(archivist.repository, shelf).bad
    assert "Other pieces have the same bytes" in failure.message
