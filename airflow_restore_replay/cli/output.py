"""Output of commands: tables on stdout, or one JSON document on request; errors on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

import click
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from airflow_restore_replay.core.decoding import indented
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.system.printable import printable, printable_json

#: Key in click's context; its value says whether the answer is JSON.
JSON_KEY = "airflow_restore_replay.json"

#: Width of tables in columns where there is no terminal.
PLAIN_WIDTH = 100

STATE_STYLES = {
    "healthy": "green",
    "quarantined": "bold red",
    "stranded": "yellow",
    "published": "green",
    "failed": "red",
    "running": "cyan",
    "critical": "bold red",
    "warning": "yellow",
    "ok": "green",
}


class _PrintableConsole(Console):
    """Console that shows control characters in texts instead of sending them; its own colours pass."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def console(*, stderr: bool = False, at_least: int = 0) -> Console:
    """Return a console of the terminal's width, or of :data:`PLAIN_WIDTH` where there is no terminal.

    :param at_least: width without a terminal.
    """
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else max(PLAIN_WIDTH, at_least)
    return _PrintableConsole(stderr=stderr, width=width, highlight=False, soft_wrap=False)


def emit_json(document: Any) -> None:
    """Print *document* as one indented JSON document."""
    click.echo(printable_json(indented(document)))


def echo(line: str, *, err: bool = False) -> None:
    """Print a line as it is, but for control characters in it."""
    click.echo(printable(line), err=err)


def show_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> None:
    """Print a table; cells that name a state get its colour.

    Long cells are folded. With *optional* they are whole instead, and without a terminal so is every row: a program
    that reads the table must not find half an id.

    :param right: columns that are aligned to the right.
    :param optional: columns that a terminal too narrow for all leaves out, the first one first. A line names them.
    """
    out = console(at_least=_width(_widths(columns, rows).values()) if optional else 0)
    left = _left_out(columns, rows, optional, out.width)
    # One space between columns, so that more of them fit.
    padding = (0, 1, 0, 0) if optional else (0, 1)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=padding)
    for column in columns:
        if column not in left:
            justify: Literal["right", "left"] = "right" if column in right else "left"
            table.add_column(column, justify=justify, overflow="fold", no_wrap=bool(optional))
    for row in rows:
        table.add_row(*(styled(cell) for name, cell in zip(columns, row, strict=True) if name not in left))
    out.print(table, crop=not optional)
    if left:
        out.print(f"A wider terminal also shows {', '.join(left)}.", style="dim")


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, int]:
    """Return the width of each column whose cells are whole."""
    return {name: max(map(cell_len, (name, *cells))) for name, *cells in zip(columns, *rows, strict=True)}


def _width(columns: Iterable[int]) -> int:
    widths = list(columns)
    return sum(widths) + len(widths) - 1


def _left_out(
    columns: Sequence[str], rows: Sequence[Sequence[str]], optional: Sequence[str], width: int
) -> list[str]:
    """Return the columns of *optional* to leave out, so that the others fit into *width*."""
    left: list[str] = []
    widths = _widths(columns, rows)
    for name in optional:
        if _width(widths[column] for column in columns if column not in left) <= width:
            break
        left.append(name)
    return left


def show_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Print ``name  value`` lines; empty values are left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        if value:
            table.add_row(name, styled(value))
    console().print(table)


def styled(text: str) -> Text:
    """Return *text* in the colour of the state it names; markup in it has no effect."""
    return Text(text, style=STATE_STYLES.get(text, ""))


def show_failure(failure: Failure, *, as_json: bool) -> None:
    """Show an error: its message, and the hint with the next step."""
    if as_json:
        emit_json({"error": failure})
        return
    out = console(stderr=True)
    out.print(Text.assemble(("Error: ", "bold red"), failure.message), soft_wrap=True)
    if failure.hint:
        out.print(Text.assemble(("Hint:  ", "bold"), failure.hint), soft_wrap=True)


def when(at: datetime) -> str:
    """Return *at* in the form ``2026-11-21 03:00:12Z``."""
    return f"{at:%Y-%m-%d %H:%M:%S}Z"


def shorten(text: str, width: int) -> str:
    """Return *text*, shortened to at most *width* characters."""
    return text if len(text) <= width else text[: width - 1] + "…"
