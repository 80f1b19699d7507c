"""The one place that starts an S3 server (moto, over real HTTP)."""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
import uuid
from types import TracebackType

from airflow_restore_replay.core.cluster import RepositorySpec
from tests.support.mariadb import free_port

CREDENTIALS = {"access_key_id": "AKIATESTKEY0001", "secret_access_key": "s3-secret-71fe"}
_START_TIMEOUT_S = 60
#: moto wants a signature to be there, and does not check it
_ANYBODY = (
    "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
)


class S3Server:
    """A moto server on a free port; a context manager."""

    def __init__(self) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait()

    def new_bucket(self) -> str:
        """:returns: the name of a new, empty bucket."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self.raw("PUT", f"/{name}")
        return name

    def raw(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Talk to the server past every client: tests damage objects with it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {"Authorization": _ANYBODY})
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise OSError(f"{method} {path}: {answer.status} {data[:200]!r}")
        return data

    def spec(self, bucket: str, *, endpoint: str | None = None, **options: str) -> RepositorySpec:
        """:returns: a repository in *bucket*, reached through *endpoint*."""
        return RepositorySpec(
            url=f"s3://{bucket}/orders",
            options={"endpoint": endpoint or self.endpoint, "region": "us-east-1", **options},
        )

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> S3Server:
        return self

    def __exit__(self, kind: type | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                self.raw("GET", "/moto-api/")
                return
            except OSError as exc:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError(f"moto did not start on port {self.port}: {exc}") from exc
                time.sleep(0.1)
