"""``restore-replay release``: a person withdraws what stands against a backup, with a reason."""

from __future__ import annotations

import click

from airflow_restore_replay.cli.output import console
from airflow_restore_replay.cli.scope import Scope, person, scoped
from airflow_restore_replay.core.steps import release as release_backup


@click.command("release")
@click.option("--backup", "backup_id", required=True, metavar="ID")
@click.option("--reason", required=True, help="Why; kept in the repository for ever.")
@scoped
def command(scope: Scope, backup_id: str, reason: str) -> None:
    """Withdraw a quarantine by a new verdict; nothing that was recorded is changed or removed."""
    if not reason.strip():
        raise click.UsageError("--reason must say something.")
    scope.repository().catalog().backup(backup_id)  # before anything is opened for writing
    repository = scope.repository(write=True)
    verdict = release_backup(repository, backup_id, by=person(), reason=reason.strip())
    state = repository.catalog().backup(backup_id).state
    if scope.as_json:
        scope.emit({"verdict": verdict, "backup_id": backup_id, "state": state})
        return
    console().print(
        f"Backup {backup_id} is {state} again: verdict {verdict.verdict_id} withdraws "
        f"{', '.join(verdict.withdraws)}.",
        markup=False,
        soft_wrap=True,
    )
