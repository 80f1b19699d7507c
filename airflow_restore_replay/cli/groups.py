"""``restore`` and ``drill`` of a whole group: each cluster as of one moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from airflow_restore_replay.cli.interrupt import clean_up_on_sigterm
from airflow_restore_replay.cli.moment import show_moment
from airflow_restore_replay.cli.output import show_table
from airflow_restore_replay.cli.progress import ProgressDisplay
from airflow_restore_replay.cli.scope import GroupScope
from airflow_restore_replay.core.config.units import human_bytes, human_seconds
from airflow_restore_replay.core.jobs.context import Reporter
from airflow_restore_replay.core.recovery.group import Member, drill_group, restore_group
from airflow_restore_replay.core.runtime.recovery import is_volume

#: options of ``restore`` that a group has, too
_SHARED = ("target", "at", "force", "bind")


def restore(scope: GroupScope, **options: Any) -> None:
    """Restore all clusters of a group to one moment, each into a directory of its name."""
    target: str | None = options["target"]
    others = [name for name, value in options.items() if value and name not in _SHARED]
    if others:
        names = {"source": "as_replica_of", "rename": "as", "backup_id": "backup"}
        shown = ", ".join(sorted(f"--{names.get(name, name).replace('_', '-')}" for name in others))
        raise click.UsageError(f"A group is restored with --at, --to and --force alone, without {shown}.")
    if target is None or options["at"] is None:
        raise click.UsageError("A group is restored to one moment: --group needs --at and --to.")
    if is_volume(target):
        raise click.UsageError("A group is restored into a directory of this host.")
    clean_up_on_sigterm()
    with ProgressDisplay(scope.group.name) as display:
        restored = restore_group(
            scope.group.name,
            _members(scope, write=False),
            options["at"],
            Path(target).absolute(),
            force=options["force"],
            report=lambda name: Reporter(display.update),
            say=display.say,
        )
    if scope.as_json:
        scope.emit({"group": scope.group.name, "clusters": msgspec.to_builtins(restored)})
        return
    for each in restored.values():
        show_moment(each)


def drill(scope: GroupScope, latest: bool, on_node: bool) -> None:
    """Drill all clusters of a group to one moment."""
    if on_node:
        raise click.UsageError("A group is drilled on this host, without --on-node.")
    members = _members(scope, write=True)
    clean_up_on_sigterm()
    with ProgressDisplay(scope.group.name) as display:
        measured = drill_group(
            scope.group.name,
            members,
            moment="latest" if latest else members[0].cluster.drill.moments,
            report=lambda name: Reporter(display.update),
            say=display.say,
        )
    if scope.as_json:
        scope.emit({"group": scope.group.name, "clusters": measured})
        return
    rows = [
        [name, found["backup_id"], found["at"], human_bytes(found["bytes"]), human_seconds(found["seconds"])]
        for name, found in measured.items()
    ]
    show_table(["CLUSTER", "BACKUP", "MOMENT", "RESTORED", "TOOK"], rows)


def _members(scope: GroupScope, *, write: bool) -> list[Member]:
    """Open the repositories of all clusters.

    :raises ConfigInvalid: the file lacks a cluster of the group.
    """
    scope.refuse_lacking()
    return [Member(each.cluster, each.repository(write=write)) for each in scope.scopes()]
