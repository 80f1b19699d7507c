"""Operators of the cycle, for the shipped DAG and your own, imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_restore_replay.operators.archive import ArchiveBinlogsOperator as ArchiveBinlogsOperator
    from airflow_restore_replay.operators.choose_base import ChooseBaseOperator as ChooseBaseOperator
    from airflow_restore_replay.operators.diagnose import DiagnoseCycleOperator as DiagnoseCycleOperator
    from airflow_restore_replay.operators.jobs import RestoreBackupOperator as RestoreBackupOperator
    from airflow_restore_replay.operators.jobs import SeedNodeOperator as SeedNodeOperator
    from airflow_restore_replay.operators.jobs import SnapshotOperator as SnapshotOperator
    from airflow_restore_replay.operators.jobs import ValidateReplicaOperator as ValidateReplicaOperator
    from airflow_restore_replay.operators.lease import AcquireLeaseOperator as AcquireLeaseOperator
    from airflow_restore_replay.operators.lease import ReleaseLeaseOperator as ReleaseLeaseOperator
    from airflow_restore_replay.operators.node import CreateReplayNodeOperator as CreateReplayNodeOperator
    from airflow_restore_replay.operators.node import DestroyReplayNodeOperator as DestroyReplayNodeOperator
    from airflow_restore_replay.operators.prune import PruneOperator as PruneOperator
    from airflow_restore_replay.operators.published import PublishedOperator as PublishedOperator
    from airflow_restore_replay.operators.published import backup_asset as backup_asset
    from airflow_restore_replay.operators.quarantine import (
        QuarantineBackupOperator as QuarantineBackupOperator,
    )
    from airflow_restore_replay.operators.restore_to import RestoreDrillOperator as RestoreDrillOperator
    from airflow_restore_replay.operators.restore_to import RestoreToOperator as RestoreToOperator

_HOMES = {
    "AcquireLeaseOperator": "lease",
    "ArchiveBinlogsOperator": "archive",
    "ChooseBaseOperator": "choose_base",
    "CreateReplayNodeOperator": "node",
    "DestroyReplayNodeOperator": "node",
    "DiagnoseCycleOperator": "diagnose",
    "PruneOperator": "prune",
    "PublishedOperator": "published",
    "QuarantineBackupOperator": "quarantine",
    "ReleaseLeaseOperator": "lease",
    "RestoreBackupOperator": "jobs",
    "RestoreDrillOperator": "restore_to",
    "RestoreToOperator": "restore_to",
    "SeedNodeOperator": "jobs",
    "SnapshotOperator": "jobs",
    "ValidateReplicaOperator": "jobs",
    "backup_asset": "published",
}
__all__ = [
    "AcquireLeaseOperator",
    "ArchiveBinlogsOperator",
    "ChooseBaseOperator",
    "CreateReplayNodeOperator",
    "DestroyReplayNodeOperator",
    "DiagnoseCycleOperator",
    "PruneOperator",
    "PublishedOperator",
    "QuarantineBackupOperator",
    "ReleaseLeaseOperator",
    "RestoreBackupOperator",
    "RestoreDrillOperator",
    "RestoreToOperator",
    "SeedNodeOperator",
    "SnapshotOperator",
    "ValidateReplicaOperator",
    "backup_asset",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
