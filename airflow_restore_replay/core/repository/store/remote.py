"""S3, Google Cloud Storage and Azure as object store, over obstore.

obstore retries requests that are safe to repeat, but not a conditional create that timed out. Here that is safe, too:
the retry finds either nothing or the same bytes (:func:`~...store.create_or_same`). Each call is therefore retried here
as well, until *retry_timeout* has passed. The client's timeout aborts a request that hangs.

A create is one request of any size, because obstore has no conditional multipart upload (docs/decisions/0008). Large
objects are read in parts.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import obstore
from obstore import exceptions as oe

from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.errors import StoreDenied, StoreFailed
from airflow_restore_replay.core.repository.store.base import (
    AlreadyExists,
    ObjectInfo,
    ObjectMissing,
    ObjectTooLarge,
    safe_parts,
)
from airflow_restore_replay.core.repository.store.clients import MAX_BACKOFF_S, Clients

T = TypeVar("T")

#: larger objects are read in parts of this size
_PART_BYTES = 16 * 2**20
#: storage classes for infrequent access bill smaller objects as if they had this size, and for longer
_MIN_CLASS_BYTES = 128 * 2**10
#: errors that a retry cannot solve
_FINAL = (
    oe.InvalidPathError,
    oe.NotSupportedError,
    oe.PermissionDeniedError,
    oe.UnauthenticatedError,
    oe.UnknownConfigurationKeyError,
)
#: messages of stores about expired credentials
_EXPIRED = re.compile(
    r"ExpiredToken|RequestExpired|TokenRefreshRequired|token (has|is) expired", re.IGNORECASE
)
# An answer to HEAD has no body that could name the reason. S3 answers 400 to an expired token.
_BODILESS = re.compile(r"HEAD \S+ .*\b400 Bad Request")
#: messages of stores about objects that must not be deleted, besides "permission denied": S3 answers a bulk delete with
#: 200 and an error for each key, MinIO has a code of its own, and of Azure's bulk deletes only status and message are
#: shown
_LOCKED = re.compile(
    r"code: (AccessDenied|403)|ObjectLocked|WORM protected|BlobImmutable|is immutable|legal hold",
    re.IGNORECASE,
)


class RemoteStore:
    """Objects below a prefix of a bucket.

    :param clients: obstore's clients of the store.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._url = clients.spec.url
        self._retry_timeout_s = clients.options.retry_timeout

    @classmethod
    def from_spec(cls, spec: RepositorySpec, credentials: Mapping[str, str]) -> RemoteStore:
        """Open the store of a repository.

        :raises ConfigInvalid: an option is not usable, or the URL names no bucket.
        """
        return cls(Clients(spec, credentials))

    @property
    def url(self) -> str:
        return self._url

    def put_new(self, path: str, data: bytes) -> None:
        storage_class = self._clients.options.storage_class
        attributes = (
            {"Storage-Class": storage_class} if storage_class and len(data) >= _MIN_CLASS_BYTES else None
        )
        client = self._clients.for_size(len(data))
        try:
            self._retried(
                f"create {path}",
                lambda: obstore.put(
                    client,
                    self._checked(path),
                    data,
                    mode="create",
                    use_multipart=False,
                    attributes=attributes,  # type: ignore[arg-type]
                ),
            )
        except (oe.AlreadyExistsError, oe.PreconditionError):
            raise AlreadyExists(path) from None
        except FileNotFoundError as exc:
            raise self._failed(f"create {path}", exc) from None

    def get(self, path: str, *, max_bytes: int | None = None) -> bytes:
        def fetch() -> bytes | int:
            result = obstore.get(self._clients.usual, self._checked(path))
            size: int = result.meta["size"]
            if max_bytes is not None and size > max_bytes:
                raise ObjectTooLarge(path)
            return bytes(result.bytes()) if size <= _PART_BYTES else size

        try:
            found = self._retried(f"read {path}", fetch)
            return found if isinstance(found, bytes) else self._in_parts(path, found)
        except FileNotFoundError as exc:
            self._raise_if_bucket_is_gone(path, exc)
            raise ObjectMissing(path) from None

    def _in_parts(self, path: str, size_bytes: int) -> bytes:
        """Read a large object in parts, so that a lost connection costs one part."""
        whole = bytearray()
        while len(whole) < size_bytes:
            wanted = min(_PART_BYTES, size_bytes - len(whole))
            part = self.get_range(path, len(whole), wanted)
            if len(part) != wanted:
                raise StoreFailed(
                    f"{path} in {self._url} has {size_bytes} bytes; {len(whole) + len(part)} were received."
                )
            whole += part
        return bytes(whole)

    def get_uncached(self, path: str, *, max_bytes: int | None = None) -> bytes:
        return self.get(path, max_bytes=max_bytes)

    def get_range(self, path: str, offset: int, size_bytes: int, *, uncached: bool = False) -> bytes:
        def fetch() -> bytes:
            try:
                return bytes(
                    obstore.get_range(
                        self._clients.usual, self._checked(path), start=offset, length=size_bytes
                    )
                )
            except (FileNotFoundError, *_FINAL):
                raise
            except oe.BaseError:
                # obstore has no error of its own for a range beyond the end.
                if obstore.head(self._clients.usual, self._checked(path))["size"] <= offset:
                    return b""
                raise

        try:
            return self._retried(f"read {path}", fetch)
        except FileNotFoundError as exc:
            self._raise_if_bucket_is_gone(path, exc)
            raise ObjectMissing(path) from None

    def size(self, path: str) -> int | None:
        try:
            meta = self._retried(
                f"look up {path}", lambda: obstore.head(self._clients.usual, self._checked(path))
            )
        except FileNotFoundError as exc:
            self._raise_if_bucket_is_gone(path, exc)
            return None
        return int(meta["size"])

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        def collect() -> list[ObjectInfo]:
            batches = obstore.list(self._clients.usual, prefix=self._checked(prefix.rstrip("/")))
            return [ObjectInfo(m["path"], m["size"], m["last_modified"]) for batch in batches for m in batch]

        try:
            # Collected before the first is yielded, because a listing that fails halfway must not look complete.
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
            obstore.delete(self._clients.usual, self._checked(path))
        except oe.BaseError as exc:
            text = str(exc)
            refused = isinstance(exc, oe.PermissionDeniedError) or _LOCKED.search(text)
            if not refused or _EXPIRED.search(text):
                raise
            raise StoreDenied(
                f"{path} in {self._url} cannot be deleted: {self._clients.redacted(text)}"
            ) from None

    def leftovers(self) -> Iterator[ObjectInfo]:
        """Yield nothing, because a create is one request and leaves the whole object or nothing."""
        yield from ()

    def _retried(self, what: str, call: Callable[[], T]) -> T:
        """Retry *call* with exponential, jittered backoff, as long as its failure may be temporary.

        :raises StoreFailed: the failure is final, or *retry_timeout* has passed.
        """
        deadline = time.monotonic() + self._retry_timeout_s
        pause_s = 0.2
        while True:
            try:
                return call()
            except (oe.AlreadyExistsError, oe.PreconditionError):
                raise
            except oe.BaseError as exc:
                if not self._may_pass(exc) or time.monotonic() + pause_s > deadline:
                    raise self._failed(what, exc) from None
            time.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(pause_s * 2, MAX_BACKOFF_S)

    def _may_pass(self, exc: oe.BaseError) -> bool:
        """Return whether a retry may help; discard the expired token of a role, so that it is assumed again."""
        text, role = str(exc), self._clients.role
        if _EXPIRED.search(text) or (role and _BODILESS.search(text)):
            if role:
                role.forget()
            return role is not None
        return "StsUnavailable" in text or not isinstance(exc, _FINAL)

    def _checked(self, path: str) -> str:
        try:
            safe_parts(path)
        except ValueError as exc:
            raise StoreFailed(f"The store {self.url} was asked for a name outside its root: {exc}.") from exc
        return path

    def _raise_if_bucket_is_gone(self, path: str, exc: FileNotFoundError) -> None:
        """Raise if the bucket is missing, which is no evidence that an object was lost.

        :raises StoreFailed: the bucket does not exist.
        """
        text = str(exc)
        if "NoSuchBucket" in text or "ContainerNotFound" in text or "bucket does not exist" in text:
            raise self._failed(f"read {path}", exc) from None

    def _failed(self, what: str, exc: Exception) -> StoreFailed:
        # The callers raise it "from None", because obstore's own text may show a signed URL or an access key.
        kind = type(exc).__name__.removesuffix("Error")
        return StoreFailed(
            f"The object store {self._url} failed to {what}: {kind}: {self._clients.redacted(str(exc))}",
            hint="Check the store, the network and the credentials; nothing was published.",
            # The next try of a task may have new credentials, but wrong ones stay wrong.
            retryable=not isinstance(exc, _FINAL) or bool(_EXPIRED.search(str(exc))),
        )
