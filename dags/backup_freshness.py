"""One freshness DAG for each cluster that has `freshness.schedule` in the file that RESTORE_REPLAY_CONFIG names."""

from airflow_restore_replay.dag import build_configured_freshness_dags

globals().update(build_configured_freshness_dags())
