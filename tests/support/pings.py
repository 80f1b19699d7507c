"""A server that takes the calls of a dead-man's switch, as healthchecks.io does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.http_server import QuietHandler, http_server


@dataclass
class Switch:
    """The server.

    :ivar calls: the paths that were called.
    :ivar status: what it answers.
    :ivar drip: whether it sends its answer byte by byte, without end.
    """

    port: int
    calls: list[str] = field(default_factory=list)
    status: int = 200
    drip: bool = False

    def url(self, token: str) -> str:
        return f"http://127.0.0.1:{self.port}/ping/{token}"


@contextmanager
def switch_server() -> Iterator[Switch]:
    ended = threading.Event()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            switch.calls.append(self.path)
            while switch.drip and not ended.is_set():
                self.wfile.write(b"H")
                self.wfile.flush()
                time.sleep(0.05)
            self.send_response(switch.status)
            self.send_header("Location", f"http://127.0.0.1:{switch.port}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with http_server(Handler) as port:
        switch = Switch(port)
        try:
            yield switch
        finally:
            ended.set()
