"""Take and release the lease, which one run of a cluster holds at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf

from airflow_restore_replay.compat import AirflowFailException
from airflow_restore_replay.core.errors import LeaseHeld
from airflow_restore_replay.operators.base import ClusterOperator, fail_or_retry, run_owner
from airflow_restore_replay.operators.stats import send_state
from airflow_restore_replay.triggers.pause import PauseTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class AcquireLeaseOperator(ClusterOperator):
    """Setup task that takes the cluster's lease for this run, or waits for it.

    A run that already holds the lease renews it. Returns ``owner`` and ``epoch``.

    :param wait_s: seconds to wait for another run; the cluster's ``lease.wait`` unless given.
    :param poll_interval_s: seconds between two attempts to take it.
    :param deferrable: wait in the triggerer, without a worker slot.
    """

    ui_color = "#f0e6f7"

    def __init__(
        self,
        *,
        wait_s: float | None = None,
        poll_interval_s: float = 20.0,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wait_s = wait_s
        self.poll_interval_s = poll_interval_s
        self.deferrable = deferrable

    def execute(self, context: Context) -> dict[str, Any]:
        wait_s = self.find_cluster().lease.wait if self.wait_s is None else self.wait_s
        return self._acquire(context, until=_now() + timedelta(seconds=wait_s))

    def execute_complete(self, context: Context, event: dict[str, Any], until: str) -> dict[str, Any]:
        """Try again after a pause."""
        return self._acquire(context, until=datetime.fromisoformat(until))

    def _acquire(self, context: Context, *, until: datetime) -> dict[str, Any]:
        owner = run_owner(context)
        with fail_or_retry():
            cluster, lease = self.find_cluster(), self.repository(write=True).lease
            while True:
                try:
                    return {"owner": owner, "epoch": lease.acquire(owner, cluster.lease.ttl)}
                except LeaseHeld as held:
                    self._pause(held, until)

    def _pause(self, held: LeaseHeld, until: datetime) -> None:
        import time

        left_s = (until - _now()).total_seconds()
        if left_s <= 0:
            raise AirflowFailException(f"Gave up waiting for the lease. {held}") from held
        pause_s = min(self.poll_interval_s, left_s)
        self.log.info("%s Trying again in %.0f s, for %.0f s more.", held.message, pause_s, left_s)
        if self.deferrable:
            self.defer(
                trigger=PauseTrigger(seconds=pause_s),
                method_name="execute_complete",
                kwargs={"until": until.isoformat()},
            )
        time.sleep(pause_s)


class ReleaseLeaseOperator(ClusterOperator):
    """Teardown task that releases the lease, and sends the cluster's metrics to Airflow's stats.

    :param lease: the result of an :class:`AcquireLeaseOperator`.
    """

    template_fields: Sequence[str] = (*ClusterOperator.template_fields, "lease")
    ui_color = "#f0e6f7"

    def __init__(self, *, lease: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lease = lease

    def execute(self, context: Context) -> None:
        if not self.lease:
            self.log.info("This run has no lease.")
            return
        with fail_or_retry():
            repository = self.repository(write=True)
            repository.lease.release(self.lease["owner"], self.lease["epoch"])
        send_state(repository, self.find_cluster())


def _now() -> datetime:
    from airflow_restore_replay.core.repository.format.records import utc_now

    return utc_now()
