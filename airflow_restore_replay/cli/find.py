"""``restore-replay find``: what happened, from the archived binary logs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from airflow_restore_replay.cli.exit_codes import Exit
from airflow_restore_replay.cli.output import console, echo, show_table
from airflow_restore_replay.cli.progress import ProgressDisplay
from airflow_restore_replay.cli.scope import Scope, scoped
from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.search.found import Answer, Found, Rows, Total
from airflow_restore_replay.core.archive.search.question import Question
from airflow_restore_replay.core.archive.search.search import Search
from airflow_restore_replay.core.config.units import human_bytes
from airflow_restore_replay.core.errors import AnswerUnreadable
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.jobs.context import Reporter
from airflow_restore_replay.core.recovery.moment.times import FORMS, parse_moment
from airflow_restore_replay.core.repository.format.records import utc_now

_SHOWN_STATEMENT = 300
_SHOWN_TOTALS = 20


@click.command("find")
@click.option(
    "--table", "tables", multiple=True, metavar="SCHEMA.TABLE", help="Changes of it; % is any text."
)
@click.option(
    "--statement", "statements", multiple=True, metavar="WORDS", help="First words, such as 'drop'."
)
@click.option("--gtid", metavar="GTID", help="Only this transaction.")
@click.option("--since", metavar="TIME", help=f"Not what is earlier: {FORMS}")
@click.option("--until", metavar="TIME", help="Not what is stamped with it or later; as --since.")
@click.option("--min-rows", type=click.IntRange(0), default=0, metavar="N", help="Not those of fewer rows.")
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, metavar="N", help="At most so many."
)
@scoped
def command(
    scope: Scope,
    tables: tuple[str, ...],
    statements: tuple[str, ...],
    gtid: str | None,
    since: str | None,
    until: str | None,
    min_rows: int,
    limit: int,
) -> None:
    """Find out what happened: statements, and transactions by rows touched per table.

    Without --table, --statement and --gtid: all statements that change tables or other definitions, and how many rows
    of each table were changed. Where more than N transactions answer, those of most rows are shown. Each is shown with
    the command that restores to just before it. Only the archive is read; the primary is not needed.
    """
    for table in tables:
        if "." not in table:
            raise click.UsageError(f"{table!r} names no schema; write it as schema.table.")
    flavor = get_flavor(scope.cluster.flavor)
    question = Question(
        tables=tables,
        statements=statements,
        gtid=_gtid(flavor, gtid) if gtid else "",
        since=_moment(scope, since),
        until=_moment(scope, until),
        least_rows=min_rows,
    )
    archive = Archive.read(scope.repository())
    search = Search(archive, flavor, question, most=limit)
    with ProgressDisplay(scope.cluster.name) as display:
        answer = _run(search, Reporter(display.update))
    nearest = {t: names for t in tables if (names := search.names.nearest(t, Question((t,)).has_table))}
    if scope.as_json:
        scope.emit(_document(answer, nearest))
    else:
        _show(answer, nearest, asked=bool(tables or statements or gtid))
    notes = _notes(archive, answer, scope)
    for note in notes:
        echo(note, err=True)
    if answer.damaged:
        click.get_current_context().exit(Exit.ENVIRONMENT)


def _moment(scope: Scope, text: str | None) -> float | None:
    """Return a time as Unix seconds."""
    return None if text is None else parse_moment(text, scope.cluster.timezone, utc_now()).timestamp()


def _gtid(flavor: Flavor, text: str) -> str:
    """Return a GTID as the flavor writes it."""
    try:
        return str(flavor.parse_gtid(text))
    except AnswerUnreadable as exc:
        raise click.BadParameter(str(exc), param_hint="--gtid") from None


def _run(search: Search, report: Reporter) -> Answer:
    total, done = search.size_bytes, 0
    report.phase("reading binary logs")

    def progress(size_bytes: int) -> None:
        nonlocal done
        done += size_bytes
        report.count(done, max(total, done))

    return search.run(progress)


def _document(answer: Answer, nearest: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "found": [msgspec.to_builtins(found) | {"restore": _words(found)} for found in answer.found],
        "left_out": answer.left_out,
        "tables": [total.as_dict() for total in answer.totals],
        "transactions": answer.transactions,
        "read_bytes": answer.read_bytes,
        "damaged": answer.damaged,
        "nearest": nearest,
    }


def _words(found: Found) -> str:
    """Return the command that restores to just before *found*; empty if the primary gave it no GTID."""
    if not found.gtid:
        return ""
    context = click.get_current_context()
    words = ["restore-replay", "restore"]
    for name in ("config", "cluster"):
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            words += [f"--{name}", str(context.params[name])]
    return shlex.join([*words, "--to", "DIR", "--before-gtid", found.gtid])


def _show(answer: Answer, nearest: dict[str, list[str]], *, asked: bool) -> None:
    for found in answer.found:
        for line in _lines(found):
            console().print(line, markup=False, soft_wrap=True)
    if answer.left_out:
        echo(
            f"{answer.left_out} more transactions, of fewer rows, are not shown; see --limit and --min-rows."
        )
    if not asked and answer.totals:
        show_table(
            ["TABLE", "INSERTED", "UPDATED", "DELETED", "TRANSACTIONS", "LAST"],
            [_total(total) for total in answer.totals[:_SHOWN_TOTALS]],
            right=["INSERTED", "UPDATED", "DELETED", "TRANSACTIONS"],
        )
        if len(answer.totals) > _SHOWN_TOTALS:
            echo(
                f"{len(answer.totals) - _SHOWN_TOTALS} more tables, of fewer rows, are not shown; see --json."
            )
    if not answer.found:
        echo(
            f"Nothing like that is in {answer.transactions} transactions ({human_bytes(answer.read_bytes)})."
        )
    for table, names in nearest.items():
        echo(f"Tables that were changed, with names like {table}: {', '.join(names)}")


def _lines(found: Found) -> Iterator[str]:
    marks = [
        f"{local(found.at)}",
        found.gtid or "(no GTID)",
        *found.accounts,
        *(f"in {schema}" for schema in found.schemas),
        *(f"connection {number}" for number in found.connections[:1]),
        human_bytes(found.size_bytes),
        *([found.state] if found.state else []),
        *([f"prepared as {found.prepared_gtid}"] if found.prepared_gtid else []),
    ]
    yield "  ".join(marks)
    for statement in found.statements:
        text = statement if len(statement) <= _SHOWN_STATEMENT else statement[: _SHOWN_STATEMENT - 1] + "…"
        yield "    " + text.replace("\n", " ")
    if found.more_statements:
        yield f"    … and {found.more_statements} more statements"
    for rows in found.rows:
        yield f"    {_rows(rows)}"
    if words := _words(found):
        yield f"    before it: {words}"


def _rows(rows: Rows) -> str:
    counts = {"inserted": rows.inserted, "updated": rows.updated, "deleted": rows.deleted}
    text = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    more = "" if rows.exact else " and more, which could not be counted"
    return f"{rows.table}: {text or 'rows'}{more}"


def _total(total: Total) -> list[str]:
    counts = (total.inserted, total.updated, total.deleted, total.transactions)
    return [total.table, *map(str, counts), local(total.last_at) if total.last_at else ""]


def local(at: datetime) -> str:
    """Return *at* with the offset of this host's zone, which is the form that ``restore --at`` takes."""
    return at.astimezone().isoformat(" ", "milliseconds" if at.microsecond else "seconds")


def _notes(archive: Archive, answer: Answer, scope: Scope) -> list[str]:
    gaps = archive.open_gaps(get_flavor(scope.cluster.flavor))
    return [
        *(f"Damaged: {text}" for text in answer.damaged),
        *(f"Unreadable: {path}: {why}" for path, why in archive.unreadable.items()),
        *(f"Gap: {gap.lacking} ({gap.reason})" for gap in gaps),
        *([] if archive.streams else ["No binary logs are archived; see docs/restore.md."]),
    ]
