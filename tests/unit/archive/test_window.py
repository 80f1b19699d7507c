"""The window: its moments, its holes, and the nearest moments to one that cannot be restored."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from airflow_restore_replay.core.archive.window import Span, Window
from tests.unit.archive.test_reach import START


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


WINDOW = Window((Span(at(0), at(10), ("a",)), Span(at(20), at(20), ("b",)), Span(at(30), at(40), ("c",))))


def test_the_window_is_the_newest_stretch() -> None:
    assert (WINDOW.begin, WINDOW.end) == (at(30), at(40))
    assert WINDOW.holes == ((at(10), at(20)), (at(20), at(30)))
    assert (Window().begin, Window().end, Window().holes) == (None, None, ())


def test_a_moment_in_a_hole_has_neighbours() -> None:
    assert WINDOW.nearest(at(15)) == (at(10), at(20))
    assert WINDOW.nearest(at(-5)) == (None, at(0))
    assert WINDOW.nearest(at(50)) == (at(40), None)
    assert Window().nearest(at(1)) == (None, None)


@given(minute=st.integers(-10, 60))
def test_the_nearest_moments_can_be_restored_and_are_the_nearest(minute: int) -> None:
    moment = at(minute)
    before, after = WINDOW.nearest(moment)
    if WINDOW.has(moment):
        assert before == after == moment
    for found in filter(None, (before, after)):
        assert WINDOW.has(found)
    between = [at(m) for m in range(-10, 61) if (before or at(-11)) < at(m) < (after or at(61))]
    assert not any(WINDOW.has(each) for each in between)
