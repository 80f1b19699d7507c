"""The shipped DAG with your own notifications; any function or notifier will do."""

import logging
from typing import Any

from airflow_restore_replay.dag import build_configured_dags

log = logging.getLogger(__name__)


def page_somebody(context: Any) -> None:
    log.error("Backup of %s failed: %s", context["dag_run"].dag_id, context.get("exception"))


def tell_the_team(context: Any) -> None:
    log.warning("Quarantined: %s", context["quarantine"])


globals().update(
    build_configured_dags(
        on_run_failure_callback=page_somebody,
        on_quarantine=tell_the_team,
        deferrable=True,
        default_args={"retries": 3},
    )
)
