"""``restore-replay restore``: restore a backup, or some of its tables, and start a server on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from airflow_restore_replay.cli import restore_output
from airflow_restore_replay.cli.credentials import read_password
from airflow_restore_replay.cli.progress import ProgressDisplay
from airflow_restore_replay.cli.scope import Scope, scoped
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.jobs.context import Reporter
from airflow_restore_replay.core.recovery.copy_server import CopyRequest
from airflow_restore_replay.core.recovery.restore import choose_backup
from airflow_restore_replay.core.recovery.selection import Selection
from airflow_restore_replay.core.recovery.session import RestoreSession, Wish
from airflow_restore_replay.core.recovery.source import server_at


@click.command("restore")
@click.option("--to", "target", required=True, type=click.Path(path_type=Path), metavar="DIR")
@click.option("--backup", "backup_id", metavar="ID", help="Default: the newest healthy backup.")
@click.option("--tables", metavar="LIST", help="Only these, as shop.orders,shop.o%.")
@click.option("--databases", metavar="LIST", help="Only the tables of these.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
@click.option("--force", is_flag=True, help="Replace everything in DIR.")
@click.option("--quarantined", is_flag=True, help="Restore even a quarantined backup.")
@click.option("--start", is_flag=True, help="Run a server on it: read-only, on a socket, no network.")
@click.option("--port", type=click.IntRange(1, 65535), help="The server listens there, too; implies --start.")
@click.option("--bind", default="127.0.0.1", metavar="ADDRESS", help="Address of --port.", show_default=True)
@click.option("--writable", is_flag=True, help="The server is not read-only; implies --start.")
@click.option("--as-primary", is_flag=True, help="It takes the primary's place; implies --start.")
@click.option(
    "--as-replica-of",
    "source",
    metavar="[USER@]HOST[:PORT]",
    help="It replicates from there; the password is read from standard input. Implies --start.",
)
@scoped
def command(scope: Scope, target: Path, dry_run: bool, **options: Any) -> None:
    """Restore a backup into an empty directory, or resume an interrupted restore.

    With --start, a server runs on it and goes on running. Neither Airflow nor the primary is needed.
    """
    repository = scope.repository()
    catalog = repository.catalog()
    backup = choose_backup(catalog, options["backup_id"], allow_quarantined=options["quarantined"])
    wish = Wish(
        target=target.absolute(),
        only=Selection.of(options["tables"], options["databases"]),
        copy=_copy(scope, options),
        force=options["force"],
    )
    with ProgressDisplay(scope.cluster.name) as display:
        session = RestoreSession(scope.cluster, repository, catalog, backup, wish, Reporter(display.update))
        plan = session.plan()
        if not dry_run:
            session.refuse(plan)
            restored = session.restore()
            running, role = session.serve(restored) if wish.copy else (None, None)
    if dry_run:
        scope.emit(msgspec.to_builtins(plan)) if scope.as_json else restore_output.show_plan(plan)
        session.refuse(plan)
        return
    hints = [*get_flavor(backup.manifest.flavor).restore_hints(), *restore_output.ownership(wish.target)]
    if scope.as_json:
        commands = running.commands if running else session.commands(restored)
        answer = msgspec.to_builtins(restored) | {"hints": hints, "state": backup.state, "commands": commands}
        scope.emit(answer | {"server": running, "role": role, "tables": plan.tables})
    elif running and role:
        restore_output.show_running(restored, running, role)
    else:
        restore_output.show_files(restored, session.commands(restored), hints)


def _copy(scope: Scope, options: dict[str, Any]) -> CopyRequest | None:
    """Return how a server is to run on the restored files; None if none is asked for."""
    if options["as_primary"] and options["source"]:
        raise click.UsageError("--as-primary and --as-replica-of exclude each other.")
    whole = options["as_primary"] or options["source"]
    if whole and (options["tables"] or options["databases"]):
        raise click.UsageError("A copy of some tables can be neither a primary nor a replica.")
    if not (whole or options["start"] or options["port"] or options["writable"]):
        return None
    source = None
    if options["source"]:
        usual = scope.cluster.primary
        source = server_at(options["source"], "", usual)
        source = msgspec.structs.replace(source, password=read_password(f"{source!r}"))
    return CopyRequest(
        port=options["port"],
        bind=options["bind"],
        writable=options["writable"],
        primary=options["as_primary"],
        source=source,
    )
