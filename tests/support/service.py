"""What servers of the tests that speak HTTP have in common."""

from __future__ import annotations

import http.client
import os
import shutil
import ssl
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.primary import free_port

_START_TIMEOUT_S = 60
#: another process may take a port between the choice and the start
_TRIES = 3


class Service(ABC):
    """A server on loopback that keeps nothing after it was stopped; a context manager.

    :ivar port: of the API. :ivar root: a directory for its files, gone when it stops.
    """

    def __init__(self) -> None:
        for attempt in range(_TRIES):
            self.port = free_port()
            self.root = Path(tempfile.mkdtemp(prefix="rr-service-"))
            self._process = self._start()
            try:
                self._wait()
                return
            except RuntimeError:
                self.stop()
                if attempt == _TRIES - 1:
                    raise

    @abstractmethod
    def _start(self) -> subprocess.Popen[bytes]: ...

    @abstractmethod
    def _is_up(self) -> bool:
        """Return whether it serves.

        :raises OSError: it does not listen yet, or answers with an error.
        """

    def _tls(self) -> ssl.SSLContext | None:
        """Return how to verify its certificate; None if it speaks HTTP."""
        return None

    def request(
        self,
        method: str,
        target: str,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Return the server's answer, and its content.

        :raises OSError: the server answers with an error.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        if context := self._tls():
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=context)
        try:
            connection.request(method, target, body, headers or {})
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise OSError(f"{method} {target}: {answer.status} {data[:200]!r}")
        return answer, data

    def stop(self) -> None:
        """Idempotent. What it holds is thrown away, so it need not end in good order, which can take long."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _run(self, *argv: str | Path, **environment: str) -> subprocess.Popen[bytes]:
        """Start a program whose settings are ours alone, with a log in :attr:`root`."""
        with (self.root / "log").open("wb") as log:
            return subprocess.Popen(
                argv,
                cwd=self.root,
                env={**os.environ, "HOME": str(self.root), **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        why: object = "it refuses"
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                if self._is_up():
                    return
            except (OSError, http.client.HTTPException) as exc:
                why = exc
            time.sleep(0.05)
        log = (self.root / "log").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{type(self).__name__} did not start on port {self.port}: {why}\n{log}")
