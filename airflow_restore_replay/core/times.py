"""Points in time, in the resolution of binary log events and as text for people."""

from __future__ import annotations

from datetime import UTC, datetime


def truncate_to_seconds(time: datetime) -> datetime:
    """Return *time* in UTC, truncated to whole seconds, the resolution of event timestamps."""
    return time.astimezone(UTC).replace(microsecond=0)


def stamp(time: datetime) -> str:
    """Return *time* as text for people, in UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
