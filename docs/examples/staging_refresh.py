"""After every published backup: restore it for staging, mask it, and let the staging server start on it."""

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

from airflow_restore_replay.operators import RestoreToOperator, backup_asset

with DAG("staging_refresh", schedule=[backup_asset("orders")], max_active_runs=1):
    stop = BashOperator(task_id="stop", bash_command="systemctl stop mariadb@staging")
    refresh = RestoreToOperator(
        task_id="refresh",
        cluster="orders",
        target="/srv/staging/data",
        # Runs before anybody can connect. If a statement fails, the directory is emptied.
        sql="/etc/restore-replay/mask.sql",
        force=True,
        queue="staging",
    )
    start = BashOperator(
        task_id="start", bash_command="chown -R mysql: /srv/staging/data && systemctl start mariadb@staging"
    )

    stop >> refresh >> start
