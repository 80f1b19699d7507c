"""Ask a store whether it is fit for a repository, by doing it."""

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
_CONTENT = b'{"made_by":"restore-replay","purpose":"to see whether this store honours conditional creates"}\n'


def probe_repository(
    spec: RepositorySpec,
    credentials: Mapping[str, str],
    *,
    keys: Sequence[str] = (),
    cluster: str | None = None,
) -> str:
    """Create an object, create it again, which the store must refuse, read it back, and read what is there.

    Where there is a repository, its own marker is the object; elsewhere ``probe.json``, removed afterwards.

    :param keys: of an encrypted repository; without them it is not looked into. No new key is made known.
    :param cluster: whose repository it must be; any unless given.
    :returns: what was found, for people.
    :raises StoreFailed: the store does not do one of it. :raises StoreUnsafe: it replaced the object.
    :raises RepositoryMismatch: it holds another cluster's repository. :raises KeyRefused: a key is wrong.
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
    except AlreadyExists:  # with other content: it refused
        return
    except ObjectMissing:
        raise StoreFailed(f"{PROBE} was written to {store.url} and is not there.") from None
    finally:
        # Credentials without the right to delete suffice; the object then stays, and the next probe meets it.
        with contextlib.suppress(RestoreReplayError):
            store.delete(PROBE)
