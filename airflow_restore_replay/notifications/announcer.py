"""Callbacks that announce the occasions of a cycle through notifiers."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.notifications.message_texts import (
    GAP,
    QUARANTINE,
    RECOVERY,
    RUN_FAILURE,
    TASK_FAILURE,
)
from airflow_restore_replay.notifications.slack import slack_channels

Callback = Callable[[Any], Any]

OCCASIONS = (TASK_FAILURE, RUN_FAILURE, QUARANTINE, RECOVERY, GAP)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Announcer:
    """Callback that calls a notifier with the message as ``cycle`` in its context.

    It never raises: an unreachable chat must not affect a backup.

    :param notifier: any Airflow notifier, or any function of a context.
    :param on: the occasions on which the notifier is called; all unless given.
    :param cluster: the cluster of the message, if the context's tasks do not name it.
    """

    notifier: Callback
    on: Sequence[str] = OCCASIONS
    cluster: str | Cluster | None = None

    def __call__(self, context: Any) -> None:
        from airflow_restore_replay.notifications.compose import message

        try:
            # A notifier renders its templates in place, so each message needs a fresh copy.
            renders = hasattr(self.notifier, "render_template_fields")
            notifier = copy.deepcopy(self.notifier) if renders else self.notifier
            notifier(_rendering({**context, "cycle": message(context, cluster=self.cluster)}))
        except Exception:
            log.exception("The announcement by %r failed.", self.notifier)


def _rendering(context: dict[str, Any]) -> dict[str, Any]:
    # ``dag.test()`` passes a DAG to the run's callbacks that notifiers cannot use to render templates.
    if not hasattr(context.get("dag"), "get_template_env"):
        context.pop("dag", None)
    return context


def cluster_announcers(cluster: Cluster, notifiers: Iterable[Callback] = ()) -> list[Announcer]:
    """Return the announcers of *cluster*.

    :param notifiers: added to those of the cluster file's ``notify``; an :class:`Announcer` keeps its occasions.
    :raises ConfigInvalid: the cluster file names a Slack connection, and Airflow's Slack provider is not installed.
    """
    given = [n if isinstance(n, Announcer) else Announcer(n) for n in notifiers]
    configured = [Announcer(channel, on=cluster.notify.on) for channel in slack_channels(cluster.notify)]
    return [Announcer(a.notifier, a.on, a.cluster or cluster) for a in (*configured, *given)]


def callbacks_for(announcers: Iterable[Announcer], occasion: str) -> list[Announcer]:
    """Return the announcers that are called on *occasion*."""
    return [a for a in announcers if occasion in a.on]
