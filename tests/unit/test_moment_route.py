"""Which archived files are replayed to a goal, and in which order: pure, over streams made by hand and at random."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_restore_replay.core.archive.logs import streams_of
from airflow_restore_replay.core.archive.reach import Leg, Routes
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.recovery.moment.route import furthest, route
from airflow_restore_replay.core.repository.format.records import LogPiece

NOON = datetime(2026, 8, 21, 12, tzinfo=UTC)
A, B = (str(uuid.UUID(int=n)) for n in (1, 2))


def pieces_of(
    stream: str, positions: list[list[str]], *, flavor: str = "mariadb", open_end: bool = True
) -> list[LogPiece]:
    """Return a stream's pieces.

    :param positions: of each file: the positions before its first piece, and after each.
    """
    found = []
    for number, marks in enumerate(positions, 1):
        for index, (before, after) in enumerate(zip(marks, marks[1:], strict=False)):
            last = index == len(marks) - 2
            found.append(
                LogPiece(
                    piece_id=f"{stream}-{number}-{index}",
                    at=NOON,
                    cluster="orders",
                    run="r",
                    lease_epoch=1,
                    flavor=flavor,
                    stream=stream,
                    number=number,
                    log=f"binlog.{number:06d}",
                    begin=100 * index,
                    end=100 * (index + 1),
                    before=before,
                    after=after,
                    transactions=int(before != after),
                    first_at=NOON + timedelta(seconds=number),
                    last_at=NOON + timedelta(seconds=number),
                    closed=last and not (open_end and number == len(positions)),
                )
            )
    return found


def routes_of(pieces: Iterable[LogPiece], flavor: str = "mariadb") -> Routes:
    found = list(pieces)
    return Routes(streams_of(found), found, get_flavor(flavor))


def told(legs: tuple[Leg, ...] | None) -> Any:
    """Return stream, files and end of each leg."""
    if legs is None:
        return None
    return [(leg.stream, [log.number for log in leg.logs], str(leg.after)) for leg in legs]


def way(routes: Routes, start: str, goal: str) -> Any:
    return told(route(routes.parse(start), routes.parse(goal), routes.runs, routes.parse))


ONE = pieces_of("a", [["", "0-1-10"], ["0-1-10", "0-1-15", "0-1-20"], ["0-1-20", "0-1-30"]])


@pytest.mark.parametrize(
    ("start", "goal", "expected"),
    [
        ("0-1-30", "0-1-30", []),
        ("0-1-12", "0-1-18", [("a", [2], "0-1-18")]),
        ("0-1-10", "0-1-30", [("a", [2, 3], "0-1-30")]),
        ("0-1-9", "0-1-11", [("a", [1, 2], "0-1-11")]),
        ("", "0-1-20", [("a", [1, 2], "0-1-20")]),
        ("0-1-12", "0-1-31", None),
    ],
)
def test_one_stream(start: str, goal: str, expected: Any) -> None:
    assert way(routes_of(ONE), start, goal) == expected


def test_pieces_after_the_goal_are_not_fetched() -> None:
    routes = routes_of(ONE)
    (leg,) = route(routes.parse("0-1-10"), routes.parse("0-1-12"), routes.runs, routes.parse) or ()
    # The piece after the one that reaches the goal may have the end of the goal's transaction.
    assert [log.size_bytes for log in leg.logs] == [200]
    long = pieces_of("a", [["", "0-1-1", "0-1-1", "0-1-1", "0-1-2", "0-1-3"]])
    routes = routes_of(long)
    (leg,) = route(routes.parse(""), routes.parse("0-1-1"), routes.runs, routes.parse) or ()
    assert leg.logs[0].size_bytes == 400, (
        "the transaction begins in the first piece and may end in the fourth"
    )


def test_what_a_failover_lost_is_not_replayed() -> None:
    """The old primary logged up to 12, the new one has another 11 and 12."""
    old = pieces_of("a", [["", "0-1-12"]])
    new = pieces_of("b", [["0-1-10", "0-2-20"]])
    routes = routes_of([*old, *new])
    assert way(routes, "0-1-5", "0-2-15") == [("a", [1], "0-1-10"), ("b", [1], "0-2-15")]
    assert way(routes, "0-1-10", "0-2-15") == [("b", [1], "0-2-15")]


def test_a_missing_file_breaks_a_stream_and_another_stream_may_lead_around_it() -> None:
    broken = [p for p in ONE if p.number != 2]
    assert way(routes_of(broken), "0-1-5", "0-1-25") is None
    assert way(routes_of(broken), "0-1-20", "0-1-25") == [("a", [3], "0-1-25")]
    other = pieces_of("b", [["0-1-8", "0-1-24"]])
    assert way(routes_of([*broken, *other]), "0-1-5", "0-1-25") == [
        ("a", [1], "0-1-8"),
        ("b", [1], "0-1-20"),
        ("a", [3], "0-1-25"),
    ]


def test_several_domains() -> None:
    pieces = pieces_of("a", [["0-1-5,1-1-5", "0-1-9,1-1-5", "0-1-9,1-1-8"], ["0-1-9,1-1-8", "0-1-20,1-1-9"]])
    routes = routes_of(pieces)
    assert way(routes, "0-1-7,1-1-6", "0-1-10,1-1-8") == [("a", [1, 2], "0-1-10,1-1-8")]
    assert way(routes, "0-1-7", "0-1-10,1-1-8") is None, "the first transactions of domain 1 are missing"


def test_mysql_gathers_a_set_from_several_streams() -> None:
    pieces = pieces_of("a", [["", f"{A}:1-10"]], flavor="mysql")
    pieces += pieces_of("b", [["", f"{B}:1-10"]], flavor="mysql")
    assert way(routes_of(pieces, "mysql"), "", f"{A}:1-8,{B}:1-9") == [
        ("a", [1], f"{A}:1-8"),
        ("b", [1], f"{A}:1-8,{B}:1-9"),
    ]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[LogPiece], int, int]:
    """Streams of one history, cut and broken at random; a start and a goal."""
    pieces = []
    for stream in range(draw(st.integers(1, 4))):
        marks = sorted(draw(st.lists(st.integers(0, 40), min_size=2, max_size=8)))
        files, rest = [], marks
        while len(rest) > 1:
            size = draw(st.integers(1, len(rest) - 1))
            files.append([f"0-1-{n}" if n else "" for n in rest[: size + 1]])
            rest = rest[size:]
        made = pieces_of(str(stream), files)
        pieces += [p for p in made if draw(st.integers(0, 9))]
    start, goal = sorted([draw(st.integers(0, 40)), draw(st.integers(0, 40))])
    return pieces, start, goal


@settings(max_examples=300, deadline=None)
@given(histories())
def test_a_route_leads_to_the_goal_and_there_is_one_exactly_if_pieces_cover_the_way(
    history: tuple[list[LogPiece], int, int],
) -> None:
    pieces, start, goal = history
    routes = routes_of(pieces)
    text = {n: f"0-1-{n}" if n else "" for n in (start, goal)}
    legs = route(routes.parse(text[start]), routes.parse(text[goal]), routes.runs, routes.parse)

    def number(position: str) -> int:
        return int(position.rpartition("-")[2] or 0)

    reached, moved = start, True
    while moved and reached < goal:
        moved = False
        for run in routes.runs:
            first, last = number(run.logs[0].before), number(run.logs[-1].after)
            if first <= reached < last:
                reached, moved = last, True
    assert (legs is not None) == (reached >= goal)
    at = start
    for leg in legs or ():
        assert number(leg.logs[0].before) <= at, "a server can continue with the first file"
        for one, following in zip(leg.logs, leg.logs[1:], strict=False):
            assert (one.number + 1, number(one.after)) == (following.number, number(following.before))
        assert at < number(str(leg.after)) <= number(leg.logs[-1].after)
        at = number(str(leg.after))
    assert legs is None or at == max(start, goal) or start >= goal


@settings(max_examples=200, deadline=None)
@given(histories())
def test_the_furthest_position_cannot_be_extended_within_the_newest_reachable_stream(
    history: tuple[list[LogPiece], int, int],
) -> None:
    pieces, start, _ = history
    routes = routes_of(pieces)
    begin = routes.parse(f"0-1-{start}" if start else "")
    legs = furthest(begin, routes.runs, routes.parse)
    if not legs:
        assert all(
            begin.contains(routes.parse(r.logs[-1].after))
            or not begin.contains(routes.parse(r.logs[0].before))
            for r in routes.runs
        )
        return
    run = next(r for r in routes.runs if legs[-1].logs[0] in r.logs or r.logs[0].stream == legs[-1].stream)
    assert run is not None
    assert route(begin, legs[-1].after, routes.runs, routes.parse) == legs


def test_a_file_without_transactions_after_the_goal_is_no_leg() -> None:
    """Found by the properties above."""
    pieces = [*pieces_of("a", [["", "0-1-1"]]), *pieces_of("b", [["0-1-1", "0-1-2"], ["0-1-2", "0-1-2"]])]
    broken = [p for p in pieces if (p.stream, p.number) != ("b", 1)]
    rest = pieces_of("c", [["0-1-1", "0-1-2"]])
    assert way(routes_of([*broken, *rest]), "", "0-1-2") == [("a", [1], "0-1-1"), ("c", [1], "0-1-2")]


def test_a_stream_that_begins_after_the_goal_leads_beyond_it() -> None:
    """Found by the properties above."""
    pieces = [*pieces_of("a", [["", "0-1-1"]]), *pieces_of("b", [["0-1-1", "0-1-3"]])]
    later = pieces_of("c", [["0-1-3", "0-1-9"]])
    assert way(routes_of([*pieces, *later]), "", "0-1-2") == [("a", [1], "0-1-1"), ("b", [1], "0-1-2")]
