"""Durations and sizes with units (``10m``, ``26h``, ``64MiB``): parse and format them."""

from __future__ import annotations

import re
from typing import Any

from airflow_restore_replay.core.decoding import travels_as

_TIME = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZE = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
#: what can be added to a time, and what a system call takes
_LONGEST_S, _LARGEST_BYTES = 1000 * 366 * 86400, 2**63
_NUMBER_UNIT = re.compile(r"^\s*([0-9]{1,300}(?:\.[0-9]{1,300})?)\s*([A-Za-z]*)\s*$")


@travels_as(float)
class Seconds(float):
    """A duration > 0: a number of seconds, or a text such as ``90s``, ``10m``, ``26h``, ``2d``."""

    def __new__(cls, value: float | int | str) -> Seconds:
        seconds = _parse(value, _TIME | {"": 1.0}, "a duration such as 90s, 10m, 26h or 2d")
        if not seconds > 0:
            raise ValueError(f"expected a duration > 0, got {value!r}")
        if seconds > _LONGEST_S:
            raise ValueError(f"expected a duration of at most 1000 years, got {value!r}")
        return super().__new__(cls, seconds)


@travels_as(int)
class ByteCount(int):
    """A size > 0: a number of bytes, or a text such as ``100MB`` or ``256MiB``."""

    def __new__(cls, value: int | str) -> ByteCount:
        size = _parse(value, _SIZE, "a size such as 100MB or 256MiB")
        if not size >= 1:
            raise ValueError(f"expected a size > 0, got {value!r}")
        if size >= _LARGEST_BYTES:
            raise ValueError(f"expected a size below 8 EiB, got {value!r}")
        return super().__new__(cls, int(size))


def human_bytes(count: float) -> str:
    """Return *count* as text such as ``1.5 GB``, in powers of ten as for disks and links."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def human_seconds(seconds: float | None) -> str:
    """Return *seconds* as text such as ``4.2 s``, ``3m12s``, ``5h07m`` or ``2d03h``; ``unknown`` for None."""
    if seconds is None:
        return "unknown"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02d}h"
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"


def _parse(value: float | int | str, units: dict[str, Any], expected: str) -> float:
    if isinstance(value, bool):
        raise ValueError(f"expected {expected}, got {value!r}")
    if isinstance(value, int | float):
        return value
    match = _NUMBER_UNIT.match(value) if isinstance(value, str) else None
    if not match or match[2] not in units:
        raise ValueError(f"expected {expected}, got {value!r}")
    return float(match[1]) * float(units[match[2]])
