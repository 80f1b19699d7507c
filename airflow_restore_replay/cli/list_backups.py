"""``restore-replay list``: every backup of a cluster with its derived state."""

from __future__ import annotations

from typing import Any

import click

from airflow_restore_replay.cli.archive_text import show_archive
from airflow_restore_replay.cli.output import console, show_table, when
from airflow_restore_replay.cli.scope import Scope, scoped
from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.overview import Overview
from airflow_restore_replay.core.config.units import human_bytes, human_seconds
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.repository.catalog import Backup, Catalog
from airflow_restore_replay.core.repository.format.records import Manifest, Verdict, utc_now
from airflow_restore_replay.core.repository.verification.records import missing_records


@click.command("list")
@scoped
def command(scope: Scope) -> None:
    """List all backups with their state, newest last, and the moments that the archive leads to."""
    repository = scope.repository()
    catalog, missing = repository.catalog(), missing_records(repository)
    logs = Overview.of(Archive.read(repository), catalog, get_flavor(scope.cluster.flavor))
    if scope.as_json:
        scope.emit(
            {
                "cluster": catalog.cluster,
                "backups": [summary(backup) for backup in catalog.backups],
                "unreadable": dict(catalog.unreadable),
                "missing": missing,
                "archive": logs.document(utc_now()) if logs else None,
            }
        )
        return
    _show(catalog)
    if logs:
        show_archive(logs)
    for path, by in missing.items():
        console(stderr=True).print(f"Missing: {path}: {by}", markup=False, soft_wrap=True)


def summary(backup: Backup) -> dict[str, Any]:
    """Return one backup for ``--json``."""
    manifest = backup.manifest
    return {
        "backup_id": backup.backup_id,
        "state": backup.state,
        "proof": backup.proof,
        "proof_cost": backup.proof_cost,
        "goal_read_at": manifest.goal_read_at,
        "as_of": manifest.as_of,
        "age_s": (utc_now() - manifest.goal_read_at).total_seconds(),
        "base": manifest.base,
        "position": manifest.position,
        "total_bytes": manifest.sizes.total_bytes,
        "new_bytes": manifest.sizes.new_bytes,
        "delta_page_bytes": manifest.sizes.delta_page_bytes,
        "stored_bytes": manifest.sizes.stored_bytes,
        "run": manifest.run,
    }


def base_text(backup: Backup) -> str:
    """Return what filled the node: a backup's id, or for example ``logical seed``."""
    base = backup.manifest.base
    return base.backup_id or f"{base.method} {base.kind}".strip()


def proof_text(backup: Backup) -> str:
    """Return how far *backup* is proven, and what the proof cost if that is known."""
    cost = backup.proof_cost
    if not cost:
        return backup.proof.value
    amounts = [human_bytes(cost.get(name, 0)) for name in ("bytes", "fetched_bytes")]
    return f"{_proof(backup)}: {amounts[0]}, {amounts[1]} of them read from the store"


def _proof(backup: Backup) -> str:
    cost = backup.proof_cost
    return f"{backup.proof} in {human_seconds(cost.get('seconds', 0))}" if cost else backup.proof.value


def _show(catalog: Catalog) -> None:
    if not catalog.backups:
        console().print(f"Cluster {catalog.cluster} has no readable backup.")
    else:
        show_table(
            _COLUMNS,
            [_row(backup) for backup in catalog.backups],
            right=["AGE", "TOTAL", "READ", "STORED"],
            optional=["READ", "STORED", "BASE", "TOTAL", "AGE"],
        )
    for path, why in catalog.unreadable.items():
        console(stderr=True).print(f"Unreadable: {path}: {why}", markup=False, soft_wrap=True)
    for hold in catalog.held_by:
        console(stderr=True).print(
            f"On hold by verdict {hold.verdict_id}: {_why(hold)}", markup=False, soft_wrap=True
        )


def _why(hold: Verdict) -> str:
    return hold.failure.message if hold.failure else hold.reason


#: DATA FROM is when the backup's position was read from the primary, which the age counts from.
_COLUMNS = ["BACKUP", "STATE", "DATA FROM", "AGE", "PROOF", "BASE", "TOTAL", "READ", "STORED"]


def _row(backup: Backup) -> list[str]:
    manifest = backup.manifest
    return [
        backup.backup_id,
        backup.state.value,
        data_time(manifest),
        human_seconds((utc_now() - manifest.goal_read_at).total_seconds()),
        _proof(backup),
        base_text(backup),
        human_bytes(manifest.sizes.total_bytes),
        human_bytes(manifest.sizes.read_bytes),
        human_bytes(manifest.sizes.stored_bytes),
    ]


def data_time(manifest: Manifest) -> str:
    """Return the time of a backup's data; one that was rebuilt as of a past time says so."""
    return f"as of {when(manifest.as_of)}" if manifest.as_of else when(manifest.goal_read_at)
