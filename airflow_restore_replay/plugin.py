"""The Airflow plugin. Loaded in every task process, so it imports nothing beyond the plugin's base."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class RestoreReplayPlugin(AirflowPlugin):
    """Names the provider among Airflow's plugins."""

    name = "restore_replay"
