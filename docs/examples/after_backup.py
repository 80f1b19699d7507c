"""Runs after every published backup of the cluster, with the backup's id, position and proof."""

from typing import Any

from airflow.sdk import DAG, task

from airflow_restore_replay.operators import backup_asset

with DAG("after_backup", schedule=[backup_asset("orders")]):

    @task
    def tell(triggering_asset_events: Any = None) -> list[str]:
        events = triggering_asset_events[backup_asset("orders")]
        return [f"{e.extra['backup_id']} at {e.extra['position']}, proof {e.extra['proof']}" for e in events]

    tell()
