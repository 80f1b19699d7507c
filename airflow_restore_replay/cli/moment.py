"""The options of ``restore-replay restore`` that name a moment, and what a restore to it prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from airflow_restore_replay.cli.output import console
from airflow_restore_replay.core.config.units import human_bytes, human_seconds
from airflow_restore_replay.core.recovery.moment.unfinished import RestoredToMoment
from airflow_restore_replay.core.recovery.moment.wanted import Wanted, wanted_of

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--at",
        metavar="TIME",
        help="Restore the data of this moment: '2026-08-21 03:14:15+02:00', or '10 minutes ago'.",
    ),
    click.option("--before-gtid", metavar="GTID", help="Restore to just before this transaction."),
    click.option("--to-gtid", metavar="GTID", help="Restore up to and including this transaction."),
    click.option("--latest", is_flag=True, help="Restore all that is archived."),
)


def moment_options(command: Command) -> Command:
    """Add the options to a command, which passes them to ``wanted_of``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def moment_of(options: dict[str, Any]) -> Wanted | None:
    """Take the options of :func:`moment_options` out of *options*, and return the moment that they name, if any."""
    return wanted_of(**{name: options.pop(name) for name in ("at", "before_gtid", "to_gtid", "latest")})


def refuse_with_moment(options: dict[str, Any], *, dry_run: bool) -> None:
    """Raise for options that a restore to a moment does not have.

    :raises click.UsageError: names the option.
    """
    if options["backup_id"] or options["quarantined"]:
        raise click.UsageError("--backup and --quarantined name a backup; a moment chooses its own.")
    if options["in_place"] or dry_run:
        raise click.UsageError("--in-place and --dry-run are about a backup alone, without a moment.")
    if (options["tables"] or options["databases"]) and not (options["dump"] or options["into"]):
        raise click.UsageError(
            "A moment is that of a whole server; with --dump or --into it gives some tables."
        )


def show_moment(restored: RestoredToMoment) -> None:
    """Print what was restored, for people."""
    phases = ", ".join(f"{name} {human_seconds(seconds)}" for name, seconds in restored.phases.items())
    lines = [
        f"{restored.target} has the data {_moment(restored)}: backup {restored.backup_id} "
        f"({human_bytes(restored.bytes)}) and binary logs with {restored.transactions} transactions "
        f"({human_bytes(restored.log_bytes)}) in {human_seconds(restored.seconds)}.",
        f"Its position is {restored.position}.",
        *([f"The next transaction is {_next(restored)}."] if restored.next_gtid else []),
        f"Times: {phases}.",
        *(f"- Backup {name} could not be used: {why}" for name, why in restored.fell_back.items()),
        *([f"- Damaged records of the archive: {', '.join(restored.damaged)}"] if restored.damaged else []),
        *(
            [f"- Events created since the backup are disabled: {', '.join(restored.new_events)}"]
            if restored.new_events
            else []
        ),
    ]
    for line in lines:
        console().print(line, markup=False, soft_wrap=True)


def _moment(restored: RestoredToMoment) -> str:
    return f"of {restored.at}" if restored.at else restored.wanted


def _next(restored: RestoredToMoment) -> str:
    return f"{restored.next_gtid}, stamped {restored.next_stamped}"
