"""One restore-replay DAG for each cluster of the file that RESTORE_REPLAY_CONFIG names; Airflow finds them here."""

from airflow_restore_replay.dag import build_configured_dags

globals().update(build_configured_dags())
