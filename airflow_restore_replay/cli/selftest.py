"""``restore-replay selftest``: would damage to the newest backup be found?"""

from __future__ import annotations

import click
import msgspec

from airflow_restore_replay.cli.exit_codes import Exit
from airflow_restore_replay.cli.output import console, show_table
from airflow_restore_replay.cli.scope import Scope, scoped
from airflow_restore_replay.core.key_sources import read_keys
from airflow_restore_replay.core.recovery.restore import choose_backup
from airflow_restore_replay.core.recovery.selftest import SelftestReport, selftest


@click.command("selftest")
@click.option("--backup", "backup_id", metavar="ID", help="Instead of the newest healthy one.")
@scoped
def command(scope: Scope, backup_id: str | None) -> None:
    """Damage copies of a backup's metadata and of some of its contents in every way, and tell what found it.

    The copies are in a temporary directory; the repository is only read. Exit codes: 0 all was found, and nothing
    in the copy that nobody damaged; 70 not so.
    """
    repository = scope.repository()
    manifest = choose_backup(repository.catalog(), backup_id).manifest
    report = selftest(repository, manifest, read_keys(scope.cluster.repository.encryption))
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
