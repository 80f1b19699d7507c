"""``restore-replay restore``: restore a backup, or some of its tables, and start a server on it."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from airflow_restore_replay.cli import groups, restore_output
from airflow_restore_replay.cli.credentials import read_password
from airflow_restore_replay.cli.interrupt import clean_up_on_sigterm
from airflow_restore_replay.cli.moment import (
    moment_of,
    moment_options,
    refuse_with_moment,
    show_moment,
    show_moment_plan,
)
from airflow_restore_replay.cli.on_node import refuse_unconfirmed, restore_on_node
from airflow_restore_replay.cli.progress import ProgressDisplay
from airflow_restore_replay.cli.scope import Scope, person, scoped_or_grouped
from airflow_restore_replay.core.errors import PreflightFailed
from airflow_restore_replay.core.flavor.values import Endpoint
from airflow_restore_replay.core.jobs.context import Reporter
from airflow_restore_replay.core.recovery.copy_server import CopyRequest
from airflow_restore_replay.core.recovery.errand import Done, Errand
from airflow_restore_replay.core.recovery.measurements import record_restore
from airflow_restore_replay.core.recovery.moment.outline import MomentPlan
from airflow_restore_replay.core.recovery.order import Order, passwords_of
from airflow_restore_replay.core.recovery.plan import Plan
from airflow_restore_replay.core.recovery.scratch import scratch_directory
from airflow_restore_replay.core.recovery.selection import Selection
from airflow_restore_replay.core.recovery.session import RestoreSession, Wish, refuse_plan
from airflow_restore_replay.core.recovery.source import server_at
from airflow_restore_replay.core.runtime.recovery import Place, is_volume


@click.command("restore")
@click.option("--to", "target", metavar="DIR", help="An empty directory, or volume:NAME of Docker.")
@click.option("--backup", "backup_id", metavar="ID", help="Default: the newest healthy backup.")
@click.option("--tables", metavar="LIST", help="Only these, as shop.orders,shop.o%.")
@click.option("--databases", metavar="LIST", help="Only the tables of these.")
@click.option("--dump", type=click.Path(path_type=Path), metavar="FILE.sql.zst", help="Write a dump.")
@click.option(
    "--into",
    metavar="[USER@]HOST[:PORT]",
    help="Put the tables into this server; the password is read from standard input.",
)
@click.option("--as", "rename", metavar="NAME", help="Name of the table there, or schema.% for several.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
@click.option("--force", is_flag=True, help="Replace everything in DIR.")
@click.option("--in-place", is_flag=True, help="DIR is a broken data directory: fetch only what differs.")
@click.option("--yes", is_flag=True, help="Do not ask before --in-place.")
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
@click.option(
    "--on-node", is_flag=True, help="Restore on the host of the cluster's nodes, as node.runtime says."
)
@moment_options
@scoped_or_grouped(groups.restore)
def command(
    scope: Scope,
    target: str | None,
    dry_run: bool,
    on_node: bool,
    yes: bool,
    backup_id: str | None,
    quarantined: bool,
    **options: Any,
) -> None:
    """Restore a backup into an empty directory, or resume an interrupted restore.

    With --at, --before-gtid, --to-gtid or --latest, archived binary logs are replayed on the newest backup from before
    that moment. With --start, a server runs on it and goes on running. With --dump and --into, tables are taken out of
    a server that runs as long as this takes; then DIR may be left out. Neither Airflow nor the primary is needed.

    With --group and --at, every cluster of the group is restored to that moment, each into a directory of its name in
    DIR; all are examined before any is written.

    With --on-node, all of this happens on the host of the cluster's nodes, and DIR is a directory there. If they are
    Docker's, --to volume:NAME restores into a volume.
    """
    clean_up_on_sigterm()
    data = {"wanted": moment_of(options), "backup_id": backup_id or "", "quarantined": quarantined}
    if data["wanted"]:
        refuse_with_moment(options | data)
    if target is None and (not (options["dump"] or options["into"]) or _copy_options(options)):
        raise click.UsageError("Missing option '--to'.")
    how = {"dry_run": dry_run, "yes": yes}
    if on_node or is_volume(target or ""):
        answer = _restore_on_node(scope, target or "", options, data, **how)
    else:
        answer = _restore_here(scope, target, options, data, **how)
    _show_plan(scope, answer) if isinstance(answer, Plan) else _show(scope, answer)


def _restore_here(
    scope: Scope,
    target: str | None,
    options: dict[str, Any],
    data: dict[str, Any],
    *,
    dry_run: bool,
    yes: bool,
) -> Done | Plan:
    """Restore on this host; a dry run returns the plan.

    :param data: which data, as fields of :class:`Errand`.
    """
    with ExitStack() as stack:
        kept = target is not None
        if target is None:
            workdir = Path(scope.cluster.node.workdir)
            # A dry run makes no directory.
            scratch = workdir / "restore" if dry_run else stack.enter_context(scratch_directory(workdir))
            target = str(scratch / "data")
        wish = _wish(scope, Path(target).absolute(), options)
        display = stack.enter_context(ProgressDisplay(scope.cluster.name))
        report = Reporter(display.update)
        errand = Errand(scope.repository(), scope.cluster, wish, report, **data, kept=kept, say=display.say)
        if dry_run:
            return errand.plan()
        done = errand.run(partial(_confirm, display, yes=yes))
        _record(scope, done, display)
        return done


def _restore_on_node(
    scope: Scope, target: str, options: dict[str, Any], data: dict[str, Any], *, dry_run: bool, yes: bool
) -> Done | Plan:
    """Restore on the host of the cluster's nodes; a dry run returns the plan.

    :param data: which data, as fields of :class:`Order`.
    """
    place = Place.of(scope.cluster, target)
    if options["dump"] and not Path(options["dump"]).is_absolute():
        raise click.UsageError("--dump is a file of the node's host: write the whole path.")
    wish = _wish(scope, Path(place.directory), options)
    order = Order.of(wish, **data, dry_run=dry_run)
    if not place.directory:
        order = msgspec.structs.replace(order, target="")
    refuse_unconfirmed(order, yes=yes)
    with ProgressDisplay(scope.cluster.name) as display:
        answer = restore_on_node(scope, place, order, passwords_of(wish), display)
        if isinstance(answer, Done):
            _record(scope, answer, display)
        return answer


def _record(scope: Scope, done: Done, display: ProgressDisplay) -> None:
    """Record what the restore took, wherever it ran: its own job only reads the repository."""
    record_restore(partial(scope.repository, write=True), done.measured, by=person(), warn=display.say)


def _confirm(display: ProgressDisplay, session: RestoreSession, *, yes: bool) -> None:
    """Let the user type the directory's name before its content is replaced."""
    target = session.wish.target
    if yes or not session.wish.in_place:
        return
    fate = (
        "is kept until the new one is whole"
        if session.keeps_old
        else "is LOST at once: there is no room for both"
    )
    with display.paused():
        click.echo(f"Everything in {target} becomes {session.becomes}. The old state {fate}.", err=True)
        typed = click.prompt(f"Type {target} to go on", err=True, default="", show_default=False)
    if typed != str(target):
        raise PreflightFailed(
            "The directory was not confirmed; nothing was changed.", hint="For scripts: --yes."
        )


def _show_plan(scope: Scope, plan: Plan) -> None:
    if scope.as_json:
        scope.emit(msgspec.to_builtins(plan))
    elif isinstance(plan, MomentPlan):
        show_moment_plan(plan)
    else:
        restore_output.show_plan(plan)
    refuse_plan(plan)


def _show(scope: Scope, done: Done) -> None:
    restored, served = done.moment or done.restored, done.served
    if scope.as_json:
        answer = msgspec.to_builtins(restored) | {"hints": done.hints, "state": done.state}
        scope.emit(answer | {"commands": done.commands, "tables": done.tables} | msgspec.to_builtins(served))
        return
    if done.moment:
        show_moment(done.moment)
    if served.dumped or served.loaded:
        restore_output.show_taken(served)
    if served.running:
        restore_output.show_running(restored, served.running, served.role)
    elif not (served.dumped or served.loaded):
        restore_output.show_files(restored, done.commands, done.hints)


def _copy_options(options: dict[str, Any]) -> bool:
    return any(options[name] for name in ("start", "port", "writable", "as_primary", "source"))


def _wish(scope: Scope, target: Path, options: dict[str, Any]) -> Wish:
    only = Selection.of(options["tables"], options["databases"])
    whole = options["as_primary"] or options["source"]
    if options["as_primary"] and options["source"]:
        raise click.UsageError("--as-primary and --as-replica-of exclude each other.")
    if whole and only:
        raise click.UsageError("A copy of some tables can be neither a primary nor a replica.")
    if options["into"] and (not only or options["source"]):
        raise click.UsageError("--into needs --tables or --databases, and goes without --as-replica-of.")
    if options["rename"] and not options["into"]:
        raise click.UsageError("--as is the name of a table in the server that --into names.")
    if options["in_place"] and (only or options["force"]):
        raise click.UsageError("--in-place restores the whole backup, and goes without --force.")
    copy = None
    if _copy_options(options):
        copy = CopyRequest(
            port=options["port"],
            bind=options["bind"],
            writable=options["writable"],
            primary=options["as_primary"],
            source=_server(scope, options["source"]),
        )
    return Wish(
        target=target,
        only=only,
        copy=copy,
        force=options["force"],
        in_place=options["in_place"],
        dump=options["dump"].absolute() if options["dump"] else None,
        into=_server(scope, options["into"]),
        rename=options["rename"],
    )


def _server(scope: Scope, text: str | None) -> Endpoint | None:
    """Return the endpoint that *text* names, with the password from standard input."""
    if not text:
        return None
    server = server_at(text, "", scope.cluster.primary)
    return msgspec.structs.replace(server, password=read_password(str(server)))
