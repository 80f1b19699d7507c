"""The shipped DAG: e-mail about everything, and a pager for failed runs only."""

import logging
from typing import Any

from airflow.providers.smtp.notifications.smtp import SmtpNotifier

from airflow_restore_replay.dag import build_configured_dags
from airflow_restore_replay.notifications import Announcer, CycleMessage

log = logging.getLogger(__name__)


def page(context: Any) -> None:
    message: CycleMessage = context["cycle"]
    log.error("%s; blames %s; %s", message.title, message.blames, message.log_url)


MAIL = SmtpNotifier(
    from_email="backups@example.com",
    to="dba@example.com",
    subject="{{ cycle.title }}",
    html_content="<pre>{{ cycle.text | e }}</pre>",
)

globals().update(build_configured_dags(notifiers=[MAIL, Announcer(page, on=["run_failure"])]))
