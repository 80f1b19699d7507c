"""Facade over the repository of one cluster: chunk store, records and lease."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.errors import (
    ConfigInvalid,
    KeyMissing,
    ManifestCorrupt,
    NoSuchBackup,
    RepositoryMismatch,
)
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.codec import Codec
from airflow_restore_replay.core.repository.format.keyring import Key, Keyring
from airflow_restore_replay.core.repository.format.records import (
    Condemned,
    FileEntry,
    LogGap,
    LogPiece,
    Manifest,
    Outcome,
    PruneRecord,
    Verdict,
    Verification,
    new_id,
    utc_now,
)
from airflow_restore_replay.core.repository.format.refs import ChunkRef
from airflow_restore_replay.core.repository.format.seals import Seal, Sealer
from airflow_restore_replay.core.repository.lease import Lease
from airflow_restore_replay.core.repository.objects.chunks import ChunkStore
from airflow_restore_replay.core.repository.objects.descriptor import (
    MARKER,
    Marker,
    opened_for_writing,
    read_marker,
)
from airflow_restore_replay.core.repository.objects.key_checks import (
    accept_active,
    known_keys,
    open_keyring,
    refuse_lost_keys,
)
from airflow_restore_replay.core.repository.objects.lease_objects import LOG_LEASES
from airflow_restore_replay.core.repository.objects.lists import (
    fill_in,
    read_chunk_list,
    read_entries,
    write_file_list,
)
from airflow_restore_replay.core.repository.objects.record_store import (
    FOLDERS,
    RECORD_OBJECT,
    read_all,
    read_manifest,
    stranger,
    write_record,
)
from airflow_restore_replay.core.repository.objects.upgrade import legacy_names, record_upgrade
from airflow_restore_replay.core.repository.store.base import ObjectInfo, ObjectMissing, ObjectStore
from airflow_restore_replay.core.repository.store.opening import open_store

LOG = logging.getLogger(__name__)

R = TypeVar("R", Manifest, Verdict, PruneRecord, Condemned, Verification, LogPiece, LogGap)


class Repository:
    """The backups of one cluster in an object store; create it with :meth:`open`.

    :ivar store: raw objects.
    :ivar lease: allows one writer of backups per cluster.
    :ivar log_lease: allows one writer of the archive per cluster.
    :ivar key_id: the key that new backups are encrypted with; empty without encryption.
    :ivar chunks: contents under that key; use :meth:`chunks_for` for those of an existing backup.
    :ivar codec: encodes these contents.
    """

    def __init__(
        self,
        store: ObjectStore,
        marker: Marker,
        keyring: Keyring | None = None,
        *,
        compression_level: int = 1,
    ) -> None:
        self.store = store
        self.cluster = marker.cluster
        self.repository_id = marker.repository_id
        self.chunk_size_bytes = marker.chunk_size_bytes
        self.keyring = keyring
        self.key_id = keyring.active.key_id if keyring else ""
        self.sealer = Sealer(keyring, marker.repository_id, legacy_names(store, marker, keyring))
        keys: Mapping[str, Key | None] = keyring.keys if keyring else {"": None}
        self._chunks = {
            key_id: ChunkStore(store, Codec(compression_level, key), marker=MARKER, condemned=self.condemned)
            for key_id, key in keys.items()
        }
        self.chunks = self._chunks[self.key_id]
        self.codec = self.chunks.codec
        self.lease = Lease(store, marker.cluster, self.sealer)
        self.log_lease = Lease(store, marker.cluster, self.sealer, LOG_LEASES)

    @classmethod
    def open(
        cls,
        spec: RepositorySpec,
        *,
        cluster: str,
        credentials: Mapping[str, str] | None = None,
        keys: Sequence[str] = (),
        write: bool,
        compression_level: int = 1,
    ) -> Repository:
        """Open a cluster's repository.

        :param keys: keys from the sources in ``spec.encryption``, 64 hex digits each, the active one first.
        :param write: create the repository if there is none, prove that the store supports conditional creates, and
            register the active key.
        :raises RepositoryMismatch: it is another cluster's, of a newer format, or (read only) there is none.
        :raises StoreUnsafe: the store replaces objects.
        :raises KeyRefused: keys are wrong, or given for a repository without encryption, or missing for an encrypted
            one.
        :raises KeyMissing: backups need a key that is not available. Only writers check this, so that a cycle fails
            before its work and not after.
        """
        if spec.encryption and not keys:
            raise ConfigInvalid("repository.encryption is configured, but its keys were not read.")
        store = open_store(spec, credentials)
        first_key = Key.of(keys[0]).key_id if keys else ""
        marker = opened_for_writing(store, cluster, first_key) if write else read_marker(store)
        if marker.cluster != cluster:
            raise RepositoryMismatch(
                f"The repository {store.url} belongs to cluster {marker.cluster!r}, not to {cluster!r}.",
                hint="Give each cluster a URL prefix of its own.",
            )
        keyring = open_keyring(store, marker, keys, write=write)
        repository = cls(store, marker, keyring, compression_level=compression_level)
        if write and keyring:
            refuse_lost_keys(
                store,
                marker.repository_id,
                keyring,
                repository.keys_needed(missing=True),
                repository.log_keys_needed(missing=True),
            )
            accept_active(store, marker, keyring)
            record_upgrade(store, marker, repository.sealer)
        return repository

    @classmethod
    def of_cluster(
        cls,
        cluster: Cluster,
        *,
        credentials: Mapping[str, str] | None = None,
        keys: Sequence[str] = (),
        write: bool,
    ) -> Repository:
        """Open the repository that *cluster* configures; see :meth:`open`."""
        return cls.open(
            cluster.repository,
            cluster=cluster.name,
            credentials=credentials,
            keys=keys,
            write=write,
            compression_level=cluster.transfer.compression_level,
        )

    def chunks_for(self, manifest: Manifest) -> ChunkStore:
        """Return the chunk store under the key that *manifest*'s backup was written with.

        :raises KeyMissing: that key is not available, which is no evidence against the backup.
        """
        return self._chunks_of(manifest.key_id, f"Backup {manifest.backup_id}")

    def codec_for(self, piece: LogPiece) -> Codec:
        """Return the codec with the key that the parts of *piece* were written with.

        :raises KeyMissing: that key is not available.
        """
        return self._chunks_of(piece.key_id, f"Piece {piece.piece_id} of {piece.log}").codec

    def _chunks_of(self, key_id: str, what: str) -> ChunkStore:
        if key_id not in self._chunks:
            raise KeyMissing(
                f"{what} needs key {key_id or '(none)'}, which is not available.",
                hint="Name its source under repository.encryption.previous.",
                evidence={"key_id": key_id},
            )
        return self._chunks[key_id]

    def keys_needed(self, *, missing: bool = False) -> dict[str, list[str]]:
        """Return key id → ids of the backups that need the key.

        An unreadable manifest counts for the key that its seal names, if a key at hand vouches for that.

        :param missing: only keys that are not available.
        """
        manifests, unreadable = self.records(Manifest)
        needed: dict[str, list[str]] = {}
        for manifest in manifests:
            needed.setdefault(manifest.key_id, []).append(manifest.backup_id)
        for path in unreadable:
            match = RECORD_OBJECT.fullmatch(path)
            if match and (key_id := stranger(self.store, path, self.sealer)):
                needed.setdefault(key_id, []).append(match[1])
        return {k: ids for k, ids in needed.items() if not missing or (k and k not in self._chunks)}

    def log_keys_needed(self, *, missing: bool = False) -> dict[str, list[str]]:
        """Return key id → names of the archived binary logs that need the key.

        :param missing: only keys that are not available. If all keys that the repository accepts are, no record is
            read: an archive has thousands, and each was written under an accepted key.
        """
        if missing and known_keys(self.store) <= self._chunks.keys():
            return {}
        needed: dict[str, set[str]] = {}
        for piece in self.records(LogPiece)[0]:
            if piece.parts and not (missing and piece.key_id in self._chunks):
                needed.setdefault(piece.key_id, set()).add(piece.log)
        return {key_id: sorted(logs) for key_id, logs in needed.items()}

    def publish(
        self, manifest: Manifest, files: Sequence[FileEntry], *, known_lists: Container[str] = ()
    ) -> Manifest:
        """Publish a backup: write the file list, check the lease, then write the manifest as the last object.

        A repeated call with the same manifest changes nothing.

        :param manifest: ``run`` and ``lease_epoch`` must hold the lease; ``file_list`` is filled in here.
            ``key_id`` must be the key of its chunks.
        :param known_lists: chunk lists that this cycle decoded; they are not read again.
        :returns: the manifest as published.
        :raises LeaseLost: another run has the lease; nothing was published.
        """
        # Use the key that the chunks were written with, even if another key has become active since.
        codec = self.chunks_for(manifest).codec
        file_list = write_file_list(self.store, codec, files, condemned=self.condemned(), known=known_lists)
        manifest = msgspec.structs.replace(manifest, file_list=file_list)
        self.lease.renew(manifest.run, manifest.lease_epoch)
        write_record(self.store, manifest, self.sealer)
        return manifest

    def load_manifest(self, backup_id: str) -> Manifest:
        """Read the manifest of a backup.

        :raises NoSuchBackup: no backup has that id.
        :raises ManifestCorrupt: the manifest is damaged.
        """
        try:
            return read_manifest(self.store, backup_id, self.cluster, self.sealer)
        except ObjectMissing:
            raise NoSuchBackup(
                f"Cluster {self.cluster} has no backup {backup_id}.",
                hint="`restore-replay list` shows what there is.",
            ) from None

    def load_files(self, manifest: Manifest) -> list[FileEntry]:
        """Read the file list of a backup, with the chunks of all files.

        :raises ManifestCorrupt: the file list, or a chunk list, is missing or does not match its name.
        :raises KeyMissing: see :meth:`chunks_for`.
        """
        codec = self.chunks_for(manifest).codec
        with self._blaming(manifest):
            return fill_in(self.store, codec, read_entries(self.store, codec, manifest.file_list))

    def load_entries(self, manifest: Manifest) -> list[FileEntry]:
        """Read the file list like :meth:`load_files`, but leave the chunks of large files to :meth:`load_chunk_list`.

        :raises ManifestCorrupt, KeyMissing: see :meth:`load_files`.
        """
        with self._blaming(manifest):
            return read_entries(self.store, self.chunks_for(manifest).codec, manifest.file_list)

    def load_chunk_list(self, manifest: Manifest, ref: str, *, uncached: bool = False) -> list[ChunkRef]:
        """Read the references of one large file.

        :param ref: reference of a chunk list that an entry of *manifest* names.
        :param uncached: read from the medium, not from a cache of this machine.
        :raises ManifestCorrupt, KeyMissing: see :meth:`load_files`.
        """
        with self._blaming(manifest):
            return read_chunk_list(self.store, self.chunks_for(manifest).codec, ref, uncached=uncached)

    @contextlib.contextmanager
    def _blaming(self, manifest: Manifest) -> Iterator[None]:
        try:
            yield
        except ManifestCorrupt as exc:
            self.require_marker()
            exc.evidence |= {"backup": manifest.backup_id}
            raise

    def record(self, record: Verdict | PruneRecord | Condemned | Verification | LogPiece | LogGap) -> None:
        """Store a record; a repeated call with the same record changes nothing."""
        write_record(self.store, record, self.sealer)

    def records(self, kind: type[R]) -> tuple[list[R], dict[str, str]]:
        """Return all readable records of *kind*, unsorted, and path → error for the unreadable ones."""
        unreadable: dict[str, str] = {}
        return [record for _, record, _ in self._read_all(kind, unreadable)], unreadable

    def condemned(self) -> frozenset[str]:
        """Return names of objects that pruning may delete at any time, so no new manifest may reference them.

        An unreadable record condemns nothing, because no run can delete by it either.
        """
        records, unreadable = self.records(Condemned)
        for path, why in unreadable.items():
            LOG.warning("%s is ignored: %s", path, why)
        return frozenset(name for record in records for name in record.objects)

    def new_verdict(self, outcome: Outcome, run: str, **fields: Any) -> Verdict:
        """Return a new verdict of this cluster with the current time, not yet recorded."""
        at = utc_now()
        return Verdict(verdict_id=new_id(at), at=at, cluster=self.cluster, run=run, outcome=outcome, **fields)

    def catalog(self) -> Catalog:
        """Read all manifests and verdicts; damaged ones are reported in ``unreadable``, never ignored."""
        unreadable: dict[str, str] = {}
        read = list(self._read_all(Manifest, unreadable))
        judged = list(self._read_all(Verdict, unreadable))
        return Catalog.of(
            self.cluster,
            [manifest for _, manifest, _ in read],
            [verdict for _, verdict, _ in judged],
            unreadable,
            stored={manifest.backup_id: info.modified for info, manifest, _ in read},
            recorded={verdict.verdict_id: info.modified for info, verdict, _ in judged},
        )

    def _read_all(self, kind: type[R], unreadable: dict[str, str]) -> Iterator[tuple[ObjectInfo, R, Seal]]:
        listed = self.store.list(f"{FOLDERS[kind][0]}/")
        return read_all(self.store, kind, self.cluster, self.sealer, listed, unreadable)

    def require_marker(self) -> None:
        """Raise if the whole repository is gone: then a missing object is no evidence against a backup.

        :raises RepositoryMismatch: ``repository.json`` is missing, or not readable.
        """
        read_marker(self.store)
