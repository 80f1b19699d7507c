"""What the demo shows: headings, finished tasks, and what runs right now."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.status import Status
from rich.text import Text

CONSOLE = Console(width=None if sys.stdout.isatty() else 110, highlight=False)

#: seconds between lines about what runs, where there is no terminal to keep one line alive on
_LINE_INTERVAL_S = 5.0

_MARKS = {
    "success": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "up_for_retry": ("↻", "yellow"),
    "upstream_failed": ("·", "dim"),
    "skipped": ("·", "dim"),
}

#: columns of the spinner and the space after it
_SPINNER = 2

_STARTED = time.monotonic()


def heading(text: str) -> None:
    """Begin a part of the demo."""
    CONSOLE.print()
    CONSOLE.rule(Text(f"{text}   [{time.monotonic() - _STARTED:.0f} s]", style="bold"), align="left")


def say(text: str, style: str = "") -> None:
    CONSOLE.print(Text(text, style=style), soft_wrap=True)


def task_line(task_id: str, state: str, seconds: float | None, what: str = "") -> None:
    """A task that ended."""
    mark, style = _MARKS.get(state, ("?", ""))
    took = "" if seconds is None else f"{seconds:6.1f} s"
    CONSOLE.print(Text.assemble((f"  {mark} ", style), f"{task_id:<26}{took:<10}", what), soft_wrap=True)


class Now:
    """The line about what runs right now."""

    def __init__(self) -> None:
        self._status = Status("", console=CONSOLE) if CONSOLE.is_terminal else None
        self._last = ("", 0.0)

    def __enter__(self) -> Now:
        if self._status:
            self._status.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._status:
            self._status.stop()

    def show(self, text: str) -> None:
        if self._status:
            line = Text(text)
            # One line, beside the spinner: a second one would stay behind on some terminals.
            line.truncate(CONSOLE.width - _SPINNER, overflow="ellipsis")
            self._status.update(line)
            return
        said, at = self._last
        if text and text != said and time.monotonic() - at > _LINE_INTERVAL_S:
            self._last = (text, time.monotonic())
            say(f"    … {text}", "dim")
