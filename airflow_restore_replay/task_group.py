"""Alias module of :func:`airflow_restore_replay.dag.restore_replay_task_group`, which earlier documents import."""

from airflow_restore_replay.dag import restore_replay_task_group

__all__ = ["restore_replay_task_group"]
