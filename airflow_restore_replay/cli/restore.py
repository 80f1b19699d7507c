"""``restore-replay restore``: restore a backup into a directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import msgspec

from airflow_restore_replay.cli.moment import document, moment_options, restore_moment, show_moment
from airflow_restore_replay.cli.output import console
from airflow_restore_replay.cli.progress import ProgressDisplay
from airflow_restore_replay.cli.scope import Scope, scoped
from airflow_restore_replay.core.config.units import human_bytes, human_seconds
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.jobs.context import Reporter
from airflow_restore_replay.core.recovery.moment.unfinished import RestoredToMoment
from airflow_restore_replay.core.recovery.moment.wanted import wanted_of
from airflow_restore_replay.core.recovery.restore import Restored, choose_backup, restore_backup


@click.command("restore")
@click.option("--to", "target", required=True, type=click.Path(path_type=Path), metavar="DIR")
@click.option("--backup", "backup_id", metavar="ID", help="Default: the newest healthy backup.")
@click.option("--force", is_flag=True, help="Replace everything in DIR.")
@click.option("--quarantined", is_flag=True, help="Restore even a quarantined backup.")
@moment_options
@scoped
def command(
    scope: Scope, target: Path, backup_id: str | None, force: bool, quarantined: bool, **moment: Any
) -> None:
    """Restore a backup into an empty directory, or resume an interrupted restore.

    With --at, --before-gtid, --to-gtid or --latest, archived binary logs are replayed on the newest backup from before
    that moment. A server can then be started on the directory. Neither Airflow nor the primary is needed.
    """
    if wanted := wanted_of(**moment):
        if backup_id or quarantined:
            raise click.UsageError("--backup and --quarantined name a backup; a moment chooses its own.")
        reached = restore_moment(scope, target.absolute(), wanted, force=force)
        hints = [*get_flavor(scope.cluster.flavor).restore_hints(), *_ownership(target)]
        if scope.as_json:
            scope.emit(document(reached) | {"hints": hints})
            return
        show_moment(reached)
        _show_after(reached, hints)
        return
    repository = scope.repository()
    backup = choose_backup(repository.catalog(), backup_id, allow_quarantined=quarantined)
    with ProgressDisplay(scope.cluster.name) as display:
        report = Reporter(display.update)
        report.phase("restoring", detail=backup.backup_id)
        restored = restore_backup(
            repository,
            backup.manifest,
            target.absolute(),
            transfer=scope.cluster.transfer,
            force=force,
            progress=report.count,
        )
    hints = [*get_flavor(backup.manifest.flavor).restore_hints(), *_ownership(target)]
    if scope.as_json:
        scope.emit(msgspec.to_builtins(restored) | {"hints": hints, "state": backup.state})
        return
    _show(restored, hints)


def _show(restored: Restored, hints: list[str]) -> None:
    fetched = f", {human_bytes(restored.fetched_bytes)} of it fetched" if restored.resumed else ""
    lines = [
        f"Backup {restored.backup_id} is restored into {restored.target}: "
        f"{human_bytes(restored.bytes)}{fetched} in {human_seconds(restored.seconds)}.",
        f"Its position is {restored.position}.",
    ]
    for line in lines:
        console().print(line, markup=False, soft_wrap=True)
    _show_after(restored, hints)


def _show_after(restored: Restored | RestoredToMoment, hints: list[str]) -> None:
    lines = [*_started_with(restored), *(f"- {hint}" for hint in hints)]
    if restored.event_sql:
        lines += ["- Events are disabled as on a replica. If this becomes a primary:", *restored.event_sql]
    for line in lines:
        console().print(line, markup=False, soft_wrap=True)


def _started_with(restored: Restored | RestoredToMoment) -> list[str]:
    if not restored.option_file:
        return []
    return [
        f"- Start the copy with the options in {restored.option_file}, the primary's settings that the data depend on."
    ]


def _ownership(target: Path) -> list[str]:
    if os.geteuid() != 0:
        return []
    return [f"The files belong to root; for the packaged service: chown -R mysql:mysql {target.absolute()}"]
