"""Cron expressions as systemd's calendar events."""

from __future__ import annotations

import re
from collections.abc import Iterable

from airflow_restore_replay.core.config.schedule import PRESETS
from airflow_restore_replay.core.errors import ConfigInvalid

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
#: minute, hour, day of month, month, day of week, second, year
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7), (0, 59), (1970, 2099))


def calendar_events(schedule: str, timezone: str) -> list[str]:
    """Return the calendar events that together occur when *schedule* does.

    Cron takes a day that fits either of its two fields for days, if both are restricted. Systemd takes one that fits
    both, so there are two events then.

    :param schedule: a valid cron expression of five to seven fields, or a preset.
    :raises ConfigInvalid: systemd has nothing that corresponds to a part of it.
    """
    fields = PRESETS.get(schedule, schedule).lower().split()
    fields += ("0", "*")[len(fields) - 5 :]
    minute, hour, date, month, day, second, year = (
        _values(schedule, field, number) for number, field in enumerate(fields)
    )
    days = sorted({value % 7 for value in day}, key=lambda value: (value - 1) % 7)
    weekdays = "" if len(days) == 7 else ",".join(_DAYS[value].capitalize() for value in days) + " "
    time = ":".join(
        _text(values, *_RANGES[i], digits=2) for values, i in ((hour, 1), (minute, 0), (second, 5))
    )
    prefix = f"{_text(year, *_RANGES[6])}-{_text(month, *_RANGES[3], digits=2)}"
    dates = _text(date, *_RANGES[2], digits=2)
    if weekdays and dates != "*":
        return [f"{prefix}-{dates} {time} {timezone}", f"{weekdays}{prefix}-* {time} {timezone}"]
    return [f"{weekdays}{prefix}-{dates} {time} {timezone}"]


def _values(schedule: str, field: str, number: int) -> list[int]:
    """Return all values that a field of a cron expression allows."""
    low, high = _RANGES[number]
    found: set[int] = set()
    for item in field.replace("?", "*").split(","):
        match = re.fullmatch(r"(\*|\w+?)(?:-(\w+))?(?:/(\d+))?", item)
        first = _number(match[1], number) if match and match[1] != "*" else low
        last = _number(match[2], number) if match and match[2] else None
        if match is None or first is None or (match[2] and last is None):
            raise ConfigInvalid(
                f"schedule {schedule!r} has {item!r}, for which systemd's calendar has no equivalent.",
                hint="Write a timer of your own for the cycle's service.",
            )
        if last is None:
            # `a/n` goes up to the field's end, `a` is one value.
            last = high if match[1] == "*" or match[3] else first
        step = int(match[3] or 1)
        found.update(range(first, last + 1, step) if first <= last else _around(first, last, step, number))
    return sorted(found)


def _around(first: int, last: int, step: int, number: int) -> Iterable[int]:
    low, high = _RANGES[number] if number != 4 else (0, 6)
    return [*range(first, high + 1), *range(low, last + 1)][::step]


def _number(text: str, number: int) -> int | None:
    names: tuple[str, ...] = {3: _MONTHS, 4: _DAYS}.get(number, ())
    if text in names:
        return names.index(text)
    return int(text) if text.isdecimal() else None


def _text(values: list[int], low: int, high: int, *, digits: int = 1) -> str:
    if len(values) == high - low + 1:
        return "*"
    return ",".join(f"{value:0{digits}d}" for value in values)
