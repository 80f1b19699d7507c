"""What ``restore-replay restore`` prints: the plan, the restored files, and the server that runs on them."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_restore_replay.cli.output import console, show_pairs, show_table
from airflow_restore_replay.core.config.units import human_bytes, human_seconds
from airflow_restore_replay.core.flavor.findings import Finding
from airflow_restore_replay.core.flavor.values import position_text
from airflow_restore_replay.core.recovery.copy_server import Commands, RunningCopy
from airflow_restore_replay.core.recovery.forecast import Forecast
from airflow_restore_replay.core.recovery.plan import Plan
from airflow_restore_replay.core.recovery.restore import Restored
from airflow_restore_replay.core.recovery.roles import Role
from airflow_restore_replay.core.recovery.service import Served

_NAMES_SHOWN = 20


def show_plan(plan: Plan) -> None:
    """Print what a restore would do."""
    show_pairs(
        [
            ("Backup", f"{plan.backup_id} ({plan.state}), of a server {plan.server_release}"),
            ("Position", position_text(plan.position)),
            ("Into", plan.target),
            ("Tables", shortened(plan.tables)),
            ("Fetches", _amount(plan)),
            *plan_room_and_time(plan),
            *(("Lacks", text) for text in plan.not_covered),
        ]
    )
    show_findings(plan.findings)


def show_findings(findings: Sequence[Finding]) -> None:
    """Print what target and host are like."""
    show_table(
        ["", "WHAT", "OBSERVED", "EXPECTED", "TO DO"],
        [[f.severity, f"{f.subject} {f.name}", f.observed, f.expected, f.fix] for f in findings],
    )


def plan_room_and_time(plan: Plan) -> list[tuple[str, str]]:
    """Return the lines about the disk and the time that a restore needs."""
    return [
        ("Needs", f"{human_bytes(plan.disk_bytes)} of disk; {human_bytes(plan.free_bytes)} are free"),
        ("Takes", _expected(plan.expected)),
        ("", ", ".join(f"{name} {_known(seconds)}" for name, seconds in plan.expected.phases.items())),
    ]


def _amount(plan: Plan) -> str:
    whole = "" if plan.size_bytes == plan.whole_bytes else f" of {human_bytes(plan.whole_bytes)}"
    return (
        f"at most {human_bytes(plan.size_bytes)}{whole} in {plan.files} files, which also is the room needed"
    )


def _expected(expected: Forecast) -> str:
    if expected.bytes_per_s is None:
        return "not known yet: no restore of this cluster was measured"
    by = f"{human_bytes(expected.bytes_per_s)}/s by the last {expected.measured} measured restores of this cluster"
    if expected.seconds is None:
        return f"not known yet as a whole; {by}"
    return f"about {human_seconds(expected.seconds)}: {by}"


def _known(seconds: float | None) -> str:
    return "not known yet" if seconds is None else human_seconds(seconds)


def shortened(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def restored_lines(restored: Restored) -> list[str]:
    """Return the lines that say what was restored."""
    fetched = f", {human_bytes(restored.fetched_bytes)} of it fetched" if restored.resumed else ""
    return [
        f"Backup {restored.backup_id} is restored into {restored.target}: "
        f"{human_bytes(restored.bytes)}{fetched} in {human_seconds(restored.seconds)}.",
        f"Its position is {position_text(restored.position)}.",
    ]


def show_files(restored: Restored, commands: Commands, hints: Sequence[str]) -> None:
    """Print what was restored, and how to start it."""
    lines = restored_lines(restored)
    if restored.option_file:
        lines.append(
            f"- The options in {restored.option_file} are the primary's settings that the data depend on."
        )
    if commands.start:
        lines += [
            "- Start it, read-only and on a socket, by:",
            commands.start,
            "- Connect, and stop it again, by:",
            commands.connect,
            commands.stop,
        ]
    lines += [f"- {hint}" for hint in hints]
    if restored.event_sql:
        lines += ["- Events are disabled as on a replica. If this becomes a primary:", *restored.event_sql]
    say(lines)


def show_running(restored: Restored, running: RunningCopy, role: Role) -> None:
    """Print what was restored, and the server that runs on it."""
    port = f" and the port {running.port}" if running.port else ""
    say(
        [
            *restored_lines(restored),
            f"Its server runs: process {running.pid}, on the socket {running.socket}{port}; its log is {running.log}.",
            *(f"- Enabled: {statement}" for statement in role.events),
            *(f"- WARNING: {warning}" for warning in (*running.warnings, *role.warnings)),
            "- Connect to it, stop it, and start it again by:",
            running.commands.connect,
            running.commands.stop,
            running.commands.start,
        ]
    )


def show_taken(served: Served) -> None:
    """Print what was taken out of the restored copy."""
    lines = []
    if dumped := served.dumped:
        lines.append(
            f"{dumped.path} is complete: {human_bytes(dumped.sql_bytes)} of SQL in {human_bytes(dumped.size_bytes)}, "
            f"of {', '.join(dumped.schemas)}."
        )
    for table in served.loaded:
        how = "as a tablespace" if not table.why else f"row by row, because {table.why}"
        lines.append(f"{table.table} is in the server as {table.into}: {table.rows:,} rows, compared, {how}.")
        if table.left_out:
            lines.append(f"- Left out: {', '.join(table.left_out)}.")
    say(lines)


def say(lines: Sequence[str]) -> None:
    """Print lines as they are, however long."""
    for line in lines:
        console().print(line, markup=False, soft_wrap=True)
