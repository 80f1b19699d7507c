from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_restore_replay.core.flavor.mariadb.gtid import Gtid, MariaDbPosition

gtids = st.builds(Gtid, st.integers(0, 5), st.integers(1, 2**32 - 1), st.integers(1, 2**64 - 1))


def _position(found: list[Gtid]) -> MariaDbPosition:
    return MariaDbPosition(tuple(sorted({g.domain: g for g in found}.values())))


positions = st.lists(gtids, max_size=6).map(_position)


@given(positions)
def test_text_round_trips(position: MariaDbPosition) -> None:
    assert MariaDbPosition.parse(str(position)) == position


@given(positions, positions)
def test_containment_is_what_is_not_lacking(a: MariaDbPosition, b: MariaDbPosition) -> None:
    assert a.contains(b) == (a.lacking(b) == "") == (a.count_lacking(b) == 0)


@given(positions, positions, positions)
def test_containment_is_a_partial_order_on_sequences(
    a: MariaDbPosition, b: MariaDbPosition, c: MariaDbPosition
) -> None:
    assert a.contains(a)
    if a.contains(b) and b.contains(c):
        assert a.contains(c)


@given(positions)
def test_everything_contains_the_empty_position(position: MariaDbPosition) -> None:
    assert position.contains(MariaDbPosition())
    assert MariaDbPosition().contains(position) == (position == MariaDbPosition())


def test_lacking_is_for_people() -> None:
    reached = MariaDbPosition.parse("0-1-90")
    goal = MariaDbPosition.parse("0-1-100,7-2-3")
    assert reached.lacking(goal) == (
        "domain 0: 10 transactions up to 0-1-100, domain 7: 3 transactions up to 7-2-3"
    )
    assert reached.count_lacking(goal) == 13


@pytest.mark.parametrize("text", ["0-1", "0-1-2,0-2-3", "a-b-c", "0-1-2;drop"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a MariaDB GTID|names a domain twice"):
        MariaDbPosition.parse(text)


def test_server_output_with_newlines_parses() -> None:
    assert str(MariaDbPosition.parse("1-1-5,\n0-1-2")) == "0-1-2,1-1-5"
