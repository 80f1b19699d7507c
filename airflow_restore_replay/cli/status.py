"""``restore-replay status``: all clusters in one table, the worst first."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import click

from airflow_restore_replay.cli.exit_codes import Nagios
from airflow_restore_replay.cli.fleet_options import chosen_clusters, fleet_options, interval_option
from airflow_restore_replay.cli.fleet_text import headline, show_cluster, show_fleet
from airflow_restore_replay.cli.freshness import NagiosCommand
from airflow_restore_replay.cli.leaving import leave_threads_behind
from airflow_restore_replay.cli.output import console, echo, emit_json
from airflow_restore_replay.cli.scope import json_option
from airflow_restore_replay.core.fleet.fleet import Fleet
from airflow_restore_replay.core.fleet.state import ClusterState, Severity

_CODES = {Severity.OK: Nagios.OK, Severity.WARNING: Nagios.WARNING, Severity.CRITICAL: Nagios.CRITICAL}
#: move to the top left corner, and erase all
_CLEAR = "\x1b[H\x1b[2J"


@click.command("status", cls=NagiosCommand)
@click.option("--all", "all_clusters", is_flag=True, help="The table, also if the file has one cluster.")
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@interval_option(0.2, 5.0, "--watch")
@json_option
@fleet_options
def command(
    config: str,
    cluster: str | None,
    limit: float,
    as_json: bool,
    all_clusters: bool,
    watch: bool,
    interval: float,
) -> None:
    """Show the state of all clusters, the worst first, or everything of one.

    Exit codes are those of Nagios, of the worst cluster: 0 OK, 1 WARNING (a run failed, a gap, a forecast), 2 CRITICAL
    (the newest backup is too old or its age is unknown, or there is a hold), 3 UNKNOWN (wrong usage or configuration).
    """
    if watch and as_json:
        raise click.UsageError("--watch shows a screen; leave --json out.")
    chosen = chosen_clusters(config, cluster)
    one = chosen.one and not all_clusters
    fleet = chosen.fleet(limit_s=limit, everything=one)
    if watch:
        _watch(fleet, interval, one=one)
        code = Nagios.OK
    else:
        states = fleet.states()
        _show(states, one=one, as_json=as_json)
        code = _CODES[states[0].severity]
    leave_threads_behind(fleet.hanging)
    raise click.exceptions.Exit(code)


def _show(states: Sequence[ClusterState], *, one: bool, as_json: bool) -> None:
    if as_json:
        emit_json([document(state) for state in states])
        return
    echo(headline(states))
    if one:
        show_cluster(states[0])
    else:
        show_fleet(states)


def document(state: ClusterState) -> dict[str, object]:
    """Return one cluster for ``--json``."""
    return {"severity": state.severity, **{n: getattr(state, n) for n in state.__struct_fields__}}


def _watch(fleet: Fleet, interval_s: float, *, one: bool) -> None:
    screen = sys.stdout.isatty()
    try:
        while True:
            states = fleet.states()
            if screen:
                click.echo(_CLEAR, nl=False)
            echo(headline(states).partition(" | ")[0])
            if one:
                show_cluster(states[0])
            else:
                show_fleet(states, most=console().height - 1 if screen else None)
            sys.stdout.flush()
            time.sleep(interval_s)
    except KeyboardInterrupt:
        click.echo()
