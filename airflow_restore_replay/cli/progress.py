"""Progress on stderr: a live bar on a terminal, periodic lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from airflow_restore_replay.cli.output import console, echo
from airflow_restore_replay.core.jobs.protocol import Progress, describe_progress

#: Seconds between lines where stderr is not a terminal.
LINE_INTERVAL_S = 15.0


class ProgressDisplay:
    """Display of a sequence of :class:`Progress` readings.

    :param title: begins each line.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._live = _bar() if sys.stderr.isatty() else None
        self._task = self._live.add_task(title, total=None, reading="") if self._live else None
        self._phase: str | None = None
        self._last_line = 0.0

    def __enter__(self) -> ProgressDisplay:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to a question."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def update(self, reading: Progress) -> None:
        """Show *reading*; without a terminal, print new phases and one line every :data:`LINE_INTERVAL_S`."""
        if self._live and self._task is not None:
            self._live.update(
                self._task,
                total=reading.total or None,
                completed=reading.done,
                reading=describe_progress(reading),
            )
            return
        now = time.monotonic()
        if reading.phase == self._phase and now - self._last_line < LINE_INTERVAL_S:
            return
        self._phase, self._last_line = reading.phase, now
        echo(f"{self._title}: {describe_progress(reading)}", err=True)

    def say(self, line: str) -> None:
        """Print a line that stays on the screen."""
        if self._live:
            self._live.console.print(line, markup=False, soft_wrap=True)
        else:
            echo(line, err=True)


class _Reading(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(task.fields["reading"], overflow="ellipsis", no_wrap=True)


def _bar() -> RichProgress:
    columns = [SpinnerColumn(), TextColumn("[bold]{task.description}"), BarColumn(bar_width=20), _Reading()]
    return RichProgress(*columns, TimeElapsedColumn(), console=console(stderr=True), transient=True)
