"""A throw-away Redis for Celery: on 127.0.0.1, with a password, nothing on disk."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import time

from tests.support.primary import free_port
from tests.support.processes import end


class RedisServer:
    """A Redis server.

    :ivar url: its URL, for Celery."""

    def __init__(self) -> None:
        program = shutil.which("redis-server")
        assert program, "redis-server is missing; `make setup` installs it"
        port, password = free_port(), secrets.token_hex(16)
        self.url = f"redis://:{password}@127.0.0.1:{port}/0"
        settings = f'bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ""\nappendonly no\n'
        self._process = subprocess.Popen(
            [program, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        assert self._process.stdin is not None
        self._process.stdin.write(settings.encode())
        self._process.stdin.close()
        self._wait(port)

    def _wait(self, port: int) -> None:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                assert self._process.poll() is None, "redis-server does not start"
                assert time.monotonic() < deadline, "redis-server is not ready"
                time.sleep(0.05)

    def stop(self) -> None:
        end(self._process)
