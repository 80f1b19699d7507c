"""Tasks for the jobs of the agent, one for each. Catch-up is a sensor: :mod:`airflow_restore_replay.sensors`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_restore_replay.core.jobs.protocol import JobName
from airflow_restore_replay.operators.base import NodeJobOperator


class RestoreBackupOperator(NodeJobOperator):
    """Task that restores a backup into an empty replay node and starts its server.

    Returns ``backup_id, position, seconds, bytes, fetched_bytes``.

    :param backup_id: the backup, for example ``choose_base.output["backup_id"]``.
    :param standalone: skip the preflight, which needs the primary; for drills without the primary.
    """

    job = JobName.RESTORE
    template_fields: Sequence[str] = (*NodeJobOperator.template_fields, "backup_id")
    ui_color = "#cfe3f5"

    def __init__(self, *, backup_id: Any, standalone: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.backup_id = backup_id
        self.standalone = standalone

    def job_params(self) -> dict[str, Any]:
        return {"backup_id": self.backup_id} | ({"standalone": True} if self.standalone else {})

    def _backup_id(self) -> str | None:
        return self.backup_id if isinstance(self.backup_id, str) else None


class SeedNodeOperator(NodeJobOperator):
    """Task that fills an empty replay node with a fresh full copy of the primary.

    Returns ``method, position, seconds, bytes``.

    :param method: ``logical`` or ``physical``; the cluster's ``seed.method`` unless given.
    """

    job = JobName.SEED
    template_fields: Sequence[str] = (*NodeJobOperator.template_fields, "method")
    ui_color = "#fbe3c4"

    def __init__(self, *, method: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.method = method

    def job_params(self) -> dict[str, Any]:
        return {"method": self.method or self.find_cluster().seed.method}


class ValidateReplicaOperator(NodeJobOperator):
    """Task that checks the caught-up replay node and compares its data with the primary's.

    Returns ``position, checks, compared, seconds``.

    :param standalone: check a backup that was only restored, without the primary: the server's log and every table.
        The node cannot be published afterwards. Damage is recorded as a verdict; success does not raise the backup's
        proof, except in the attempt ``prove``.
    """

    job = JobName.VALIDATE
    ui_color = "#d8efd3"

    def __init__(self, *, standalone: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.standalone = standalone

    def job_params(self) -> dict[str, Any]:
        return {"standalone": True} if self.standalone else {}


class SnapshotOperator(NodeJobOperator):
    """Task that stops the validated replay node cleanly and publishes its data directory as the next backup.

    Returns ``backup_id, position, proof, goal_read_at``, sizes and ``seconds``.
    """

    job = JobName.SNAPSHOT
    ui_color = "#c9e7c2"
