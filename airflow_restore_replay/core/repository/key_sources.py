"""A repository's encryption keys from all kinds of sources; and those that a key management service wraps."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.config.encryption_keys import KEY_BYTES, KeySource, read_keys
from airflow_restore_replay.core.errors import KeyRefused, StoreFailed, TargetNotEmpty
from airflow_restore_replay.core.kms import Access, Kms, NotUnwrapped
from airflow_restore_replay.core.kms.opening import open_kms
from airflow_restore_replay.core.repository.format.keyring import Key
from airflow_restore_replay.core.repository.format.records import FORMAT_VERSION, utc_now
from airflow_restore_replay.core.repository.objects.wrapped_keys import (
    WrappedKey,
    about,
    is_sealed_by,
    read_wrapped,
    store_wrapped,
    wrapped_generations,
    wrapped_path,
)
from airflow_restore_replay.core.repository.store.base import AlreadyExists, ObjectStore
from airflow_restore_replay.core.repository.store.opening import open_store

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class DataKey:
    """A data key that was unwrapped.

    :param text: the key, 64 hex digits. It is secret.
    :param generation: of the wrapped key that holds it; *newest* is the newest there is, which may be damaged.
    """

    text: str
    generation: int
    newest: int

    @property
    def key_id(self) -> str:
        return Key.of(self.text).key_id

    def __repr__(self) -> str:
        return f"DataKey({self.key_id})"


def read_repository_keys(
    cluster: Cluster,
    *,
    credentials: Mapping[str, str] | None = None,
    connection: Callable[[str], str] | None = None,
    access: Callable[[str], Access] | None = None,
) -> tuple[str, ...]:
    """Read all keys of a cluster's repository, which must never be written, logged or shown.

    Nothing is written. The repository is only read if a key is wrapped.

    :param credentials: of the object store; by default those of the environment.
    :param connection: returns the key of an Airflow connection.
    :param access: returns the access to a KMS that an Airflow connection gives.
    :returns: keys as 64 hex digits, the active one first; empty without encryption.
    :raises ConfigInvalid: a source is missing, or holds no key.
    :raises KeyRefused: a KMS refuses to unwrap a key, or the repository has no wrapped key of it.
    :raises KeySourceFailed: a command failed, or a KMS did not answer.
    """

    def unwrap(source: KeySource) -> str:
        return WrappedKeys.of(cluster, source, credentials=credentials, access=access).read().text

    return read_keys(cluster.repository.encryption, connection=connection, unwrap=unwrap)


@dataclass
class WrappedKeys:
    """The wrapped keys of one KMS key in a repository."""

    store: ObjectStore
    cluster: str
    kms: Kms
    _complaints: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        cluster: Cluster,
        source: KeySource,
        *,
        credentials: Mapping[str, str] | None = None,
        access: Callable[[str], Access] | None = None,
    ) -> WrappedKeys:
        """Return the wrapped keys of *source*, which must be a KMS; see :func:`read_repository_keys`."""
        named = source.kms.connection if source.kms else None
        kms = open_kms(source, access(named) if access and named else None)
        return cls(open_store(cluster.repository, credentials), cluster.name, kms)

    def read(self) -> DataKey:
        """Unwrap the data key.

        :raises KeyRefused: there is none, all that there are are damaged, or the KMS refuses.
        :raises KeySourceFailed: the KMS does not answer.
        """
        if found := self._find():
            return found
        complaints = "; ".join(self._complaints)
        raise KeyRefused(
            f"The repository {self.store.url} has no key that {self.kms.kind} {self.kms.name} unwraps"
            f"{f': {complaints}' if complaints else ''}.",
            hint="If this key is new, run `restore-replay key new --kms`. If an object was damaged or deleted, put "
            "back a copy of it, for example an older version from the store."
            if not complaints
            else "Put back a copy of the object, for example an older version from the store; check that "
            "repository.encryption names the KMS key that wrapped it.",
        )

    def new(self) -> DataKey:
        """Make a data key, store it wrapped, and prove that it comes back.

        :raises TargetNotEmpty: the repository has a data key of this KMS key.
        :raises KeyRefused, KeySourceFailed: see :meth:`read`.
        """
        if found := self._find():
            raise TargetNotEmpty(
                f"The repository {self.store.url} has a key of {self.kms.kind} {self.kms.name}: {found.key_id}.",
                hint="For a new data key name another KMS key, and this one under repository.encryption.previous. "
                "`restore-replay key rewrap` wraps the same data key again.",
            )
        return self._store(secrets.token_hex(KEY_BYTES), 0)

    def rewrap(self) -> DataKey:
        """Wrap the data key again, under the KMS key's newest version, as the next generation.

        :raises KeyRefused, KeySourceFailed: see :meth:`read`.
        """
        found = self.read()
        return self._store(found.text, found.newest + 1)

    def _find(self) -> DataKey | None:
        """Return the oldest key that unwraps, of its newest generation that does."""
        self._complaints.clear()
        candidates: dict[str, list[WrappedKey]] = {}
        generations = wrapped_generations(self.store)
        for key_id, numbers in generations.items():
            for number in reversed(numbers):
                try:
                    wrapped = read_wrapped(self.store, key_id, number, self.cluster)
                except ValueError as exc:
                    self._complain(key_id, number, exc)
                    continue
                if wrapped.kms == self.kms.kind and self.kms.may_have_wrapped(wrapped.kms_key):
                    candidates.setdefault(key_id, []).append(wrapped)
        # Two people may have made a key at the same moment: everybody takes the same one.
        for key_id, found in sorted(candidates.items(), key=lambda item: (item[1][-1].made_at, item[0])):
            for wrapped in found:
                if text := self._unwrapped(wrapped):
                    newest = generations[key_id][-1]
                    if self._complaints:
                        LOG.warning("%s", "; ".join(self._complaints))
                    return DataKey(text, wrapped.generation, newest)
        return None

    def _unwrapped(self, wrapped: WrappedKey) -> str:
        """Return the data key, or nothing and a complaint."""
        try:
            raw = self.kms.unwrap(wrapped.wrapped, wrapped.about)
        except NotUnwrapped as exc:
            self._complain(wrapped.key_id, wrapped.generation, exc)
            return ""
        key = Key.of(raw.hex())
        if len(raw) != KEY_BYTES or key.key_id != wrapped.key_id:
            self._complain(wrapped.key_id, wrapped.generation, "it holds another key")
        elif not is_sealed_by(key.records, wrapped):
            self._complain(wrapped.key_id, wrapped.generation, "its seal is wrong: it was changed")
        else:
            return raw.hex()
        return ""

    def _complain(self, key_id: str, generation: int, what: object) -> None:
        self._complaints.append(f"{wrapped_path(key_id, generation)}: {what}")

    def _store(self, text: str, generation: int) -> DataKey:
        key = Key.of(text)
        wrapped, kms_key = self.kms.wrap(bytes.fromhex(text), about(self.cluster, key.key_id))
        made = WrappedKey(
            format=FORMAT_VERSION,
            key_id=key.key_id,
            cluster=self.cluster,
            generation=generation,
            kms=self.kms.kind,
            kms_key=kms_key,
            wrapped=wrapped,
            made_at=utc_now(),
        )
        path = wrapped_path(key.key_id, generation)
        try:
            store_wrapped(self.store, key, made)
        except AlreadyExists:
            raise StoreFailed(f"Somebody else made {path} in {self.store.url} at the same moment.") from None
        if self._unwrapped(read_wrapped(self.store, key.key_id, generation, self.cluster)) != text:
            raise StoreFailed(f"{path} was written to {self.store.url} and did not read back.")
        return DataKey(text, generation, generation)
