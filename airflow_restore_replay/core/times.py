"""Points in time as events and people write them."""

from __future__ import annotations

from datetime import UTC, datetime


def past(time: datetime) -> datetime:
    """:returns: *time* in UTC and whole seconds, as events are stamped."""
    return time.astimezone(UTC).replace(microsecond=0)


def stamp(time: datetime) -> str:
    """:returns: *time* as people write it, in UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
