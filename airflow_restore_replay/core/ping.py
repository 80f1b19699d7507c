"""Call the URL of a dead-man's switch. A call that fails is said, and changes nothing else."""

from __future__ import annotations

import http.client
import threading
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from airflow_restore_replay.core.config.watching import Ping, read_ping_url
from airflow_restore_replay.core.errors import ConfigInvalid


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token elsewhere, so it counts as a refusal."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def ping(section: Ping, *, fresh: bool) -> str:
    """Call the URL if *fresh*, or its ``/fail`` if the section asks for that; the latter never replaces the former.

    :returns: ``sent``; empty if there was nothing to call; else why it failed, without the URL.
    """
    if not fresh and not section.fail:
        return ""
    try:
        url = read_ping_url(section)
    except ConfigInvalid as exc:
        return f"failed: {exc.message}"
    answer: list[str] = []
    target = url if fresh else _at(url, "/fail")
    timeout_s = float(section.timeout)
    # A timeout of a socket does not bound an answer that arrives byte by byte.
    thread = threading.Thread(target=lambda: answer.append(_call(target, timeout_s)), daemon=True)
    thread.start()
    thread.join(timeout_s)
    return answer[0] if answer else f"failed: no answer within {timeout_s:g} s"


def _at(url: str, suffix: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + suffix))


def _call(url: str, timeout_s: float) -> str:
    """Return how the call went. Messages of exceptions are not used: some quote the URL."""
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "restore-replay"})
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout_s):
            return "sent"
    except urllib.error.HTTPError as exc:
        return f"failed: HTTP {exc.code}"
    except urllib.error.URLError as exc:
        reason = exc.reason
        return f"failed: {(isinstance(reason, OSError) and reason.strerror) or type(reason).__name__}"
    except (OSError, ValueError, http.client.HTTPException) as exc:
        return f"failed: {type(exc).__name__}"
