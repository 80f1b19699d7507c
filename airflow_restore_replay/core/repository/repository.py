"""The repository: chunks, records and the lease of one cluster, with meaning."""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from airflow_restore_replay.core.cluster import RepositorySpec
from airflow_restore_replay.core.decoding import decode
from airflow_restore_replay.core.errors import (
    ManifestCorrupt,
    NoSuchBackup,
    RepositoryMismatch,
    RestoreReplayError,
    StoreUnsafe,
)
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.chunks import CHUNK_SIZE_BYTES, ChunkStore
from airflow_restore_replay.core.repository.codec import Codec
from airflow_restore_replay.core.repository.entries import check_chunk_size
from airflow_restore_replay.core.repository.lease import Lease
from airflow_restore_replay.core.repository.lists import (
    fill_in,
    read_chunk_list,
    read_entries,
    write_file_list,
)
from airflow_restore_replay.core.repository.manifests import (
    FOLDERS,
    read_manifest,
    read_record,
    sealed,
    unsealed,
    write_record,
)
from airflow_restore_replay.core.repository.parallel import run_bounded
from airflow_restore_replay.core.repository.records import (
    FORMAT_VERSION,
    Condemned,
    FileEntry,
    Manifest,
    Outcome,
    PruneRecord,
    Record,
    Verdict,
    Verification,
    new_id,
    utc_now,
)
from airflow_restore_replay.core.repository.refs import ChunkRef
from airflow_restore_replay.core.repository.sharing import backups_sharing
from airflow_restore_replay.core.repository.store import (
    AlreadyExists,
    ObjectMissing,
    ObjectStore,
    ObjectTooLarge,
    open_store,
)

LOG = logging.getLogger(__name__)
MARKER = "repository.json"
_READERS = 8
_RECORD = re.compile(r"[a-z]+/([^/]+)\.json")

R = TypeVar("R", Manifest, Verdict, PruneRecord, Condemned, Verification)


class Marker(Record, frozen=True, kw_only=True):
    """``repository.json``: whose repository this is."""

    format: int
    cluster: str
    repository_id: str
    chunk_size_bytes: int
    created_at: datetime


class Repository:
    """Open with :meth:`open`.

    :ivar store: raw objects. :ivar chunks: their contents. :ivar lease: one writer per cluster.
    """

    def __init__(self, store: ObjectStore, marker: Marker, *, compression_level: int = 1) -> None:
        self.store = store
        self.cluster = marker.cluster
        self.repository_id = marker.repository_id
        self.chunk_size_bytes = marker.chunk_size_bytes
        self.codec = Codec(compression_level)
        self.chunks = ChunkStore(store, self.codec, marker=MARKER, condemned=self.condemned)
        self.lease = Lease(store, marker.cluster)

    @classmethod
    def open(
        cls,
        spec: RepositorySpec,
        *,
        cluster: str,
        credentials: Mapping[str, str] | None = None,
        write: bool,
        compression_level: int = 1,
    ) -> Repository:
        """Open a cluster's repository.

        :param write: create it when there is none, and prove that the store honours conditional creates.
        :raises RepositoryMismatch: it is another cluster's, of a newer format, or (read only) there is none.
        :raises StoreUnsafe: the store replaces objects.
        """
        store = open_store(spec, credentials)
        marker = _opened_for_writing(store, cluster) if write else _read_marker(store)
        if marker.cluster != cluster:
            raise RepositoryMismatch(
                f"The repository {store.url} belongs to cluster {marker.cluster!r}, not to {cluster!r}.",
                hint="Give each cluster a URL prefix of its own.",
            )
        return cls(store, marker, compression_level=compression_level)

    def publish(
        self, manifest: Manifest, files: Sequence[FileEntry], *, known_lists: Container[str] = ()
    ) -> Manifest:
        """Make a backup visible: file list, check of the lease, then the manifest, last of all.

        Repeating it with the same manifest does nothing.

        :param manifest: ``run`` and ``lease_epoch`` must hold the lease; ``file_list`` is filled in here.
        :param known_lists: chunk lists that this cycle decoded; they are not read again.
        :returns: the manifest as published.
        :raises LeaseLost: another run has the lease; nothing was published.
        """
        file_list = write_file_list(
            self.store, self.codec, files, condemned=self.condemned(), known=known_lists
        )
        manifest = msgspec.structs.replace(manifest, file_list=file_list)
        self.lease.renew(manifest.run, manifest.lease_epoch)
        write_record(self.store, manifest)
        return manifest

    def load_manifest(self, backup_id: str) -> Manifest:
        """:raises NoSuchBackup: there is none of that id.

        :raises ManifestCorrupt: it does not check out.
        """
        try:
            return read_manifest(self.store, backup_id, self.cluster)
        except ObjectMissing:
            raise NoSuchBackup(
                f"Cluster {self.cluster} has no backup {backup_id}.",
                hint="`restore-replay list` shows what there is.",
            ) from None

    def load_files(self, manifest: Manifest) -> list[FileEntry]:
        """:raises ManifestCorrupt: the file list, or a chunk list, is missing or does not match its name."""
        with self._blaming(manifest):
            return fill_in(self.store, self.codec, read_entries(self.store, self.codec, manifest.file_list))

    def load_entries(self, manifest: Manifest) -> list[FileEntry]:
        """Like :meth:`load_files`, but chunks of large files are not filled in: see :meth:`load_chunk_list`."""
        with self._blaming(manifest):
            return read_entries(self.store, self.codec, manifest.file_list)

    def load_chunk_list(self, manifest: Manifest, ref: str, *, uncached: bool = False) -> list[ChunkRef]:
        """:param ref: of a chunk list that an entry of *manifest* names."""
        with self._blaming(manifest):
            return read_chunk_list(self.store, self.codec, ref, uncached=uncached)

    @contextlib.contextmanager
    def _blaming(self, manifest: Manifest) -> Iterator[None]:
        try:
            yield
        except ManifestCorrupt as exc:
            self._require_marker()
            exc.evidence |= {"backup": manifest.backup_id}
            raise

    def record(self, record: Verdict | PruneRecord | Condemned | Verification) -> None:
        """Store a record; repeating it does nothing."""
        write_record(self.store, record)

    def records(self, kind: type[R]) -> tuple[list[R], dict[str, str]]:
        """:returns: all records of *kind*, unsorted, and what is wrong with those that are not readable, by path."""
        unreadable: dict[str, str] = {}
        return self._read_all(kind, unreadable), unreadable

    def condemned(self) -> frozenset[str]:
        """:returns: names of objects that pruning may delete at any moment; no new manifest may lead to them.

        A record that is not readable condemns nothing: no run can act on it either.
        """
        records, unreadable = self.records(Condemned)
        for path, why in unreadable.items():
            LOG.warning("%s is passed over: %s", path, why)
        return frozenset(name for record in records for name in record.objects)

    def new_verdict(self, outcome: Outcome, run: str, **fields: Any) -> Verdict:
        """:returns: a verdict of this cluster, now, not yet recorded."""
        at = utc_now()
        return Verdict(verdict_id=new_id(at), at=at, cluster=self.cluster, run=run, outcome=outcome, **fields)

    def catalog(self) -> Catalog:
        """Read all records; those that do not check out are reported in ``unreadable``, never passed over."""
        unreadable: dict[str, str] = {}
        manifests = self._read_all(Manifest, unreadable)
        verdicts = self._read_all(Verdict, unreadable)
        return Catalog.of(self.cluster, manifests, verdicts, unreadable)

    def backups_sharing(self, damaged: Iterable[str]) -> dict[str, list[str]]:
        """:param damaged: keys of stored contents (:func:`~...refs.key_of`), or names of list objects.

        :returns: for each, ids of all readable backups that use it, sorted.
        """
        return backups_sharing(self, damaged)

    def _read_all(self, kind: type[R], unreadable: dict[str, str]) -> list[R]:
        prefix = f"{FOLDERS[kind][0]}/"
        found: list[R] = []
        ids: list[str] = []
        for info in self.store.list(prefix):
            match = _RECORD.fullmatch(info.path)
            if match:
                ids.append(match[1])
            else:
                unreadable[info.path] = f"{info.path} is not a record's name."

        def fetch(record_id: str) -> R | str | None:
            try:
                return read_record(self.store, kind, record_id, self.cluster)
            except ManifestCorrupt as exc:
                return exc.message
            except ObjectMissing:  # pruned since the listing
                return None

        for record_id, record in run_bounded(ids, fetch, threads=_READERS):
            if isinstance(record, str):
                unreadable[f"{prefix}{record_id}.json"] = record
            elif record is not None:
                found.append(record)
        return found

    def _require_marker(self) -> None:
        """When the whole repository is gone, a missing object is no evidence against a backup."""
        _read_marker(self.store)


def _opened_for_writing(store: ObjectStore, cluster: str) -> Marker:
    try:
        marker, stored = _decoded_marker(store)
    except ObjectMissing:
        fresh = Marker(
            format=FORMAT_VERSION,
            cluster=cluster,
            repository_id=secrets.token_hex(16),
            chunk_size_bytes=CHUNK_SIZE_BYTES,
            created_at=utc_now(),
        )
        try:
            store.put_new(MARKER, sealed(msgspec.json.encode(fresh)))
        except AlreadyExists:
            LOG.info("Another run created the repository %s at the same moment.", store.url)
        marker, stored = _decoded_marker(store)
    _prove_conditional_create(store, stored)
    return marker


def _prove_conditional_create(store: ObjectStore, stored: bytes) -> None:
    """Create the marker again, with the bytes it has: a sound store refuses, an unsound one loses nothing."""
    try:
        store.put_new(MARKER, stored)
    except AlreadyExists:
        return
    raise StoreUnsafe(
        f"The store {store.url} replaced an existing object although it was told not to (If-None-Match: *).",
        hint="Two runs could overwrite each other; use a store, or a proxy in front of it, that honours it.",
    )


def _read_marker(store: ObjectStore) -> Marker:
    try:
        return _decoded_marker(store)[0]
    except ObjectMissing:
        raise RepositoryMismatch(
            f"There is no repository at {store.url}: {MARKER} is missing.",
            hint="Check repository.url; the first cycle creates the repository.",
        ) from None


def _decoded_marker(store: ObjectStore) -> tuple[Marker, bytes]:
    try:
        stored = store.get_uncached(MARKER, max_bytes=2**16)
        marker = decode(stored.partition(b"\n")[0], Marker)
        if marker.format != FORMAT_VERSION:
            raise RepositoryMismatch(
                f"The repository {store.url} has format {marker.format}, not {FORMAT_VERSION}.",
                hint="Use a newer release.",
            )
        unsealed(stored, MARKER)
        check_chunk_size(marker.chunk_size_bytes)
    except (msgspec.DecodeError, ObjectTooLarge, ManifestCorrupt) as exc:
        text = exc.message if isinstance(exc, RestoreReplayError) else str(exc)
        raise RepositoryMismatch(f"{MARKER} in {store.url} is not a repository's: {text}") from exc
    return marker, stored
