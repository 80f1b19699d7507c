"""The metrics of a cluster as Airflow's own stats."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from airflow_restore_replay.compat import gauge, sends_stats

if TYPE_CHECKING:
    from airflow_restore_replay.core.config.cluster import Cluster
    from airflow_restore_replay.core.repository.repository import Repository

log = logging.getLogger(__name__)

#: names of StatsD have a hierarchy of dots
_ODD = re.compile(r"[^A-Za-z0-9_-]")


def send_state(repository: Repository, cluster: Cluster) -> None:
    """Send the metrics of *cluster* to Airflow's stats, if these are configured.

    The name has the cluster and the other label, because StatsD has no tags: ``restore_replay.CLUSTER.METRIC[.LABEL]``.
    Whatever goes wrong is logged, and has no other effect.
    """
    if not sends_stats():
        return
    from airflow_restore_replay.core.fleet.evaluate import evaluate
    from airflow_restore_replay.core.fleet.metrics import METRICS

    try:
        state = evaluate(repository, cluster)
        for metric in METRICS:
            for labels, value in metric.samples(state):
                parts = [cluster.name, metric.name, *(text for _, text in labels)]
                name = ".".join(["restore_replay", *(_ODD.sub("_", part) for part in parts)])
                gauge(name, value, {"cluster": cluster.name, **dict(labels)})
    except Exception:
        log.warning("The state of cluster %s was not sent to Airflow's stats.", cluster.name, exc_info=True)
