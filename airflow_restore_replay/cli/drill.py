"""``restore-replay drill``: restore to a moment for practice, and record what it took."""

from __future__ import annotations

from typing import Any

import click

from airflow_restore_replay.cli import groups
from airflow_restore_replay.cli.interrupt import clean_up_on_sigterm
from airflow_restore_replay.cli.on_node import drill_on_node
from airflow_restore_replay.cli.output import show_pairs
from airflow_restore_replay.cli.progress import ProgressDisplay
from airflow_restore_replay.cli.scope import Scope, scoped_or_grouped
from airflow_restore_replay.core.config.units import human_bytes, human_seconds
from airflow_restore_replay.core.flavor.values import position_text
from airflow_restore_replay.core.jobs.context import Reporter
from airflow_restore_replay.core.recovery.drill import drill


@click.command("drill")
@click.option("--latest", is_flag=True, help="Restore all that is archived instead of a random moment.")
@click.option(
    "--on-node", is_flag=True, help="Restore on the host of the cluster's nodes, as node.runtime says."
)
@scoped_or_grouped(groups.drill)
def command(scope: Scope, latest: bool, on_node: bool) -> None:
    """Restore to a random moment of the window without the primary, start and check it, and throw it away.

    What it took is recorded for `report`. Damage quarantines the backup that it is in. With --group, all clusters of
    the group are restored to one moment that all of them reach.
    """
    clean_up_on_sigterm()
    moment = "latest" if latest else scope.cluster.drill.moments
    measured = drill_on_node(scope, moment) if on_node else _drill(scope, moment)
    if scope.as_json:
        scope.emit(measured)
    else:
        show_pairs(_pairs(measured))


def _drill(scope: Scope, moment: str) -> dict[str, Any]:
    with ProgressDisplay(scope.cluster.name) as display:
        return drill(
            scope.repository(write=True),
            scope.cluster,
            moment=moment,
            report=Reporter(display.update),
            say=display.say,
        )


def _pairs(measured: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("Backup", str(measured["backup_id"])),
        ("Moment", str(measured["at"] or measured["wanted"])),
        ("Position", position_text(measured["position"])),
        ("Restored", f"{human_bytes(measured['bytes'])} in {measured['files']} files"),
        ("Replayed", f"{measured['transactions']} transactions, {human_bytes(measured['log_bytes'])}"),
        *(("Phase", f"{name}: {human_seconds(seconds)}") for name, seconds in measured["phases"].items()),
        ("Took", human_seconds(measured["seconds"])),
    ]
