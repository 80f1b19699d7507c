"""Every Monday: restore the newest backup, replay it until now, compare it with the primary, throw it away."""

from airflow.sdk import DAG

from airflow_restore_replay.operators import (
    AcquireLeaseOperator,
    CreateReplayNodeOperator,
    DestroyReplayNodeOperator,
    ReleaseLeaseOperator,
    RestoreBackupOperator,
    ValidateReplicaOperator,
)
from airflow_restore_replay.sensors import BackupFreshnessSensor, BinlogCatchupSensor

with DAG("restore_drill", schedule="0 9 * * 1", default_args={"cluster": "orders", "retries": 1}):
    fresh = BackupFreshnessSensor(task_id="fresh", max_age="26h")
    lease = AcquireLeaseOperator(task_id="lease").as_setup()
    node = CreateReplayNodeOperator(task_id="node", lease=lease.output).as_setup()
    restore = RestoreBackupOperator(task_id="restore", node=node.output, backup_id=fresh.output["backup_id"])
    catch_up = BinlogCatchupSensor(task_id="catch_up", node=node.output, deferrable=True)
    validate = ValidateReplicaOperator(task_id="validate", node=node.output)
    destroy = DestroyReplayNodeOperator(task_id="destroy", node=node.output).as_teardown(setups=node)
    release = ReleaseLeaseOperator(task_id="release", lease=lease.output).as_teardown(setups=lease)

    fresh >> lease >> node >> restore >> catch_up >> validate >> destroy >> release
