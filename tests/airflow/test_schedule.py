"""The cluster file's check of a schedule agrees with Airflow's, which needs Airflow and comes too late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from airflow.timetables.interval import CronDataIntervalTimetable
from croniter import croniter
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_restore_replay.core.config.schedule import _later, refuse_invalid_schedule

_WORDS = [
    "*",
    "?",
    "l",
    "w",
    "0",
    "1",
    "5",
    "7",
    "12",
    "23",
    "31",
    "32",
    "59",
    "60",
    "mon",
    "fri",
    "JAN",
    "dec",
]
_VALUES = st.sampled_from(_WORDS)
_FORMS = ["{}", "{}-{}", "{}/{}", "{}-{}/{}", "{}#{}", "{}{}", "{},{}", "{},{}-{}"]
_FIELDS = st.one_of(st.just("*"), *(st.builds(form.format, *[_VALUES] * form.count("{}")) for form in _FORMS))


@settings(max_examples=1000, deadline=None)
@given(st.lists(_FIELDS, min_size=4, max_size=7).map(" ".join))
@example("61 3 * * *")
@example("@once")
def test_p2_airflow_accepts_every_schedule_that_the_cluster_file_accepts(schedule: str) -> None:
    try:
        refuse_invalid_schedule(schedule)
    except ValueError:
        return
    CronDataIntervalTimetable(schedule, timezone="UTC").validate()


@pytest.mark.parametrize(
    "schedule",
    [
        "0 3 * * *",
        "*/15 22-2 1,15 * mon-fri",
        "0 3 l jan,JUL ?",
        "0 3 ? * 5#2,l7",
        "5/10 0-23/2 15w 2-12/3 sun",
        "0 3 20-l * *",
        "0 3 * * * 30 2026-2030",
        "@hourly",
        "@daily",
        "@midnight",
        "@weekly",
        "@monthly",
        "@quarterly",
        "@yearly",
        "@annually",
    ],
)
def test_what_airflow_accepts_is_accepted(schedule: str) -> None:
    CronDataIntervalTimetable(schedule, timezone="UTC").validate()
    refuse_invalid_schedule(schedule)


_NUMBERS = st.integers(0, 70).map(str)
_SPANS = ["{}", "*", "{}-{}", "{}-{}/{}", "*/{}", "{}/{}", "{},{}", "{},{}-{}"]
_TIMES = st.one_of(*(st.builds(form.format, *[_NUMBERS] * form.count("{}")) for form in _SPANS))
_DATES = st.sampled_from(["* * *", "? * ?", "* * mon", "1 * *", "*/2 jan *", "l * *"])


@settings(max_examples=500, deadline=None)
@given(st.builds("{} {} {}".format, _TIMES, _TIMES, _DATES), st.integers(1, 300))
@example("22 22-2 * * *", 70)
def test_a_jitter_moves_each_start_by_the_same_minutes(schedule: str, late: int) -> None:
    try:
        refuse_invalid_schedule(schedule)
    except ValueError:
        return
    moved = _later(schedule, late)
    if moved is None:
        return
    begin, delay = datetime(2026, 3, 1, tzinfo=UTC), timedelta(minutes=late)
    starts, later = croniter(schedule, begin), croniter(moved, begin + delay)
    for _ in range(30):
        assert starts.get_next(datetime) + delay == later.get_next(datetime)
