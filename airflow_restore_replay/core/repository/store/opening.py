"""Open the object store of a repository by its URL."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.config.store_options import OBJECT_SCHEMES
from airflow_restore_replay.core.errors import ConfigInvalid
from airflow_restore_replay.core.repository.store.base import ObjectStore
from airflow_restore_replay.core.repository.store.local import LocalStore


def open_store(spec: RepositorySpec, credentials: Mapping[str, str] | None = None) -> ObjectStore:
    """Open the object store of a repository, without reading or writing.

    :param credentials: obstore's configuration keys (``access_key_id``, ``secret_access_key``, …), and a role to
        assume with them (``role_arn``, …); missing keys come from the environment.
    :raises ConfigInvalid: unknown scheme or option.
    """
    scheme = urlsplit(spec.url).scheme
    if scheme == "file":
        return LocalStore.from_spec(spec)
    if scheme in OBJECT_SCHEMES:
        # Imported here, because a local repository does not need obstore.
        from airflow_restore_replay.core.repository.store.remote import RemoteStore

        return RemoteStore.from_spec(spec, credentials or {})
    raise ConfigInvalid(
        f"repository.url {spec.url!r} has the scheme {scheme!r}, not file, {', '.join(OBJECT_SCHEMES)}.",
        hint="For example file:///var/backups/orders or s3://bucket/orders.",
    )
