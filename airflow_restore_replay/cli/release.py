"""``restore-replay release``: a person withdraws what stands against a backup or a cluster, with a reason."""

from __future__ import annotations

from typing import Any

import click

from airflow_restore_replay.cli.output import console
from airflow_restore_replay.cli.scope import Scope, person, scoped
from airflow_restore_replay.core.repository.quarantine import release as release_backup
from airflow_restore_replay.core.repository.quarantine import release_hold


@click.command("release")
@click.option("--backup", "backup_id", metavar="ID", help="Withdraw what stands against this backup.")
@click.option(
    "--hold", "verdict_id", metavar="ID", help="Let the cluster publish again; `list` names its hold."
)
@click.option("--reason", required=True, help="Why; kept in the repository for ever.")
@scoped
def command(scope: Scope, backup_id: str | None, verdict_id: str | None, reason: str) -> None:
    """Withdraw a quarantine or a hold by a new verdict; nothing that was recorded is changed or removed."""
    if not reason.strip():
        raise click.UsageError("--reason must say something.")
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
            f"Cluster {repository.cluster} is not held by {verdict_id} any more: verdict {verdict.verdict_id}.",
        )


def _release_backup(scope: Scope, backup_id: str, reason: str) -> None:
    scope.repository().catalog().backup(backup_id)  # before anything is opened for writing
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
