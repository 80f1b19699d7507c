"""Names that moved between the supported Airflow releases (3.1 and newer)."""

from __future__ import annotations

from importlib import import_module

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
    "redacted",
]


def redacted(text: str) -> str:
    """Return *text* without the secrets that Airflow masks in logs."""
    try:
        module = import_module("airflow.sdk._shared.secrets_masker")
    except ImportError:  # Airflow < 3.2
        module = import_module("airflow.sdk.execution_time.secrets_masker")
    return str(module.redact(text))
