"""One drill DAG for each cluster that has `drill.schedule` in the file that RESTORE_REPLAY_CONFIG names."""

from airflow_restore_replay.dag import build_configured_drill_dags

globals().update(build_configured_drill_dags())
