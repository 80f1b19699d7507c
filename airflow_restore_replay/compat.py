"""Names that moved between the supported Airflow releases (3.1 and newer)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

try:
    from airflow.sdk.exceptions import (
        AirflowFailException,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferralTimeout,
        TaskDeferred,
    )
except ImportError:  # Airflow < 3.2
    from airflow.exceptions import (  # type: ignore[no-redef]
        AirflowFailException,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferralTimeout,
        TaskDeferred,
    )
try:
    from airflow.sdk import CronDataIntervalTimetable
except ImportError:  # Airflow < 3.2
    from airflow.timetables.interval import CronDataIntervalTimetable  # type: ignore[assignment]
__all__ = [
    "AirflowFailException",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "CronDataIntervalTimetable",
    "TaskDeferralTimeout",
    "TaskDeferred",
    "gauge",
    "redacted",
    "sends_stats",
]

#: Airflow's backends of stats
_BACKENDS = ("statsd_on", "statsd_datadog_enabled", "otel_on")


def sends_stats() -> bool:
    """Return whether Airflow's own stats go anywhere."""
    from airflow.configuration import conf

    return any(conf.getboolean("metrics", backend, fallback=False) for backend in _BACKENDS)


def gauge(name: str, value: float, tags: dict[str, str]) -> None:
    """Set a gauge of Airflow's own stats."""
    try:
        stats: Any = import_module("airflow.sdk.observability.stats")
    except ImportError:  # Airflow < 3.2
        stats = import_module("airflow.stats")
    # Airflow < 3.3 has only the class.
    send = getattr(stats, "gauge", None) or stats.Stats.gauge
    send(name, value, tags=tags)


def redacted(text: str) -> str:
    """Return *text* without the secrets that Airflow masks in logs."""
    try:
        module = import_module("airflow.sdk._shared.secrets_masker")
    except ImportError:  # Airflow < 3.2
        module = import_module("airflow.sdk.execution_time.secrets_masker")
    return str(module.redact(text))
