"""One DAG for five clusters, by mapping: each replays its newest backup and publishes the next one."""

from airflow.sdk import DAG, task_group

from airflow_restore_replay.operators import (
    AcquireLeaseOperator,
    CreateReplayNodeOperator,
    DestroyReplayNodeOperator,
    PublishedOperator,
    ReleaseLeaseOperator,
    RestoreBackupOperator,
    SnapshotOperator,
    ValidateReplicaOperator,
)
from airflow_restore_replay.sensors import BackupFreshnessSensor, BinlogCatchupSensor

CLUSTERS = ["orders", "users", "stock", "mails", "search"]


@task_group
def cycle(cluster: str) -> None:
    lease = AcquireLeaseOperator(task_id="lease", cluster=cluster).as_setup()
    base = BackupFreshnessSensor(task_id="base", cluster=cluster, max_age="30d")
    node = CreateReplayNodeOperator(task_id="node", cluster=cluster, lease=lease.output).as_setup()
    on_node = {"cluster": cluster, "node": node.output}
    restore = RestoreBackupOperator(task_id="restore", backup_id=base.output["backup_id"], **on_node)
    catch_up = BinlogCatchupSensor(task_id="catch_up", **on_node)
    validate = ValidateReplicaOperator(task_id="validate", **on_node)
    snapshot = SnapshotOperator(task_id="snapshot", **on_node)
    published = PublishedOperator(task_id="published", cluster=cluster)
    destroy = DestroyReplayNodeOperator(task_id="destroy", **on_node).as_teardown(setups=node)
    release = ReleaseLeaseOperator(task_id="release", cluster=cluster, lease=lease.output)

    lease >> base >> node >> restore >> catch_up >> validate >> snapshot >> [destroy, published]
    [destroy, published] >> release.as_teardown(setups=lease)


with DAG(
    "five_clusters",
    schedule="0 3 * * *",
    max_active_tasks=2,
    default_args={"retries": 2, "map_index_template": "{{ task.cluster }}"},
):
    # A fresh full after a quarantine is the business of a cluster's own DAG: its branches cannot be mapped.
    fresh = BackupFreshnessSensor.partial(task_id="fresh").expand(cluster=CLUSTERS)
    cycle.expand(cluster=CLUSTERS) >> fresh
