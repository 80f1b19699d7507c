"""``restore-replay config``: check the cluster file, all clusters and mistakes at once; print its JSON schema."""

from __future__ import annotations

import click

from airflow_restore_replay.cli.exit_codes import Exit
from airflow_restore_replay.cli.output import console, emit_json
from airflow_restore_replay.cli.scope import config_option, json_option
from airflow_restore_replay.core.config.cluster import Fleet, load_fleet
from airflow_restore_replay.core.config.schema import cluster_file_schema


@click.group("config")
def command() -> None:
    """The cluster file: check it, print its JSON schema."""


@command.command("check")
@config_option
@json_option
def check(config: str, as_json: bool) -> None:
    """Check the cluster file, or a directory of them, and show all mistakes of all clusters and groups.

    Nothing is connected to; `doctor` examines primary, node and store. Exit codes: 0 there is none, 2 there are some.
    """
    fleet = load_fleet(config)
    emit_json(_document(fleet)) if as_json else _show(fleet)
    raise click.exceptions.Exit(Exit.REFUSED if fleet.mistakes else Exit.OK)


@command.command("schema")
def schema() -> None:
    """Print the JSON schema of the cluster file, for an editor's completion or a pipeline."""
    emit_json(cluster_file_schema())


def _document(fleet: Fleet) -> dict[str, object]:
    return {
        "ok": not fleet.mistakes,
        "clusters": {name: name in fleet.clusters for name in fleet.names},
        "groups": {name: list(group.clusters) for name, group in sorted(fleet.groups.items())},
        "mistakes": fleet.mistakes,
    }


def _show(fleet: Fleet) -> None:
    out = console()
    for mistake in fleet.mistakes:
        stops = f" Stops {', '.join(mistake.clusters)}." if len(mistake.clusters) > 1 else ""
        out.print(f"{mistake} {mistake.hint}".rstrip() + stops, markup=False, soft_wrap=True)
    good, count = len(fleet.clusters), len(fleet.names)
    mistakes = f"{len(fleet.mistakes)} {'mistake' if len(fleet.mistakes) == 1 else 'mistakes'}"
    out.print(
        f"{good} of {count} clusters are right; {mistakes} in {fleet.source}.", markup=False, soft_wrap=True
    )
