"""A real HTTP proxy between obstore and its store that misbehaves on demand."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


class Act(Enum):
    """What the proxy does with a request."""

    PASS = auto()
    FAIL_503 = auto()
    FORBID_403 = auto()  # the token has expired
    DENY = auto()  # whoever asks lacks the right
    HANG = auto()  # never answers
    HANG_MIDWAY = auto()  # answers with half of the body and goes silent
    LOSE_ANSWER = auto()  # the store does it, the client never learns
    DROP_CONDITION = auto()  # removes If-None-Match, as a store does that ignores it


#: decides by method and path; called once for each request
Rule = Callable[[str, str], Act]
#: makes headers with a signature from method, URL, body and headers without one
Sign = Callable[[str, str, bytes, dict[str, str]], dict[str, str]]

_DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
_FORBIDDEN = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"


def always(act: Act) -> Rule:
    return lambda method, path: act


class FaultyProxy:
    """A proxy before a store, which injects faults.

    :param sign: signs changed requests again; only for a store that checks signatures.
    :ivar rule: what to do with a request; may be replaced at any time.
    :ivar seen: all requests, as (method, path).
    """

    def __init__(self, upstream_port: int, *, sign: Sign | None = None) -> None:
        self.rule: Rule = always(Act.PASS)
        self.seen: list[tuple[str, str]] = []
        self.upstream_port = upstream_port
        self.sign = sign
        self.closing = threading.Event()
        self._server = _Server(self)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def refuse(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes] | None:
        """Return status and body of an answer that the store never gets to give."""
        return None

    def rewrite(self, body: bytes, answer: bytes) -> bytes:
        """Return what the client gets instead of the store's *answer*."""
        return answer

    def stop(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def nth(count: int, act: Act, *, method: str, containing: str = "") -> Rule:
    """Return a rule that acts on the *count*-th matching request and all later ones."""
    lock = threading.Lock()
    matched = 0

    def rule(seen_method: str, path: str) -> Act:
        nonlocal matched
        if seen_method != method or containing not in path:
            return Act.PASS
        with lock:
            matched += 1
            return act if matched >= count else Act.PASS

    return rule


def first(count: int, act: Act, *, method: str = "", containing: str = "") -> Rule:
    """Return a rule that acts on the first *count* matching requests."""
    lock = threading.Lock()
    left = count

    def rule(seen_method: str, path: str) -> Act:
        nonlocal left
        if (method and seen_method != method) or containing not in path:
            return Act.PASS
        with lock:
            left -= 1
            return act if left >= 0 else Act.PASS

    return rule


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, proxy: FaultyProxy) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = proxy


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """The tests' output is not the proxy's log."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        act = self.server.proxy.rule(self.command, self.path)
        self.server.proxy.seen.append((self.command, self.path))
        refused = self.server.proxy.refuse({k.lower(): v for k, v in self.headers.items()}, body)
        if refused:
            self._answer(refused[0], [], refused[1])
        elif act is Act.HANG:
            self.server.proxy.closing.wait(120)
            self.close_connection = True
        elif act is Act.FAIL_503:
            self._answer(503, [], b"<Error><Code>SlowDown</Code></Error>")
        elif act is Act.FORBID_403:
            self._answer(403, [], _FORBIDDEN)
        elif act is Act.DENY:
            self._answer(403, [], _DENIED)
        else:
            self._forward(act, body)

    def _forward(self, act: Act, body: bytes) -> None:
        # With the client's own host, which its signature covers.
        dropped = {"connection"} | ({"if-none-match"} if act is Act.DROP_CONDITION else set())
        headers = {k: v for k, v in self.headers.items() if k.lower() not in dropped}
        if act is Act.DROP_CONDITION and self.server.proxy.sign:
            kept = {k: v for k, v in headers.items() if k.lower() in ("content-type", "host")}
            url = f"{self.server.proxy.endpoint}{self.path}"
            headers = self.server.proxy.sign(self.command, url, body, kept)
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.proxy.upstream_port, timeout=60)
        try:
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            data = self.server.proxy.rewrite(body, answer.read())
        finally:
            upstream.close()
        if act is Act.LOSE_ANSWER:
            self.close_connection = True
            return
        self._answer(answer.status, answer.getheaders(), data, stall=act is Act.HANG_MIDWAY)

    def _answer(
        self, status: int, headers: list[tuple[str, str]], data: bytes, *, stall: bool = False
    ) -> None:
        self.send_response_only(status)
        head = self.command == "HEAD"
        own = {"transfer-encoding", "connection"} | (set() if head else {"content-length"})
        for key, value in headers:
            if key.lower() not in own:
                self.send_header(key, value)
        if not head:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if stall:
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.server.proxy.closing.wait(120)
            self.close_connection = True
        elif not head:
            self.wfile.write(data)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _serve
