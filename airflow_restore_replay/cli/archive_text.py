"""The archive as text: which moments can be restored, what is missing, and how much is logged a day."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_restore_replay.cli.output import console
from airflow_restore_replay.core.archive.overview import Overview
from airflow_restore_replay.core.archive.window import Window
from airflow_restore_replay.core.config.units import human_bytes, human_seconds
from airflow_restore_replay.core.repository.format.records import utc_now
from airflow_restore_replay.core.times import stamp


def show_archive(logs: Overview) -> None:
    """Print the state of the archive; damage goes to stderr."""
    for line in _lines(logs):
        console().print(line, markup=False, soft_wrap=True)
    for path, why in logs.unreadable.items():
        console(stderr=True).print(f"Unreadable: {path}: {why}", markup=False, soft_wrap=True)


def _lines(logs: Overview) -> Iterator[str]:
    yield from window_lines(logs.window)
    for gap in logs.gaps:
        yield f"Gap, noticed {stamp(gap.at)}: {gap.lacking}: {gap.reason}"
    a_day = f"; {human_bytes(logs.bytes_a_day)} a day" if logs.bytes_a_day is not None else ""
    yield (
        f"Archive: {human_bytes(logs.size_bytes)} of binary logs in {logs.files} files "
        f"({logs.streams} streams, {logs.pieces} records){a_day}."
    )


def window_lines(window: Window) -> Iterator[str]:
    """Yield lines about the moments that can be restored."""
    if window.begin is None or window.end is None:
        yield "Window: none, because there is no healthy backup that the archive continues."
    else:
        length = human_seconds((window.end - window.begin).total_seconds())
        yield f"Window: every moment from {stamp(window.begin)} to {stamp(window.end)} ({length})."
    for last, first in window.holes:
        yield f"Not restorable: after {stamp(last)} and before {stamp(first)}."
    if window.current_at is None:
        yield "It is unknown how far the archive is behind the primary."
    else:
        behind = human_seconds((utc_now() - window.current_at).total_seconds())
        yield f"Archived up to {stamp(window.current_at)}, {behind} ago."
