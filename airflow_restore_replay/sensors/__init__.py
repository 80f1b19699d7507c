"""Sensors: catch-up and freshness. Imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_restore_replay.sensors.catch_up import BinlogCatchupSensor as BinlogCatchupSensor
    from airflow_restore_replay.sensors.freshness import BackupFreshnessSensor as BackupFreshnessSensor

_HOMES = {"BackupFreshnessSensor": "freshness", "BinlogCatchupSensor": "catch_up"}
__all__ = ["BackupFreshnessSensor", "BinlogCatchupSensor"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
