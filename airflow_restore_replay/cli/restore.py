"""``restore-replay restore``: restore a backup, or some of its tables, and start a server on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from airflow_restore_replay.cli.progress import ProgressDisplay
from airflow_restore_replay.cli.scope import Scope, person, scoped_or_grouped
from airflow_restore_replay.core.errors import PreflightFailed
from airflow_restore_replay.core.flavor.values import Endpoint
from airflow_restore_replay.core.jobs.context import Reporter
from airflow_restore_replay.core.recovery.copy_server import Commands, CopyRequest
from airflow_restore_replay.core.recovery.measurements import (
    PLAN,
    RESTORE,
    START_RESTORED,
    Clock,
    record_restore,
)
from airflow_restore_replay.core.recovery.moment.outline import MomentPlan
from airflow_restore_replay.core.recovery.moment.unfinished import RestoredToMoment
from airflow_restore_replay.core.recovery.moment.wanted import Wanted
from airflow_restore_replay.core.recovery.moment_session import MomentSession
from airflow_restore_replay.core.recovery.plan import Plan
from airflow_restore_replay.core.recovery.restore import Restored, choose_backup
from airflow_restore_replay.core.recovery.scratch import scratch_directory
from airflow_restore_replay.core.recovery.selection import Selection
from airflow_restore_replay.core.recovery.service import Served, serve
from airflow_restore_replay.core.recovery.session import RestoreSession, Wish
from airflow_restore_replay.core.recovery.source import server_at


@click.command("restore")
@click.option("--to", "target", type=click.Path(path_type=Path), metavar="DIR", help="An empty directory.")
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
@moment_options
@scoped_or_grouped(groups.restore)
def command(scope: Scope, target: Path | None, dry_run: bool, **options: Any) -> None:
    """Restore a backup into an empty directory, or resume an interrupted restore.

    With --at, --before-gtid, --to-gtid or --latest, archived binary logs are replayed on the newest backup from before
    that moment. With --start, a server runs on it and goes on running. With --dump and --into, tables are taken out of
    a server that runs as long as this takes; then DIR may be left out. Neither Airflow nor the primary is needed.

    With --group and --at, every cluster of the group is restored to that moment, each into a directory of its name in
    DIR; all are examined before any is written.
    """
    clean_up_on_sigterm()
    wanted = moment_of(options)
    if wanted:
        refuse_with_moment(options)
    with ExitStack() as stack:
        kept = target is not None
        if target is None:
            if not (options["dump"] or options["into"]) or _copy_options(options):
                raise click.UsageError("Missing option '--to'.")
            workdir = Path(scope.cluster.node.workdir)
            # A dry run makes no directory.
            target = (
                workdir / "restore" if dry_run else stack.enter_context(scratch_directory(workdir))
            ) / "data"
        wish = _wish(scope, target.absolute(), options)
        restoring = _Restoring(scope, wish, wanted, kept=kept)
        answer = restoring.run(dry_run=dry_run, **_chosen(options))
    answer()


class _Restoring:
    """One call of the command.

    :param wanted: the moment; None for a backup alone.
    :param kept: the restored copy stays after the call.
    """

    def __init__(self, scope: Scope, wish: Wish, wanted: Wanted | None, *, kept: bool) -> None:
        self.scope = scope
        self.wish = wish
        self.wanted = wanted
        self.kept = kept
        self.display = ProgressDisplay(scope.cluster.name)

    def run(
        self, *, backup_id: str | None, quarantined: bool, yes: bool, dry_run: bool
    ) -> Callable[[], None]:
        """Restore, and return what shows the answer."""
        clock = Clock()
        with self.display:
            session = self._session(backup_id, quarantined)
            if not dry_run:
                session.take_over()
            plan = session.plan()
        if dry_run:
            return partial(_show_plan, self.scope, session, plan)
        session.refuse(plan)
        if self.wish.in_place and not yes:
            _confirm(session)
        clock.passed(PLAN)
        with self.display:
            restored = session.restore()
            clock.passed(RESTORE)
            served, commands = _served(session, restored)
            clock.passed(START_RESTORED)
            self._record(restored, clock)
        return partial(_show, self.scope, session, plan.tables, restored, served, commands)

    def _session(self, backup_id: str | None, quarantined: bool) -> RestoreSession:
        repository, report = self.scope.repository(), Reporter(self.display.update)
        cluster, wish = self.scope.cluster, self.wish
        if self.wanted:
            return MomentSession(cluster, repository, self.wanted, wish, report, self.display.say)
        catalog = repository.catalog()
        backup = choose_backup(catalog, backup_id, allow_quarantined=quarantined)
        return RestoreSession(cluster, repository, catalog, backup, wish, report)

    def _record(self, restored: Restored, clock: Clock) -> None:
        """Record what the restore of a whole server into a real target took."""
        wish = self.wish
        if not self.kept or wish.only or wish.in_place:
            return
        phases = {} if isinstance(restored, RestoredToMoment) else {PLAN: clock.seconds[PLAN]}
        if wish.copy and not (wish.dump or wish.into):
            phases[START_RESTORED] = clock.seconds[START_RESTORED]
        record_restore(
            partial(self.scope.repository, write=True),
            restored,
            phases,
            clock.whole,
            by=person(),
            warn=self.display.say,
        )


def _served(session: RestoreSession, restored: Restored) -> tuple[Served, Commands]:
    """Use a server on the restored copy as it is asked for, and return what came of it, with the server's commands."""
    served = serve(session, restored) if session.wish.runs else Served()
    return served, served.running.commands if served.running else session.commands(restored)


def _confirm(session: RestoreSession) -> None:
    """Let the user type the directory's name before its content is replaced."""
    target = session.wish.target
    fate = (
        "is kept until the new one is whole"
        if session.keeps_old
        else "is LOST at once: there is no room for both"
    )
    click.echo(f"Everything in {target} becomes {session.becomes}. The old state {fate}.", err=True)
    if click.prompt(f"Type {target} to go on", err=True, default="", show_default=False) != str(target):
        raise PreflightFailed(
            "The directory was not confirmed; nothing was changed.", hint="For scripts: --yes."
        )


def _show_plan(scope: Scope, session: RestoreSession, plan: Plan) -> None:
    if scope.as_json:
        scope.emit(msgspec.to_builtins(plan))
    elif isinstance(plan, MomentPlan):
        show_moment_plan(plan)
    else:
        restore_output.show_plan(plan)
    session.refuse(plan)


def _show(
    scope: Scope,
    session: RestoreSession,
    tables: Sequence[str],
    restored: Restored,
    served: Served,
    commands: Commands,
) -> None:
    if isinstance(restored, RestoredToMoment) and not scope.as_json:
        show_moment(restored)
    hints = [*session.server_flavor.restore_hints(), *restore_output.ownership(session.wish.target)]
    if scope.as_json:
        answer = msgspec.to_builtins(restored) | {"hints": hints, "state": session.backup.state}
        scope.emit(answer | {"commands": commands, "tables": tables} | msgspec.to_builtins(served))
    elif served.dumped or served.loaded:
        restore_output.show_taken(served)
    if scope.as_json:
        return
    if served.running:
        restore_output.show_running(restored, served.running, served.role)
    elif not (served.dumped or served.loaded):
        restore_output.show_files(restored, commands, hints)


def _chosen(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("backup_id", "quarantined", "yes")}


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
