"""Test whether a store is suitable for a repository, by writing to it and reading it back."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.errors import RestoreReplayError, StoreFailed
from airflow_restore_replay.core.repository.objects.descriptor import proven_marker
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.base import (
    AlreadyExists,
    ObjectMissing,
    ObjectStore,
    create_or_same,
    prove_conditional_create,
)
from airflow_restore_replay.core.repository.store.opening import open_store

PROBE = "probe.json"
_CONTENT = (
    b'{"made_by":"restore-replay","purpose":"to see whether this store supports conditional creates"}\n'
)


def probe_repository(
    spec: RepositorySpec,
    credentials: Mapping[str, str],
    *,
    keys: Sequence[str] = (),
    cluster: str | None = None,
) -> str:
    """Test a store: create an object, create it again, which the store must refuse, and read it back.

    If there is a repository, its ``repository.json`` is the object, and its catalog is read. Otherwise the object is
    ``probe.json``, which is removed afterwards.

    :param keys: of an encrypted repository; without them its catalog is not read. No new key is registered.
    :param cluster: the cluster that the repository must belong to; any by default.
    :returns: a summary for people.
    :raises StoreFailed: one of these steps failed.
    :raises StoreUnsafe: the store replaced the object.
    :raises RepositoryMismatch: the store holds another cluster's repository.
    :raises KeyRefused: a key is wrong.
    """
    store = open_store(spec, credentials)
    marker = proven_marker(store)
    works = f"{store.url}: conditional create and read work"
    if marker is None:
        _probe_empty(store)
        return f"{works}; there is no repository yet."
    if marker.encryption and not keys:
        return (
            f"{works}; the repository of cluster {marker.cluster!r} is encrypted, and no key is given here."
        )
    repository = Repository.open(
        spec, cluster=cluster or marker.cluster, credentials=credentials, keys=keys, write=False
    )
    catalog = repository.catalog()
    encrypted = f", encrypted with key {repository.key_id}" if repository.key_id else ""
    return (
        f"{works}; the repository of cluster {marker.cluster!r} has {len(catalog.backups)} backups, "
        f"{len(catalog.healthy())} of them healthy and proven{encrypted}."
    )


def _probe_empty(store: ObjectStore) -> None:
    try:
        create_or_same(store, PROBE, _CONTENT)
        if store.get_uncached(PROBE, max_bytes=len(_CONTENT)) != _CONTENT:
            raise StoreFailed(f"{PROBE} was written to {store.url} and did not read back.")
        prove_conditional_create(store, PROBE, _CONTENT)
    except AlreadyExists:  # it has other content: the store refused to replace it
        return
    except ObjectMissing:
        raise StoreFailed(f"{PROBE} was written to {store.url} and is not there.") from None
    finally:
        # Credentials without the right to delete are sufficient; the object then stays, and the next probe finds it.
        with contextlib.suppress(RestoreReplayError):
            store.delete(PROBE)
