"""Callbacks that announce the occasions of a cycle through notifiers."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.notifications.message_texts import (
    GAP,
    QUARANTINE,
    RECOVERY,
    RUN_FAILURE,
    TASK_FAILURE,
)
from airflow_restore_replay.notifications.slack import slack_channels

if TYPE_CHECKING:
    from airflow_restore_replay.notifications.compose import Told
    from airflow_restore_replay.notifications.memory import Memory

Callback = Callable[[Any], Any]

OCCASIONS = (TASK_FAILURE, RUN_FAILURE, QUARANTINE, RECOVERY, GAP)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Announcer:
    """Callback that calls a notifier with the message as ``cycle`` in its context.

    It never raises: an unreachable chat must not affect a backup. It tells nothing twice: a failure that it has told
    of is told again, as a lasting one, after the cluster's ``notify.repeat_after`` at the earliest.

    :param notifier: any Airflow notifier, or any function of a context.
    :param on: the occasions on which the notifier is called; all unless given.
    :param cluster: the cluster of the message, if the context's tasks do not name it.
    :param channel: name under which it is remembered what was told; it follows from the notifier unless given. Give
        one if a DAG has two of the same function.
    """

    notifier: Callback
    on: Sequence[str] = OCCASIONS
    cluster: str | Cluster | None = None
    channel: str = ""

    def __call__(self, context: Any) -> None:
        from airflow_restore_replay.notifications import memory
        from airflow_restore_replay.notifications.compose import compose

        try:
            found = compose(context, cluster=self.cluster)
            channel = self.channel or _name_of(self.notifier)
            known = memory.load(found.dag_id, channel)
            known.forget_failures_before(found.succeeded_before)
            self._tell(context, found, known)
            if found.message.occasion == RECOVERY:
                known.forget_failures()
            memory.save(found.dag_id, channel, known)
        except Exception:
            log.exception("The announcement by %r failed.", self.notifier)

    def after_success(self, context: Any) -> None:
        """Tell that a DAG succeeds again, if it was told of a failure; a callback for the run's success."""
        from airflow_restore_replay.notifications import memory
        from airflow_restore_replay.notifications.compose import dag_id_of

        lasting = memory.load(dag_id_of(context), self.channel or _name_of(self.notifier)).failures
        if lasting and RECOVERY in self.on:
            first = min(lasting.values(), key=lambda entry: entry.since)
            runs = max(entry.runs for entry in lasting.values())
            after = f"{first.what}, since {first.since:%Y-%m-%d %H:%M} UTC, runs: {runs}"
            self({**context, "recovery": {"backup_id": "", "after": after, "todo": "Nothing."}})

    def _tell(self, context: Any, found: Told, known: Memory) -> None:
        what = found.message.title
        now, run = found.at, found.message.run
        occurred = known.occur(found.key, run=run, now=now, repeat_after_s=found.repeat_after_s, what=what)
        if not occurred.tell:
            log.info("Not told again: %s (since %s, runs: %d).", what, occurred.since, occurred.runs)
            return
        message = (
            found.message if occurred.runs == 1 else found.message.lasting(occurred.since, occurred.runs)
        )
        # A notifier renders its templates in place, so each message needs a fresh copy.
        renders = hasattr(self.notifier, "render_template_fields")
        notifier = copy.deepcopy(self.notifier) if renders else self.notifier
        try:
            notifier(_rendering({**context, "cycle": message}))
        except Exception:
            # It stays in memory as not told, and the next run tells it.
            log.exception("The announcement by %r failed.", self.notifier)
        else:
            known.told(found.key, *found.covers, run=run, now=now)


def _name_of(notifier: Callback) -> str:
    """Return a name that is the same in each process, and different for two notifiers, as far as that is possible.

    A name that is new in each process only costs a message that is told twice.
    """
    kind = type(notifier)
    if code := getattr(notifier, "__code__", None):
        return f"{notifier.__module__}.{notifier.__qualname__}:{code.co_firstlineno}"
    fields = {name: getattr(notifier, name, None) for name in getattr(notifier, "template_fields", ())}
    return f"{kind.__module__}.{kind.__qualname__}:{fields or notifier!r}"


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
    return [
        Announcer(a.notifier, a.on, a.cluster or cluster, a.channel or f"{number} {_name_of(a.notifier)}")
        for number, a in enumerate((*configured, *given))
    ]


def callbacks_for(announcers: Iterable[Announcer], occasion: str) -> list[Announcer]:
    """Return the announcers that are called on *occasion*."""
    return [a for a in announcers if occasion in a.on]
