"""Find the time zone that a server calls SYSTEM.

A server tells only an abbreviation such as ``EST``, which is no zone. So it is asked what its clocks show at many
times, and the zone of this host that shows the same is its zone.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from airflow_restore_replay.core.flavor.sql import rows, run
from airflow_restore_replay.core.flavor.values import Conn

_WEEK_S = 7 * 86400
#: of the first second that every release can convert, up to the last one
_WEEKS = range(86400, 2**31 - 86400, _WEEK_S)
#: asked in one statement; a SELECT has at most 4096 columns
_AT_ONCE = 2000


def system_zone(conn: Conn) -> str | None:
    """Return the name of a zone of this host with the same local times as the server's SYSTEM zone; None if none has.

    :param conn: in UTC, and so again afterwards.
    """
    run(conn, "SET time_zone = 'SYSTEM'")
    try:
        shown = _shown(conn, _WEEKS)
        for name, zone in _zones():
            if all(_local(zone, at) == local for at, local in zip(_WEEKS, shown, strict=True)):
                exactly = _changes(zone)
                if _shown(conn, exactly) == [_local(zone, at) for at in exactly]:
                    return name
        return None
    finally:
        run(conn, "SET time_zone = '+00:00'")


def _shown(conn: Conn, times: Sequence[int]) -> list[Any]:
    found: list[Any] = []
    for start in range(0, len(times), _AT_ONCE):
        asked = ", ".join(f"FROM_UNIXTIME({at})" for at in times[start : start + _AT_ONCE])
        found += rows(conn, f"SELECT {asked}")[0]
    return found


def _local(zone: tzinfo, at: int) -> datetime:
    return datetime.fromtimestamp(at, zone).replace(tzinfo=None, fold=0)


def _zones() -> Iterator[tuple[str, tzinfo]]:
    """Yield the zones that the C library knows here, the plainest names first."""
    # It knows this one without a file.
    yield "UTC", UTC
    known = {name for name in zoneinfo.available_timezones() if _installed(name)}
    for name in sorted(known, key=lambda name: ("/" not in name, name.startswith("Etc/"), name)):
        yield name, zoneinfo.ZoneInfo(name)


def _installed(name: str) -> bool:
    return any((Path(place) / name).is_file() for place in zoneinfo.TZPATH)


def _changes(zone: tzinfo) -> list[int]:
    """Return each first second of another offset, and the second before it."""
    found = []
    for early, late in zip(_WEEKS, _WEEKS[1:], strict=False):
        if _offset(zone, early) == _offset(zone, late):
            continue
        while late - early > 1:
            middle = (early + late) // 2
            if _offset(zone, middle) == _offset(zone, early):
                early = middle
            else:
                late = middle
        found += [early, late]
    return found


def _offset(zone: tzinfo, at: int) -> timedelta | None:
    return datetime.fromtimestamp(at, UTC).astimezone(zone).utcoffset()
