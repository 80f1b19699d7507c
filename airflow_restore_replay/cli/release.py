"""``restore-replay release``: withdraw the verdicts against a backup, or a hold, for a person's reason."""

from __future__ import annotations

from typing import Any

import click

from airflow_restore_replay.cli.output import console
from airflow_restore_replay.cli.scope import Scope, person, scoped
from airflow_restore_replay.core.repository.quarantine import release as release_backup
from airflow_restore_replay.core.repository.quarantine import release_hold


@click.command("release")
@click.option("--backup", "backup_id", metavar="ID", help="Withdraw the verdicts against this backup.")
@click.option(
    "--hold", "verdict_id", metavar="ID", help="Let the cluster publish again; `list` names its hold."
)
@click.option("--reason", required=True, help="Why; kept in the repository forever.")
@scoped
def command(scope: Scope, backup_id: str | None, verdict_id: str | None, reason: str) -> None:
    """Withdraw a quarantine or a hold by a new verdict; no record is changed or removed."""
    if not reason.strip():
        raise click.UsageError("--reason must not be empty.")
    if bool(backup_id) == bool(verdict_id):
        raise click.UsageError("Give either --backup or --hold.")
    if backup_id:
        _release_backup(scope, backup_id, reason.strip())
    elif verdict_id:
        repository = scope.repository(write=True)
        verdict = release_hold(repository, verdict_id, by=person(), reason=reason.strip())
        _tell(
            scope,
            {"verdict": verdict, "hold": verdict_id},
            f"Hold {verdict_id} of cluster {repository.cluster} is released: verdict {verdict.verdict_id}.",
        )


def _release_backup(scope: Scope, backup_id: str, reason: str) -> None:
    scope.repository().catalog().backup(backup_id)  # refuse an unknown id before opening for writing
    repository = scope.repository(write=True)
    verdict = release_backup(repository, backup_id, by=person(), reason=reason)
    state = repository.catalog().backup(backup_id).state
    _tell(
        scope,
        {"verdict": verdict, "backup_id": backup_id, "state": state},
        f"Backup {backup_id} is {state} again: verdict {verdict.verdict_id} withdraws "
        f"{', '.join(verdict.withdraws)}.",
    )


def _tell(scope: Scope, document: dict[str, Any], text: str) -> None:
    if scope.as_json:
        scope.emit(document)
    else:
        console().print(text, markup=False, soft_wrap=True)
