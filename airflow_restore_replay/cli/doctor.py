"""``restore-replay doctor``: which preconditions of a cycle hold, and how to fix the others."""

from __future__ import annotations

import click

from airflow_restore_replay.cli.exit_codes import Exit
from airflow_restore_replay.cli.output import console, show_pairs, show_table
from airflow_restore_replay.cli.scope import Scope, scoped
from airflow_restore_replay.core.flavor.findings import Finding, Severity

_STATES = {Severity.OK: "ok", Severity.NOTE: "note", Severity.WARNING: "WARN", Severity.REFUSED: "FAILED"}


@click.command("doctor")
@scoped
def command(scope: Scope) -> None:
    """Examine primary, node and store for everything that a cycle needs.

    Each precondition is shown with what was observed, what is expected, and the statement that fixes it. The exit
    code is 2 if a cycle would be refused, or could not take a full copy. Warnings do not count.
    """
    connected = scope.connected
    found = connected.runtime().examine_cluster(connected.cluster, connected.secrets)
    refused = any(finding.refuses(seeding=True) for finding in found)
    if scope.as_json:
        scope.emit({"findings": found, "ok": not refused})
    else:
        _show(found)
    raise click.exceptions.Exit(Exit.REFUSED if refused else Exit.OK)


def _show(found: list[Finding]) -> None:
    show_table(
        ["WHERE", "WHAT", "STATE", "OBSERVED", "EXPECTED"],
        [[f.subject, f.name, _STATES[f.severity], f.observed, f.expected] for f in found],
    )
    fixes = [(f"{f.subject} {f.name}", f.fix) for f in found if f.fix]
    if fixes:
        console().print("\nTo fix:", markup=False)
        show_pairs(fixes)
