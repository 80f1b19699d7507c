"""``restore-replay selftest``: check that damage to the newest backup would be found."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from airflow_restore_replay.cli.connections import repository_keys
from airflow_restore_replay.cli.exit_codes import Exit
from airflow_restore_replay.cli.interrupt import clean_up_on_sigterm
from airflow_restore_replay.cli.output import console, show_table
from airflow_restore_replay.cli.progress import ProgressDisplay
from airflow_restore_replay.cli.scope import Scope, scoped
from airflow_restore_replay.core.recovery.restore import choose_backup
from airflow_restore_replay.core.recovery.selftest import SelftestReport, selftest


@click.command("selftest")
@click.option("--backup", "backup_id", metavar="ID", help="Default: the newest healthy backup.")
@click.option(
    "--metadata-only", is_flag=True, help="Leave out the faults in the data, which need two copies of it."
)
@click.option(
    "--workdir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="For the copies; default: the system's directory for temporary files.",
)
@scoped
def command(scope: Scope, backup_id: str | None, metadata_only: bool, workdir: Path | None) -> None:
    """Damage copies of a backup, one fault after the other, and show what found each.

    The copies are of its metadata, of some of its contents and, with servers on this host, of its data. They are in a
    temporary directory; the repository is only read. Exit codes: 0 all faults were found, and none in the undamaged
    copy, 70 otherwise.
    """
    clean_up_on_sigterm()
    repository = scope.repository()
    manifest = choose_backup(repository.catalog(), backup_id).manifest
    with ProgressDisplay(scope.cluster.name) as display:
        report = selftest(
            repository,
            manifest,
            repository_keys(scope.cluster),
            cluster=None if metadata_only else scope.cluster,
            workdir=workdir,
            tell=display.say,
        )
    if scope.as_json:
        scope.emit(msgspec.to_builtins(report) | {"ok": report.ok})
    else:
        _show(report)
    raise click.exceptions.Exit(Exit.OK if report.ok else Exit.INTERNAL)


def _show(report: SelftestReport) -> None:
    control = _named(report.control) or "nothing found, as it should be"
    rows = [["", "none: the control", control]]
    for tried in report.tried:
        found = _named(tried.found_by) or "NOTHING"
        rows.append([tried.row, tried.fault, f"not tried: {tried.left_out}" if tried.left_out else found])
    show_table(["ROW", "FAULT", "FOUND BY"], rows)
    done = [tried for tried in report.tried if not tried.left_out]
    found_too = sum(bool(tried.found_by) for tried in done)
    console().print(
        f"{found_too} of {len(done)} faults in copies of {report.backup_id} were found.", markup=False
    )


def _named(found: dict[str, str]) -> str:
    return "; ".join(f"{by}: {code}" for by, code in found.items())
