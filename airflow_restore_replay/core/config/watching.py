"""The sections ``freshness`` and ``ping`` of a cluster: when the age is checked, and whom a check calls."""

from __future__ import annotations

import os
from pathlib import Path

from airflow_restore_replay.core.config.strict import Strict
from airflow_restore_replay.core.config.units import Seconds
from airflow_restore_replay.core.errors import ConfigInvalid

_LONGEST_S = 120.0


class Watch(Strict, frozen=True, kw_only=True):
    """How the age of the newest backup is watched, beside the cluster's ``max_age``.

    :param schedule: cron expression of the shipped DAG ``backup_freshness``, in the cluster's timezone; by default
        there is none.
    :param rpo: the archive of binary logs must not be behind the primary by more than this; not looked at by default.
    """

    schedule: str | None = None
    rpo: Seconds | None = None


class Ping(Strict, frozen=True, kw_only=True):
    """A dead-man's switch: a service that raises an alarm when it was not called for a while.

    The URL may hold a token, so the file never has it.

    :param url_file: a file that holds only the URL.
    :param url_env: a variable that holds it.
    :param fail: whether a check that does not find them fresh calls the URL with ``/fail`` at the end of its path.
    :param timeout: how long a call may take.
    """

    url_file: str | None = None
    url_env: str | None = None
    fail: bool = False
    timeout: Seconds = Seconds("10s")

    def __post_init__(self) -> None:
        if self.url_file and self.url_env:
            raise ValueError("give url_file or url_env, not both")
        if self.fail and not self.url_source:
            raise ValueError("fail needs url_file or url_env")
        if self.url_file and not os.path.isabs(self.url_file):
            raise ValueError(f"url_file must be an absolute path, got {self.url_file!r}")
        if self.timeout > _LONGEST_S:
            raise ValueError(f"timeout must be at most 2m, it is {self.timeout:g} s")

    @property
    def url_source(self) -> str:
        """Return where the URL is read from; empty if nothing is to be called."""
        return self.url_file or self.url_env or ""


def read_ping_url(ping: Ping) -> str:
    """Read the URL, which must never be written, logged or shown.

    :raises ConfigInvalid: there is none, or it is not one. The message does not quote it.
    """
    if ping.url_file:
        try:
            url = Path(ping.url_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else "it is not text"
            raise ConfigInvalid(f"Cannot read ping.url_file: {why}.") from None
    elif ping.url_env:
        url = os.environ.get(ping.url_env, "").strip()
    else:
        raise ConfigInvalid("The cluster has no ping.url_file or ping.url_env.")
    if not url.startswith(("https://", "http://")) or len(url.split()) != 1:
        raise ConfigInvalid(f"{ping.url_source} holds no URL of the form https://….")
    return url
