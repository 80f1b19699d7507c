"""The options of ``restore-replay restore`` that name a moment, and what a restore to it prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from airflow_restore_replay.cli.output import console, show_pairs, when
from airflow_restore_replay.cli.restore_output import plan_room_and_time, shortened, show_findings
from airflow_restore_replay.core.config.units import human_bytes, human_seconds
from airflow_restore_replay.core.flavor.values import position_text
from airflow_restore_replay.core.recovery.moment.outline import MomentPlan, OutlinedBase
from airflow_restore_replay.core.recovery.moment.times import FORMS
from airflow_restore_replay.core.recovery.moment.unfinished import RestoredToMoment
from airflow_restore_replay.core.recovery.moment.wanted import Wanted, wanted_of

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--at",
        metavar="TIME",
        help=f"Restore the data of this moment: {FORMS}",
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


def refuse_with_moment(options: dict[str, Any]) -> None:
    """Raise for options that a restore to a moment does not have.

    :raises click.UsageError: names the option.
    """
    if options["backup_id"] or options["quarantined"]:
        raise click.UsageError("--backup and --quarantined name a backup; a moment chooses its own.")
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
        f"Its position is {position_text(restored.position)}.",
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


def show_moment_plan(plan: MomentPlan) -> None:
    """Print what a restore to a moment would do."""
    first, *others = plan.bases
    asked = f" ({plan.at})" if plan.at and plan.at not in plan.wanted else ""
    stamped = f", stamped {plan.next_stamped}" if plan.next_stamped else ""
    show_pairs(
        [
            ("Moment", f"{plan.wanted}{asked}"),
            ("Stops at", plan.position or "an empty history"),
            (
                "Next is",
                f"{plan.next_gtid}{stamped}" if plan.next_gtid else "not known: the archive ends there",
            ),
            ("Backup", f"{_base(first)}, {plan.state}"),
            ("Server", f"{first.server_release} or newer"),
            *(("If it fails", _base(base)) for base in others),
            ("Into", plan.target),
            ("Tables", shortened(plan.tables)),
            ("Fetches", f"at most {human_bytes(plan.size_bytes)} in {plan.files} files"),
            ("", f"and {human_bytes(first.log_bytes)} in {first.log_pieces} pieces of the archive"),
            ("Replays", f"at most {first.transactions} transactions, {human_bytes(first.log_bytes)} of log"),
            *plan_room_and_time(plan),
            *(("Lacks", text) for text in plan.not_covered),
            *(("Damaged", name) for name in plan.damaged),
        ]
    )
    show_findings(plan.findings)


def _base(base: OutlinedBase) -> str:
    return f"{base.backup_id}, of {when(base.read_at)}, at {base.position}"


def _moment(restored: RestoredToMoment) -> str:
    return f"of {restored.at}" if restored.at else restored.wanted


def _next(restored: RestoredToMoment) -> str:
    return f"{restored.next_gtid}, stamped {restored.next_stamped}"
