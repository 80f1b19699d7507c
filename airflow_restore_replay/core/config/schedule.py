"""Schedules: validate a cron expression with the fields and the presets that Airflow knows, and spread clusters.

A jitter becomes part of the cron expression: Airflow shows and computes the times at which a cluster really starts,
and the intervals of its backfills end at these times.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

#: preset → what it stands for
PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MINUTE_S, _HOUR, _DAY_HOURS = 60, 60, 24


@dataclass(frozen=True)
class _Field:
    """A field of a cron expression.

    :param names: names of values, the first of which is *low*.
    :param special: what else the field may contain.
    :param alone: what the field may consist of.
    """

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    special: str = r"(?!)"
    alone: str = r"(?!)"

    def refuse_invalid(self, text: str) -> None:
        if re.fullmatch(self.alone, text):
            return
        for item in text.split(","):
            if not re.fullmatch(self.special, item):
                self._refuse_invalid_item(item)

    def _refuse_invalid_item(self, item: str) -> None:
        values, slash, step = item.partition("/")
        if slash and not re.fullmatch(r"0*[1-9][0-9]*", step):
            raise ValueError(f"{self.name} {item!r} has no step of at least 1")
        for value in [] if values == "*" else values.split("-", 1):
            if value in self.names:
                continue
            if not re.fullmatch("[0-9]+", value) or not self.low <= int(value) <= self.high:
                named = f", or {self.names[0]} to {self.names[-1]}" if self.names else ""
                raise ValueError(f"{self.name} {value!r} is not between {self.low} and {self.high}{named}")


_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE = "([1-9]|[12][0-9]|3[01])"
_DAY = rf"([0-7]|{'|'.join(_DAYS)})"

#: seconds and years are optional
_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31, special=rf"({_DATE}-)?l", alone=rf"\?|{_DATE}w|w{_DATE}"),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 7, _DAYS, special=rf"{_DAY}#[1-5]|l[0-7]", alone=r"\?"),
    _Field("second", 0, 59),
    _Field("year", 1970, 2099),
)


def refuse_invalid_schedule(schedule: str) -> None:
    """Raise if *schedule* is neither a cron expression nor one of its presets.

    :raises ValueError: names the field, its value and what is allowed there.
    """
    if schedule in PRESETS:
        return
    parts = schedule.lower().split()
    if not 5 <= len(parts) <= len(_FIELDS):
        raise ValueError(
            f"schedule {schedule!r} has {len(parts)} fields; allowed: 5 to 7, or one of {', '.join(PRESETS)}"
        )
    for field, part in zip(_FIELDS, parts, strict=False):
        try:
            field.refuse_invalid(part)
        except ValueError as exc:
            raise ValueError(f"schedule {schedule!r}: {exc}") from exc


def refuse_jitter(schedule: str, jitter_s: float) -> None:
    """Raise unless each later start within the jitter can be written as one cron expression.

    :param schedule: a valid one.
    :raises ValueError: says why not, and how much is possible.
    """
    if jitter_s < 2 * _MINUTE_S:
        raise ValueError(f"jitter must be at least 2m, it is {jitter_s:g} s")
    minutes = int(jitter_s // _MINUTE_S)
    possible = next((late for late in range(1, minutes) if _later(schedule, late) is None), minutes)
    if possible < minutes:
        most = f"at most {possible}m is" if possible > 1 else "none is"
        raise ValueError(
            f"jitter of {minutes}m is not possible with the schedule {schedule!r}: a later start would need more than "
            f"one cron expression; {most} possible there"
        )


def staggered(schedule: str, name: str, jitter_s: float | None) -> str:
    """Return *schedule* later by the part of the jitter that belongs to *name*: the same for each call and each host.

    :raises ValueError: see :func:`refuse_jitter`.
    """
    minutes = int((jitter_s or 0) // _MINUTE_S)
    if not minutes:
        return schedule
    late = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % minutes
    found = _later(schedule, late)
    if found is None:
        raise ValueError(f"schedule {schedule!r} cannot start {late}m later")
    return found


def _later(schedule: str, late: int) -> str | None:
    """Return the cron expression that starts *late* minutes after *schedule*; None if it would need several."""
    if late == 0:
        return schedule
    minute, hour, *others = PRESETS.get(schedule, schedule).lower().split()
    minutes, hours = _values(minute, _HOUR), _values(hour, _DAY_HOURS)
    if not minutes or not hours:
        return None
    moved = [value + late for value in minutes]
    every_day = all(field in ("*", "?") for field in others[:3])
    carried = sorted({value // _HOUR for value in moved})
    written = ",".join(map(str, sorted({value % _HOUR for value in moved})))
    if carried == [0] or (hour == "*" and every_day):
        return " ".join([written, hour, *others])
    later_hours = [value + carried[0] for value in hours]
    if len(carried) > 1 or (max(later_hours) >= _DAY_HOURS and not every_day):
        return None
    return " ".join([written, ",".join(map(str, sorted({h % _DAY_HOURS for h in later_hours}))), *others])


def _values(field: str, count: int) -> list[int]:
    """Return the values of a field of numbers, as croniter reads them; none if it reads them in a way of its own."""
    found: set[int] = set()
    for item in field.split(","):
        span, slash, step = item.partition("/")
        first, dash, last = ("0", "-", str(count - 1)) if span == "*" else span.partition("-")
        # A step after a single number begins there, and goes to the end.
        begin, end = int(first), int(last) if dash else (count - 1 if slash else int(first))
        if dash and (begin == end or (begin > end and slash)):
            return []
        # A span may go over the end, as 22-2.
        found.update(
            (begin + passed) % count for passed in range(0, (end - begin) % count + 1, int(step or 1))
        )
    return sorted(found)
