"""The Airflow plugin.

Every task process loads this module, so it imports nothing but the plugin's base class.
"""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class RestoreReplayPlugin(AirflowPlugin):
    """The provider's entry in Airflow's list of plugins."""

    name = "restore_replay"
