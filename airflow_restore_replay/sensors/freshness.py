"""Fail when the newest proven backup is too old."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator

from airflow_restore_replay.compat import AirflowFailException
from airflow_restore_replay.core.config.units import Seconds, human_seconds
from airflow_restore_replay.operators.base import ClusterOperator, fail_or_retry

if TYPE_CHECKING:
    from airflow.sdk import Context


class BackupFreshnessSensor(ClusterOperator, BaseSensorOperator):
    """Sensor that fails if the newest healthy proven backup is stale, or if its age is unknown.

    It does not wait for a backup: a missing one fails the task at once. Returns ``backup_id`` and ``age_s``.

    :param max_age: seconds, or a text such as ``26h``; the cluster's ``max_age`` unless given.
    :param proof: how far a backup must be proven to count: ``uploaded``, ``read_back`` or ``restored``.
    """

    template_fields = (*ClusterOperator.template_fields, "max_age", "proof")
    ui_color = "#d6e4f7"

    def __init__(
        self, *, max_age: float | str | None = None, proof: str = "read_back", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.max_age = max_age
        self.proof = proof

    def poke(self, context: Context) -> Any:
        from airflow.sdk import PokeReturnValue

        from airflow_restore_replay.core.decisions.freshness import freshness
        from airflow_restore_replay.core.repository.format.records import Proof, utc_now

        with fail_or_retry():
            limit_s = float(self.find_cluster().max_age if self.max_age is None else Seconds(self.max_age))
            found = freshness(self.repository().catalog(), now=utc_now(), proof=Proof(self.proof))
        if found.age_s is None or found.backup is None:
            raise AirflowFailException(
                f"The age is unknown, which counts as stale: no healthy backup is proven to {self.proof!r}."
            )
        if found.age_s > limit_s:
            raise AirflowFailException(
                f"Stale: backup {found.backup.backup_id} is {human_seconds(found.age_s)} old, "
                f"more than {human_seconds(limit_s)}."
            )
        self.log.info("Backup %s is %s old.", found.backup.backup_id, human_seconds(found.age_s))
        return PokeReturnValue(True, {"backup_id": found.backup.backup_id, "age_s": found.age_s})
