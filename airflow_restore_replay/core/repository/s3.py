"""S3, Google Cloud Storage and Azure as object store, over obstore.

obstore retries what is safe to repeat; a conditional create that timed out is not, for it. It is for us: the
retry then finds either nothing or our own bytes (:func:`~...store.create_or_same`). So each call is retried
here too, until *retry_timeout* has passed, and a request that hangs is aborted by the client's timeout.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import obstore
from obstore import exceptions as oe
from obstore.store import from_url

from airflow_restore_replay.core.cluster import RepositorySpec
from airflow_restore_replay.core.errors import ConfigInvalid, StoreDenied, StoreFailed
from airflow_restore_replay.core.repository.store import (
    AlreadyExists,
    ObjectInfo,
    ObjectMissing,
    ObjectTooLarge,
    safe_parts,
)
from airflow_restore_replay.core.units import Seconds

T = TypeVar("T")

#: options that concern the client, not the store; all others go to obstore's store configuration
_CLIENT_OPTIONS = ("allow_http", "connect_timeout", "proxy_url", "timeout")
_MAX_BACKOFF_S = 5.0
#: repeating these cannot help
_FINAL = (
    oe.InvalidPathError,
    oe.NotSupportedError,
    oe.PermissionDeniedError,
    oe.UnauthenticatedError,
    oe.UnknownConfigurationKeyError,
)
_QUERY = re.compile(r"\?[^\s\"'<>)]*")
_SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|SAS|CREDENTIAL", re.IGNORECASE)
_PUBLIC_NAME = re.compile(r"^(endpoint|region|bucket|container|.*_endpoint.*)$", re.IGNORECASE)


class RemoteStore:
    """Objects of a bucket below a prefix.

    :param retry_timeout_s: how long a call is repeated before it fails.
    :param secrets: texts that never appear in messages.
    """

    def __init__(
        self, url: str, store: Any, *, retry_timeout_s: float, secrets: tuple[str, ...] = ()
    ) -> None:
        self._url = url
        self._store = store
        self._retry_timeout_s = retry_timeout_s
        self._secrets = secrets

    @classmethod
    def from_spec(cls, spec: RepositorySpec, credentials: Mapping[str, str]) -> RemoteStore:
        """:raises ConfigInvalid: obstore does not know an option, or the URL names no bucket."""
        config = {**spec.options, **credentials}
        secrets = _secret_values(credentials)
        client: dict[str, Any] = {"timeout": "60s", "connect_timeout": "10s"}
        client |= {key: config.pop(key) for key in _CLIENT_OPTIONS if key in config}
        plain = any(value.startswith("http://") for key, value in config.items() if "endpoint" in key)
        client["allow_http"] = plain or str(client.get("allow_http")).lower() == "true"
        try:
            retry_timeout_s = float(Seconds(config.pop("retry_timeout", "2m")))
            store: Any = from_url(
                spec.url,
                config=config,  # type: ignore[call-overload]
                client_options=client,
                retry_config=_retry_config(retry_timeout_s),
            )
        except (oe.BaseError, ValueError, TypeError) as exc:
            text = _redacted(str(exc), secrets)
            raise ConfigInvalid(f"repository: cannot open {spec.url}: {text}.") from None
        return cls(spec.url, store, retry_timeout_s=retry_timeout_s, secrets=secrets)

    @property
    def url(self) -> str:
        return self._url

    def put_new(self, path: str, data: bytes) -> None:
        try:
            self._retried(
                f"create {path}",
                lambda: obstore.put(
                    self._store, self._checked(path), data, mode="create", use_multipart=False
                ),
            )
        except (oe.AlreadyExistsError, oe.PreconditionError):
            raise AlreadyExists(path) from None
        except FileNotFoundError as exc:
            raise self._failed(f"create {path}", exc) from None

    def get(self, path: str, *, max_bytes: int | None = None) -> bytes:
        def fetch() -> bytes:
            result = obstore.get(self._store, self._checked(path))
            if max_bytes is not None and result.meta["size"] > max_bytes:
                raise ObjectTooLarge(path)
            return bytes(result.bytes())

        try:
            return self._retried(f"read {path}", fetch)
        except FileNotFoundError as exc:
            self._raise_if_bucket_is_gone(path, exc)
            raise ObjectMissing(path) from None

    def get_uncached(self, path: str, *, max_bytes: int | None = None) -> bytes:
        return self.get(path, max_bytes=max_bytes)

    def get_range(self, path: str, offset: int, size_bytes: int, *, uncached: bool = False) -> bytes:
        def fetch() -> bytes:
            try:
                return bytes(
                    obstore.get_range(self._store, self._checked(path), start=offset, length=size_bytes)
                )
            except (FileNotFoundError, *_FINAL):
                raise
            except oe.BaseError:
                # A range beyond the end is an error of no kind of its own.
                if obstore.head(self._store, self._checked(path))["size"] <= offset:
                    return b""
                raise

        try:
            return self._retried(f"read {path}", fetch)
        except FileNotFoundError as exc:
            self._raise_if_bucket_is_gone(path, exc)
            raise ObjectMissing(path) from None

    def size(self, path: str) -> int | None:
        try:
            meta = self._retried(f"look up {path}", lambda: obstore.head(self._store, self._checked(path)))
        except FileNotFoundError as exc:
            self._raise_if_bucket_is_gone(path, exc)
            return None
        return int(meta["size"])

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        def collect() -> list[ObjectInfo]:
            batches = obstore.list(self._store, prefix=self._checked(prefix.rstrip("/")))
            return [ObjectInfo(m["path"], m["size"], m["last_modified"]) for batch in batches for m in batch]

        try:
            # Collected before the first is yielded: a listing that fails halfway must not look complete.
            yield from self._retried(f"list {prefix}", collect)
        except FileNotFoundError as exc:
            raise self._failed(f"list {prefix}", exc) from None

    def delete(self, path: str) -> None:
        try:
            self._retried(f"delete {path}", lambda: self._delete(path))
        except FileNotFoundError as exc:
            self._raise_if_bucket_is_gone(path, exc)

    def _delete(self, path: str) -> None:
        try:
            obstore.delete(self._store, self._checked(path))
        except oe.BaseError as exc:
            # S3 answers a bulk delete with 200 and an error for each key, which obstore calls "generic".
            text = str(exc)
            refused = isinstance(exc, oe.PermissionDeniedError) or "code: AccessDenied" in text
            if not refused or "Expired" in text:
                raise
            raise StoreDenied(
                f"{path} in {self._url} cannot be deleted: {_redacted(text, self._secrets)}"
            ) from None

    def leftovers(self) -> Iterator[ObjectInfo]:
        """:returns: nothing: a create is one request, which leaves all or nothing."""
        yield from ()

    def _retried(self, what: str, call: Callable[[], T]) -> T:
        """Repeat *call* with growing, jittered pauses while its failure may pass."""
        deadline = time.monotonic() + self._retry_timeout_s
        pause_s = 0.2
        while True:
            try:
                return call()
            except (oe.AlreadyExistsError, oe.PreconditionError):
                raise
            except _FINAL as exc:
                raise self._failed(what, exc) from None
            except oe.BaseError as exc:
                if time.monotonic() + pause_s > deadline:
                    raise self._failed(what, exc) from None
            time.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(pause_s * 2, _MAX_BACKOFF_S)

    def _checked(self, path: str) -> str:
        try:
            safe_parts(path)
        except ValueError as exc:
            raise StoreFailed(f"The store {self.url} was asked for a name outside its root: {exc}.") from exc
        return path

    def _raise_if_bucket_is_gone(self, path: str, exc: FileNotFoundError) -> None:
        """A missing bucket is no evidence that an object of it was lost."""
        text = str(exc)
        if "NoSuchBucket" in text or "ContainerNotFound" in text or "bucket does not exist" in text:
            raise self._failed(f"read {path}", exc) from None

    def _failed(self, what: str, exc: Exception) -> StoreFailed:
        # Raised "from None": obstore's own text may show a signed URL or an access key.
        kind = type(exc).__name__.removesuffix("Error")
        return StoreFailed(
            f"The object store {self._url} failed to {what}: {kind}: {_redacted(str(exc), self._secrets)}",
            hint="Check the store, the network and the credentials; nothing was published.",
        )


def _retry_config(retry_timeout_s: float) -> dict[str, Any]:
    """obstore's own retries, within one of our attempts."""
    backoff = {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=_MAX_BACKOFF_S),
    }
    return {"max_retries": 3, "retry_timeout": timedelta(seconds=retry_timeout_s), "backoff": backoff}


def _redacted(text: str, secrets: tuple[str, ...]) -> str:
    """:returns: the first line of obstore's message, without query strings and known secrets."""
    first = _QUERY.sub("", text.split("Debug source")[0].strip().replace("\n", " "))
    for secret in secrets:
        first = first.replace(secret, "***")
    return first[:400]


def _secret_values(credentials: Mapping[str, str]) -> tuple[str, ...]:
    given = [v for k, v in credentials.items() if not _PUBLIC_NAME.match(k)]
    environment = [v for k, v in os.environ.items() if _SECRET_NAME.search(k)]
    return tuple(v for v in sorted({*given, *environment}, key=len, reverse=True) if len(v) >= 4)
