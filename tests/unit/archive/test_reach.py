"""How far the archive leads from a position, over random histories of pieces of both flavors."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_restore_replay.core.archive.logs import streams_of
from airflow_restore_replay.core.archive.places import select
from airflow_restore_replay.core.archive.reach import Routes
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.repository.format.records import LogPiece
from airflow_restore_replay.core.repository.objects.record_store import record_path
from airflow_restore_replay.core.repository.store.base import ObjectInfo
from tests.support.archives import piece_of

START = datetime(2026, 11, 1, tzinfo=UTC)
SERVERS = ("11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222")
#: bytes of a transaction, and of what a file begins with
SIZE, HEAD = 100, 50


@dataclass(frozen=True)
class Made:
    """A transaction: its GTID as text, and when it was committed."""

    gtid: str
    at: datetime


def history(flavor: str, count: int, failover: int, noise: random.Random) -> list[Made]:
    """Return transactions in commit order; from *failover* on, the second server writes."""
    made, numbers = [], [[0, 0], [0, 0]]
    for index in range(count):
        server = int(index >= failover)
        domain = noise.randrange(2)
        if flavor == "mariadb":
            numbers[0][domain] += 1
            gtid = f"{domain}-{server + 1}-{numbers[0][domain]}"
        else:
            numbers[server][domain] += 1
            gtid = f"{SERVERS[server]}{':tag' if domain else ''}:{numbers[server][domain]}"
        made.append(Made(gtid, START + timedelta(minutes=index)))
    return made


@dataclass
class Story:
    """Streams of pieces over one history, with what got lost."""

    flavor: Any
    made: Sequence[Made]
    pieces: list[LogPiece]

    def position(self, executed: set[int]) -> Any:
        gtids = [self.flavor.parse_position(self.made[index].gtid) for index in sorted(executed)]
        position = self.flavor.parse_position("")
        for gtid in gtids:
            position = position.union(gtid)
        return position

    def add(self, stream: str, begin: int, end: int, noise: random.Random) -> None:
        """Add a stream of files with the transactions from *begin* to *end*, in pieces, some of which are merged."""
        number = 0
        while begin < end or not number:
            number += 1
            stop = min(end, begin + noise.randrange(1, 6))
            cuts = sorted({begin, stop, *(noise.randrange(begin, stop + 1) for _ in range(3))})
            bounds = list(zip(cuts, cuts[1:], strict=False)) or [(begin, stop)]
            if noise.random() < 0.3:
                bounds.append((begin, noise.choice(cuts[1:] or [stop])))
            for a, b in bounds:
                self.pieces.append(self._piece(stream, number, begin, a, b, closed=b == stop and stop < end))
            begin = stop

    def _piece(self, stream: str, number: int, first: int, a: int, b: int, *, closed: bool) -> LogPiece:
        offset = (a - first) * SIZE + (HEAD if a > first else 0)
        return piece_of(
            "orders",
            self.flavor.name,
            offset,
            (b - first) * SIZE + HEAD,
            stream=stream,
            number=number,
            before=str(self.position(set(range(a)))),
            after=str(self.position(set(range(b)))),
            last_at=self.made[b - 1].at if b > a else None,
            closed=closed,
            # What the piece is about, for the test's own reckoning.
            log=f"{first} {a} {b}",
        )

    def reachable(self, executed: set[int]) -> set[int]:
        """Reckon with single transactions what a server that has executed these could replay."""
        files: dict[tuple[str, int], list[LogPiece]] = {}
        for piece in self.pieces:
            files.setdefault((piece.stream, piece.number), []).append(piece)
        executed = set(executed)
        while True:
            had = len(executed)
            for stream, number in sorted(files):
                self._replay(files, stream, number, executed)
            if len(executed) == had:
                return executed

    def _replay(
        self, files: dict[tuple[str, int], list[LogPiece]], stream: str, number: int, executed: set[int]
    ) -> None:
        while (stream, number) in files:
            found = files[stream, number]
            first, reached, closed = int(found[0].log.split()[0]), None, False
            if not set(range(first)) <= executed:
                return
            at = 0
            while nexts := [p for p in found if p.begin == at and p.end > at]:
                piece = max(nexts, key=lambda p: p.end)
                at, reached, closed = piece.end, int(piece.log.split()[2]), closed or piece.closed
            if reached is None:
                return
            executed |= set(range(first, reached))
            if not closed:
                return
            number += 1


@st.composite
def stories(draw: st.DrawFn, flavor: str) -> tuple[Story, int]:
    """Draw a history with a failover, streams that overlap or leave a gap, and pieces that are gone."""
    # Numbers that Hypothesis draws tend to be small, and such histories hold few surprises.
    noise = random.Random(draw(st.integers(0, 2**32)))
    count = noise.randrange(1, 25)
    story = Story(get_flavor(flavor), history(flavor, count, noise.randrange(count + 1), noise), [])
    begin = noise.choice([0, 0, noise.randrange(count)])
    for index in range(noise.choice([1, 2, 3])):
        end = noise.choice([count, noise.randrange(begin, count + 1)])
        story.add(f"2026110{index}T000000Z-0000000{index}", begin, end, noise)
        # The next server may have what this one has, or less, or begin after what it lacks.
        begin = min(count, max(0, end + noise.choice([-5, -2, 0, 0, 2])))
    for _ in range(noise.choice([0, 0, 1, 2])):
        if len(story.pieces) > 1:
            story.pieces.pop(noise.randrange(len(story.pieces)))
    noise.shuffle(story.pieces)
    return story, noise.choice([0, begin, noise.randrange(count + 1)])


@pytest.mark.parametrize("flavor", ["mariadb", "mysql"])
@given(data=st.data())
def test_a_position_reaches_what_a_server_could_replay(flavor: str, data: st.DataObject) -> None:
    story, base = data.draw(stories(flavor))
    executed = set(range(base))
    routes = Routes(streams_of(story.pieces), story.pieces, story.flavor)
    reach = routes.from_position(story.position(executed))
    expected = story.reachable(executed)
    assert str(reach.position) == str(story.position(expected))
    # Each leg can be replayed from where the one before it ends, and adds something.
    position = story.position(executed)
    for leg in reach.legs:
        assert position.contains(routes.parse(leg.logs[0].before))
        assert [log.number for log in leg.logs] == list(
            range(leg.logs[0].number, leg.logs[0].number + len(leg.logs))
        )
        assert leg.after.contains(position)
        assert not position.contains(leg.after)
        position = leg.after
    assert str(position) == str(reach.position)


@pytest.mark.parametrize("flavor", ["mariadb", "mysql"])
@given(data=st.data())
def test_known_time_is_never_after_a_transaction_that_is_lacking(flavor: str, data: st.DataObject) -> None:
    story, base = data.draw(stories(flavor))
    routes = Routes(streams_of(story.pieces), story.pieces, story.flavor)
    reach = routes.from_position(story.position(set(range(base))))
    lacking = set(range(len(story.made))) - story.reachable(set(range(base)))
    if reach.until and lacking:
        assert reach.until < story.made[min(lacking)].at


@pytest.mark.parametrize("flavor", ["mariadb", "mysql"])
@given(data=st.data())
def test_records_that_are_left_out_by_their_names_change_nothing(flavor: str, data: st.DataObject) -> None:
    story, _ = data.draw(stories(flavor))
    by_name = {record_path(LogPiece, piece.piece_id): piece for piece in story.pieces}
    selection = select(ObjectInfo(path, 1, START) for path in by_name)
    first = [by_name[info.path] for info in selection.first]
    assert streams_of(first) == streams_of(story.pieces)
    rest = [by_name[info.path] for infos in selection.rest.values() for info in infos]
    assert sorted(p.piece_id for p in first + rest) == sorted(p.piece_id for p in story.pieces)


def test_a_day_of_short_pieces_is_left_out_once_they_are_merged() -> None:
    stream = "20261101T000000Z-00000001"
    offsets = range(0, 8640 * SIZE, SIZE)
    pieces = [piece_of("orders", "mariadb", at, at + SIZE, stream=stream) for at in offsets]
    idle = [piece_of("orders", "mariadb", SIZE, SIZE, stream=stream) for _ in range(9)]
    whole = piece_of("orders", "mariadb", 0, offsets[-1] + SIZE, stream=stream)
    infos = [ObjectInfo(record_path(LogPiece, piece.piece_id), 1, START) for piece in (*pieces, *idle, whole)]
    newest = max(piece.piece_id for piece in idle)
    assert sorted(info.path for info in select(infos).first) == sorted(
        record_path(LogPiece, piece_id) for piece_id in (whole.piece_id, newest)
    )
