"""Fail when the newest proven backup is too old."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator

from airflow_restore_replay.core.config.units import Seconds, human_seconds
from airflow_restore_replay.core.errors import Stale
from airflow_restore_replay.operators.base import ClusterOperator, fail_or_retry

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_restore_replay.core.repository.repository import Repository


class BackupFreshnessSensor(ClusterOperator, BaseSensorOperator):
    """Sensor that fails if the newest healthy proven backup is stale, or if its age is unknown.

    It does not wait for a backup: a missing one fails the task at once. Returns ``backup_id``, ``age_s`` and,
    with *rpo*, ``rpo_s``.

    :param max_age: seconds, or a text such as ``26h``; the cluster's ``max_age`` unless given.
    :param proof: how far a backup must be proven to count: ``uploaded``, ``read_back`` or ``restored``.
    :param rpo: the task also fails if the archive of binary logs is behind the primary by more than this, or if that
        is unknown; not looked at unless given.
    """

    template_fields = (*ClusterOperator.template_fields, "max_age", "proof", "rpo")
    ui_color = "#d6e4f7"

    def __init__(
        self,
        *,
        max_age: float | str | None = None,
        proof: str = "read_back",
        rpo: float | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_age = max_age
        self.proof = proof
        self.rpo = rpo

    def poke(self, context: Context) -> Any:
        from airflow.sdk import PokeReturnValue

        from airflow_restore_replay.core.decisions.freshness import freshness
        from airflow_restore_replay.core.repository.format.records import Proof, utc_now

        with fail_or_retry():
            limit_s = float(self.find_cluster().max_age if self.max_age is None else Seconds(self.max_age))
            repository = self.repository()
            found = freshness(repository.catalog(), now=utc_now(), proof=Proof(self.proof))
            if found.age_s is None or found.backup is None:
                raise Stale(
                    f"The age is unknown, which counts as stale: no healthy backup is proven to {self.proof!r}."
                )
            if found.age_s > limit_s:
                raise Stale(
                    f"backup {found.backup.backup_id} is {human_seconds(found.age_s)} old, "
                    f"more than {human_seconds(limit_s)}."
                )
        self.log.info("Backup %s is %s old.", found.backup.backup_id, human_seconds(found.age_s))
        result = {"backup_id": found.backup.backup_id, "age_s": found.age_s}
        return PokeReturnValue(True, result | self._archived(repository))

    def _archived(self, repository: Repository) -> dict[str, float]:
        """Return how far the archive is behind the primary, if *rpo* is given."""
        from airflow_restore_replay.core.archive.lag import archive_lag
        from airflow_restore_replay.core.repository.format.records import utc_now

        if self.rpo is None:
            return {}
        with fail_or_retry():
            limit_s = float(Seconds(self.rpo))
            rpo_s = archive_lag(repository).seconds(utc_now())
            if rpo_s is None or rpo_s > limit_s:
                behind = "by an unknown time" if rpo_s is None else f"by {human_seconds(rpo_s)}"
                raise Stale(
                    f"The archive is behind {behind}, which counts as stale; the limit is {human_seconds(limit_s)}."
                )
        return {"rpo_s": rpo_s}
