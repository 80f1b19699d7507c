"""A server that takes what Slack would receive, by webhook and by API, and keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.http_server import QuietHandler, http_server

TOKEN = "xoxb-123-very-secret"
WEBHOOK = "T000/B000/very-secret"


@dataclass
class Slack:
    """A server that takes the place of Slack.

    :ivar posts: path, authorization and body of every request.
    :ivar broken: whether it answers with an error."""

    port: int
    posts: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    broken: bool = False

    @property
    def connections(self) -> dict[str, str]:
        """Return environment variables with a connection of either type that leads here."""
        here = f"127.0.0.1:{self.port}"
        hook = {
            "conn_type": "slackwebhook",
            "schema": "http",
            "host": f"{here}/services",
            "password": WEBHOOK,
        }
        api = {"conn_type": "slack", "password": TOKEN, "extra": {"base_url": f"http://{here}/api/"}}
        return {"AIRFLOW_CONN_CHAT_HOOK": json.dumps(hook), "AIRFLOW_CONN_CHAT_API": json.dumps(api)}

    @property
    def headlines(self) -> list[str]:
        return [body["text"] for _, _, body in self.posts]

    @property
    def shown(self) -> list[str]:
        """Return what a person sees of each message."""
        return [_shown(body) for _, _, body in self.posts]


def _shown(body: dict[str, Any]) -> str:
    blocks = body["blocks"]
    return "\n".join(b["text"]["text"] for b in (json.loads(blocks) if isinstance(blocks, str) else blocks))


@contextmanager
def slack_server() -> Iterator[Slack]:
    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            slack.posts.append((self.path, self.headers.get("Authorization", ""), body))
            api = self.path.startswith("/api/")
            answer = json.dumps({"ok": True, "channel": "C1", "ts": "1"}).encode() if api else b"ok"
            self.send_response(500 if slack.broken else 200)
            self.send_header("Content-Type", "application/json" if api else "text/html")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    with http_server(Handler) as port:
        slack = Slack(port)
        yield slack
