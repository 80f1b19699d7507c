"""Validate a schedule: a cron expression with the fields and the presets that Airflow knows."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PRESETS = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@quarterly", "@yearly", "@annually")


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
    if schedule in _PRESETS:
        return
    parts = schedule.lower().split()
    if not 5 <= len(parts) <= len(_FIELDS):
        raise ValueError(
            f"schedule {schedule!r} has {len(parts)} fields; allowed: 5 to 7, or one of {', '.join(_PRESETS)}"
        )
    for field, part in zip(_FIELDS, parts, strict=False):
        try:
            field.refuse_invalid(part)
        except ValueError as exc:
            raise ValueError(f"schedule {schedule!r}: {exc}") from exc
