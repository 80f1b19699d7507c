"""Every Sunday: restore the newest backup, check every table of it, throw it away. The primary is not needed."""

from airflow.sdk import DAG

from airflow_restore_replay.operators import (
    AcquireLeaseOperator,
    CreateReplayNodeOperator,
    DestroyReplayNodeOperator,
    ReleaseLeaseOperator,
    RestoreBackupOperator,
    ValidateReplicaOperator,
)
from airflow_restore_replay.sensors import BackupFreshnessSensor

with DAG("weekly_drill", schedule="0 6 * * 0", default_args={"cluster": "orders", "retries": 1}):
    fresh = BackupFreshnessSensor(task_id="fresh")
    lease = AcquireLeaseOperator(task_id="lease").as_setup()
    node = CreateReplayNodeOperator(task_id="node", lease=lease.output).as_setup()
    restore = RestoreBackupOperator(
        task_id="restore", node=node.output, backup_id=fresh.output["backup_id"], standalone=True
    )
    validate = ValidateReplicaOperator(task_id="validate", node=node.output, standalone=True)
    destroy = DestroyReplayNodeOperator(task_id="destroy", node=node.output).as_teardown(setups=node)
    release = ReleaseLeaseOperator(task_id="release", lease=lease.output).as_teardown(setups=lease)

    fresh >> lease >> node >> restore >> validate >> destroy >> release
