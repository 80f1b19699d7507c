"""Times as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from airflow_restore_replay.core.errors import MomentRefused
from airflow_restore_replay.core.recovery.moment.times import parse_moment

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def parsed(text: str, timezone: str = "Europe/Berlin") -> str:
    return parse_moment(text, timezone, NOW).isoformat()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-08-21 03:14:15+02:00", "2026-08-21T01:14:15+00:00"),
        ("2026-08-21T01:14:15Z", "2026-08-21T01:14:15+00:00"),
        (" 2026-08-21 03:14:15.250 ", "2026-08-21T01:14:15.250000+00:00"),
        ("2026-01-21 03:14", "2026-01-21T02:14:00+00:00"),
        ("2026-08-21", "2026-08-20T22:00:00+00:00"),
        ("2026-10-25 02:30+02:00", "2026-10-25T00:30:00+00:00"),
        ("2026-10-25 02:30+01:00", "2026-10-25T01:30:00+00:00"),
        ("2026-10-25 01:59:59", "2026-10-24T23:59:59+00:00"),
        ("2026-10-25 03:00:00", "2026-10-25T02:00:00+00:00"),
        ("10 minutes ago", "2026-11-30T11:50:00+00:00"),
        ("1 Minute ago", "2026-11-30T11:59:00+00:00"),
        ("90s ago", "2026-11-30T11:58:30+00:00"),
        ("1.5 hours ago", "2026-11-30T10:30:00+00:00"),
        ("2 days ago", "2026-11-28T12:00:00+00:00"),
        ("3w ago", "2026-11-09T12:00:00+00:00"),
        ("10 minutes", "2026-11-30T11:50:00+00:00"),
        ("1h", "2026-11-30T11:00:00+00:00"),
        ("500ms", "2026-11-30T11:59:59.500000+00:00"),
    ],
)
def test_moments(text: str, moment: str) -> None:
    assert parsed(text) == moment


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "2026-10-25 02:30",
            r"showed 2026-10-25 02:30:00 twice, at 2026-10-25 00:30:00 and 2026-10-25 01:30:00 UTC",
        ),
        ("2026-03-29 02:30", "showed 2026-03-29 02:30:00 never"),
        ("", "is not a time"),
        ("now", "is not a time"),
        ("yesterday", "is not a time"),
        ("21.08.2026 03:14", "is not a time"),
        ("2026-08-21 25:00", "is not a time"),
        ("2026-02-30", "is not a time"),
        ("1787274855", "is not a time"),
        ("-10 minutes ago", "is not a time"),
        ("-1h", "is not a time"),
        ("90", "is not a time"),
        ("10 minutes before", "is not a time"),
        ("10 fortnights ago", "unknown unit 'fortnights'"),
        ("999999 weeks ago", "before the first moment"),
        ("0001-01-01 00:00", "not a time that a binary log can have"),
        ("9999-12-31T23:59:59-12:00", "not a time that a binary log can have"),
    ],
)
def test_a46_what_is_refused(text: str, why: str) -> None:
    with pytest.raises(MomentRefused, match=why):
        parsed(text)


def test_a46_an_ambiguous_time_is_refused_with_both_ways_to_write_it() -> None:
    with pytest.raises(MomentRefused) as caught:
        parsed("2026-10-25 02:30")
    for way in ("2026-10-25 02:30:00+02:00", "2026-10-25 02:30:00+01:00"):
        assert way in caught.value.hint
        assert parsed(way)
