"""What people are told about a cycle, by whichever Airflow notifier they use. Imported on first use.

:func:`message` turns an Airflow context into a :class:`CycleMessage`. :class:`Announcer` puts it into a notifier's
context as ``cycle``, so that any notifier's templates can use it: ``{{ cycle.title }}``, ``{{ cycle.text }}``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_restore_replay.notifications.announcer import Announcer as Announcer
    from airflow_restore_replay.notifications.announcer import cluster_announcers as cluster_announcers
    from airflow_restore_replay.notifications.compose import message as message
    from airflow_restore_replay.notifications.message_texts import CycleMessage as CycleMessage
    from airflow_restore_replay.notifications.slack import SlackChannel as SlackChannel

_HOMES = {
    "Announcer": "announcer",
    "CycleMessage": "message_texts",
    "SlackChannel": "slack",
    "cluster_announcers": "announcer",
    "message": "compose",
}
__all__ = ["Announcer", "CycleMessage", "SlackChannel", "cluster_announcers", "message"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
