from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_restore_replay.core.flavor.mysql.gtid import Gtid, MySqlPosition, Source, parse_gtid

A = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
B = "fd994f2e-e61c-11f1-9c0f-02fc00000001"

gtids = st.builds(
    Gtid,
    st.builds(Source, st.sampled_from([A, B]), st.sampled_from(["", "audit", "_x9"])),
    st.integers(1, 12),
)
sets = st.frozensets(gtids, max_size=25)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("", ""),
        (f"{A}:1", f"{A}:1"),
        (f"{A.upper()}:5-9:1-3:4", f"{A}:1-9"),
        (f"{B}:1-2,\n{A}:11-18:1-5", f"{A}:1-5:11-18,{B}:1-2"),
        (f"{A}:1-5:audit:1-4,{A}:_x9:7", f"{A}:1-5:_x9:7:audit:1-4"),
        (f"{A}:tag:3", f"{A}:tag:3"),
        (f"{A}:1-5:9-7", f"{A}:1-5"),
    ],
)
def test_prints_as_the_server_does(text: str, printed: str) -> None:
    assert str(MySqlPosition.parse(text)) == printed


@pytest.mark.parametrize("text", ["1-2-3", f"{A}", f"{A}:0", f"{A}:x y-", f"{A}:1-", "0-1-100,0-1-101"])
def test_refuses_what_is_no_set(text: str) -> None:
    with pytest.raises(ValueError, match="GTID|interval|below 1"):
        MySqlPosition.parse(text)


def test_one_transaction() -> None:
    assert parse_gtid(f"{A}:audit:7") == Gtid(Source(A, "audit"), 7)
    with pytest.raises(ValueError, match="not one GTID"):
        parse_gtid(f"{A}:1-2")


@given(sets, sets)
def test_is_the_algebra_of_sets(one: frozenset[Gtid], other: frozenset[Gtid]) -> None:
    a, b = MySqlPosition.of(one), MySqlPosition.of(other)
    assert a.contains(b) == (one >= other)
    assert a.missing(b) == MySqlPosition.of(other - one)
    assert a.union(b) == MySqlPosition.of(one | other)
    assert a.common(b) == MySqlPosition.of(one & other)
    assert a.count == len(one)
    assert not a.beyond().common(a)
    assert a.beyond().by_source.keys() == a.by_source.keys()
    assert bool(a.lacking(b)) == (not one >= other)
    assert a.count_lacking(b) == len(other - one)
    assert MySqlPosition.parse(str(a)) == a
    assert hash(MySqlPosition.parse(str(a))) == hash(a)
    assert all(a.has(gtid) == (gtid in one) for gtid in one | other)
