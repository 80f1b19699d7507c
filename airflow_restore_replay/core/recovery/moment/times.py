"""Read the moment that a person names: a time with or without an offset, or how long ago it was.

``restore --at``, and ``find`` with ``--since`` and ``--until``, take the same forms.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from airflow_restore_replay.core.errors import MomentRefused

_AGO = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*([a-z]+)(?:\s+ago)?", re.IGNORECASE)
_UNITS = {
    "ms": 0.001,
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86400),
}
#: years of event timestamps, and beyond: far from what cannot be converted between time zones
_YEARS = range(1971, 9000)
_EXAMPLES = "Write it as '2026-08-21 03:14:15+02:00', as '10 minutes ago', or as '10m'."
#: the forms, for the help of an option
FORMS = (
    "'2026-08-21 03:14:15+02:00' (without an offset: in the cluster's timezone), '10 minutes ago', or '10m'."
)


def parse_moment(text: str, timezone: str, now: datetime) -> datetime:
    """Return the moment in UTC.

    :param timezone: of a time without an offset.
    :param now: by the clock of this host.
    :raises MomentRefused: it is no time, or one that the clocks of that zone showed twice or never.
    """
    if ago := _AGO.fullmatch(text.strip()):
        unit = _UNITS.get(ago[2].lower())
        if unit is None:
            raise MomentRefused(f"{text!r} has the unknown unit {ago[2]!r}.", hint=_EXAMPLES)
        seconds = float(ago[1]) * unit
        if seconds > now.timestamp():
            raise MomentRefused(f"{text!r} is before the first moment of a computer's clock.", hint=_EXAMPLES)
        return now.astimezone(UTC) - timedelta(seconds=seconds)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise MomentRefused(f"{text!r} is not a time.", hint=_EXAMPLES) from None
    if moment.year not in _YEARS:
        raise MomentRefused(f"{text!r} is not a time that a binary log can have.", hint=_EXAMPLES)
    return (moment if moment.tzinfo else _in_zone(moment, timezone)).astimezone(UTC)


def _in_zone(wall: datetime, timezone: str) -> datetime:
    """Return the moment at which the clocks of *timezone* showed *wall*.

    :raises MomentRefused: they showed it twice, or never, because the offset changed.
    """
    zone = ZoneInfo(timezone)
    first, second = (wall.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first
    never = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != wall
    times = " and ".join(sorted(str(each.astimezone(UTC).replace(tzinfo=None)) for each in (first, second)))
    raise MomentRefused(
        f"The clocks of {timezone} showed {wall} {'never' if never else f'twice, at {times} UTC'}: their offset "
        "changed.",
        hint=f"Give the offset, as in '{first}' or '{second}'.",
    )
