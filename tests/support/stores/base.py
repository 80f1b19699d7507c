"""What all object stores of the tests have in common."""

from __future__ import annotations

import http.client
import uuid
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.config.store_options import StoreOptions
from airflow_restore_replay.core.decoding import convert
from tests.support.service import Service


class Store(Service):
    """A server that holds objects.

    Paths begin with the bucket: ``bucket-1/orders/repository.json``.

    :cvar scheme: of repositories' URLs. :cvar region: what their options say about it.
    :ivar credentials: what :meth:`~...Repository.open` needs.
    """

    scheme: ClassVar[str]
    region: ClassVar[str | None] = None
    credentials: Mapping[str, str]

    _shared = ""

    @property
    def endpoint(self) -> str:
        """Return the URL of the API, as ``repository.options.endpoint`` has it."""
        return f"http://127.0.0.1:{self.port}"

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
