"""Messages to Slack, through Airflow's Slack provider, which is imported only to send one."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from airflow_restore_replay.core.config.sections import Notify
from airflow_restore_replay.core.errors import ConfigInvalid

#: Templates for the provider's notifiers; they use ``cycle``.
TEXT = "{{ cycle.headline }}"
BLOCKS = (
    {"type": "header", "text": {"type": "plain_text", "text": "{{ cycle.headline }}"}},
    {"type": "section", "text": {"type": "mrkdwn", "text": "{{ cycle.mrkdwn }}"}},
)
#: A chat that does not answer must not block a worker.
TIMEOUT_S = 20


@dataclass(frozen=True)
class SlackChannel:
    """Callback that sends a message by webhook or by Slack's API; needs ``cycle`` in its context.

    :param webhook: connection of the type ``slackwebhook``.
    :param api: connection of the type ``slack``, with *channel*.
    """

    webhook: str | None = None
    api: str | None = None
    channel: str = ""

    def __call__(self, context: Any) -> None:
        blocks = [{**block} for block in BLOCKS]
        if self.webhook:
            from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier

            SlackWebhookNotifier(
                slack_webhook_conn_id=self.webhook,
                text=TEXT,
                blocks=blocks,
                unfurl_links=False,
                timeout=TIMEOUT_S,
            )(context)
        if self.api:
            from airflow.providers.slack.notifications.slack import SlackNotifier

            SlackNotifier(
                slack_conn_id=self.api,
                channel=self.channel,
                username="restore-replay",
                text=TEXT,
                blocks=blocks,
                unfurl_links=False,
                timeout=TIMEOUT_S,
            )(context)


def slack_channels(notify: Notify) -> list[SlackChannel]:
    """Return the channels that a cluster's ``notify`` names.

    :raises ConfigInvalid: the Slack provider is not installed.
    """
    channels = []
    if notify.slack_webhook_conn_id:
        channels.append(SlackChannel(webhook=notify.slack_webhook_conn_id))
    if notify.slack_conn_id:
        channels.append(SlackChannel(api=notify.slack_conn_id, channel=notify.channel or ""))
    if channels and find_spec("airflow.providers.slack") is None:
        raise ConfigInvalid(
            "notify names a Slack connection, but Airflow's Slack provider is not installed.",
            hint="Install the extra: pip install 'airflow-restore-replay[slack]'.",
        )
    return channels
