"""Which of a server's error lines to tell a person first."""

from __future__ import annotations

from collections.abc import Sequence

_MISSING_FILE = (
    "cannot open datafile",
    "could not find a valid tablespace",
    "is missing",
    "cannot find space",
)


def missing_file(lines: Sequence[str]) -> str | None:
    """:returns: the line that says that a table's file is missing."""
    return next((line for line in lines if any(m in line.lower() for m in _MISSING_FILE)), None)


def most_telling(lines: Sequence[str]) -> str:
    """:returns: the line that names what is damaged rather than how it was noticed."""
    return missing_file(lines) or lines[0]
