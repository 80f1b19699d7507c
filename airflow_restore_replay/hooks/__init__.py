"""Hooks for a cluster's repository and replay nodes, imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_restore_replay.hooks.connections import ReplayNodeConnectionHook as ReplayNodeConnectionHook
    from airflow_restore_replay.hooks.connections import RepositoryConnectionHook as RepositoryConnectionHook
    from airflow_restore_replay.hooks.replay_node import ReplayNodeHook as ReplayNodeHook
    from airflow_restore_replay.hooks.repository import RepositoryHook as RepositoryHook

_HOMES = {
    "ReplayNodeConnectionHook": "connections",
    "ReplayNodeHook": "replay_node",
    "RepositoryConnectionHook": "connections",
    "RepositoryHook": "repository",
}
__all__ = ["ReplayNodeConnectionHook", "ReplayNodeHook", "RepositoryConnectionHook", "RepositoryHook"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
