"""What all object stores of the tests have in common."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.config.store_options import StoreOptions
from airflow_restore_replay.core.decoding import convert
from tests.support.primary import free_port

_START_TIMEOUT_S = 60
#: another process may take a port between the choice and the start
_TRIES = 3


class Store(ABC):
    """A server that holds objects, and nothing after it was stopped; a context manager.

    Paths begin with the bucket: ``bucket-1/orders/repository.json``.

    :cvar scheme: of repositories' URLs. :cvar region: what their options say about it.
    :ivar credentials: what :meth:`~...Repository.open` needs. :ivar port: of the API.
    :ivar root: a directory for its files, gone when it stops.
    """

    scheme: ClassVar[str]
    region: ClassVar[str | None] = None
    credentials: Mapping[str, str]

    def __init__(self) -> None:
        self._shared = ""
        for attempt in range(_TRIES):
            self.port = free_port()
            self.root = Path(tempfile.mkdtemp(prefix="rr-store-"))
            self._process = self._start()
            try:
                self._wait()
                return
            except RuntimeError:
                self.stop()
                if attempt == _TRIES - 1:
                    raise

    @property
    def endpoint(self) -> str:
        """Return the URL of the API, as ``repository.options.endpoint`` has it."""
        return f"http://127.0.0.1:{self.port}"

    @abstractmethod
    def _start(self) -> subprocess.Popen[bytes]: ...

    @abstractmethod
    def _make_bucket(self, name: str) -> None: ...

    @abstractmethod
    def read(self, path: str) -> bytes:
        """Return an object, read without obstore.

        :raises OSError: there is no object of that name.
        """

    @abstractmethod
    def write(self, path: str, data: bytes) -> None:
        """Create or replace an object, past obstore."""

    @abstractmethod
    def remove(self, path: str) -> None: ...

    def new_bucket(self) -> str:
        """Return the name of a new, empty bucket."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self._make_bucket(name)
        return name

    def new_folder(self) -> str:
        """Return an empty folder of a bucket, which costs nothing: ``bucket-1/f00d``."""
        self._shared = self._shared or self.new_bucket()
        return f"{self._shared}/{uuid.uuid4().hex[:12]}"

    def spec(self, bucket: str, *, endpoint: str | None = None, **options: Any) -> RepositorySpec:
        """Return a repository in *bucket*, or a folder of one, reached through *endpoint*.

        :param options: options as in the cluster file.
        """
        own = {"endpoint": endpoint or self.endpoint} | ({"region": self.region} if self.region else {})
        return RepositorySpec(
            url=f"{self.scheme}://{bucket}/orders",
            options=convert({**own, **options}, StoreOptions),
        )

    def stop(self) -> None:
        """Idempotent. What a store holds is thrown away, so it need not end in good order, which can take long."""
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

    def _is_up(self) -> bool:
        """Return whether it serves.

        :raises OSError: it does not listen yet.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status < 500
        finally:
            connection.close()

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
