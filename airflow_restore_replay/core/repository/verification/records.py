"""Whether all records are there and sound: each names others, by which a deleted one is noticed."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_restore_replay.core.errors import StoreFailed
from airflow_restore_replay.core.repository.format.records import (
    Condemned,
    LogPiece,
    Manifest,
    PruneRecord,
    Record,
    Verdict,
    Verification,
)
from airflow_restore_replay.core.repository.format.seals import Seal
from airflow_restore_replay.core.repository.objects.key_checks import check_complaint, key_path, known_keys
from airflow_restore_replay.core.repository.objects.lease_objects import (
    LEASES,
    LOG_LEASES,
    Claim,
    Released,
    Renewal,
    lease_folder,
    read_lease_object,
)
from airflow_restore_replay.core.repository.objects.record_store import (
    FOLDERS,
    manifest_path,
    read_all,
    record_path,
)
from airflow_restore_replay.core.repository.objects.succession import LEASE_OBJECT, UPGRADE
from airflow_restore_replay.core.repository.objects.upgrade import upgrade_complaint
from airflow_restore_replay.core.repository.objects.wrapped_keys import wrapped_complaints
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.base import ObjectMissing
from airflow_restore_replay.core.system.parallel import run_bounded

_KINDS: tuple[type[Record], ...] = (Manifest, Verdict, PruneRecord, Condemned, Verification)
#: of the repository's state; the others say what was looked at, or what may be deleted
_MAIN: tuple[type[Record], ...] = (Manifest, Verdict, PruneRecord)
_LEASE_KINDS: dict[str, type[Any]] = {"claim": Claim, "renewal": Renewal, "released": Released}
_READERS = 8
#: a repository may have thousands of records of verifications, and a few of the latest name what is there
_FEW = 16


@dataclass
class RecordsReport:
    """What is wrong with records.

    :param missing: name of an object → the record that names it.
    :param damaged: name of an object → what is wrong with it.
    """

    missing: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)


def missing_records(repository: Repository) -> dict[str, str]:
    """Return manifests, verdicts and prunes that others name and that are gone → a record that names them."""
    found = _Look(repository, few=True).missing()
    return {p: by for p, by in found.items() if p.startswith(tuple(f"{FOLDERS[kind][0]}/" for kind in _MAIN))}


def examine_records(repository: Repository) -> RecordsReport:
    """Look at all records but those of the archive, both kinds of leases, and key checks.

    A run may write, prune and renew meanwhile, so that only what a second look finds as well counts.
    """
    first = _examine(repository)
    if not (first.missing or first.damaged):
        return first
    again = _examine(repository)
    return RecordsReport(
        {p: by for p, by in again.missing.items() if p in first.missing},
        {p: why for p, why in again.damaged.items() if p in first.damaged},
    )


def _examine(repository: Repository) -> RecordsReport:
    look = _Look(repository)
    damaged = dict(look.unreadable) | _key_complaints(repository, look) | look.lease_complaints()
    if complaint := upgrade_complaint(repository.store, repository.sealer):
        damaged[UPGRADE] = complaint
    return RecordsReport({p: by for p, by in look.missing().items() if p not in damaged}, damaged)


class _Look:
    """One reading of the records.

    :param few: of records that are not the repository's state, only the latest.
    :ivar unreadable: name of an object → what is wrong with it.
    """

    def __init__(self, repository: Repository, *, few: bool = False) -> None:
        self._repository = repository
        self.unreadable: dict[str, str] = {}
        #: name of an object → the first record that names it
        self._named: dict[str, str] = {}
        self._there: set[str] = set()
        self._excused: set[str] = set()
        #: folder of leases → the newest epoch that a record names
        self._epochs = {LEASES: 0, LOG_LEASES: 0}
        self.keys: set[str] = set()
        for kind in _KINDS:
            self._read(kind, _FEW if few and kind not in _MAIN else None)
        self._leases = {folder: self._list_leases(folder) for folder in self._epochs}
        if not few:
            self._read_pieces()

    def missing(self) -> dict[str, str]:
        """Return name of a missing object → the record that names it."""
        store = self._repository.store
        latest = {folder: max(epochs, default=0) for folder, epochs in self._leases.items()}
        candidates = {}
        for path, by in sorted(self._named.items()):
            lease = LEASE_OBJECT.fullmatch(path)
            if path in self._there | self._excused or (
                lease and int(lease[1]) < latest[path.partition("/")[0]] - 1
            ):
                continue
            candidates[path] = by
        sizes = run_bounded(candidates, store.size, threads=_READERS)
        found = {path: f"{candidates[path]} names it" for path, size in sizes if size is None}
        for folder, epoch in self._epochs.items():
            if epoch > latest[folder]:
                found[f"{lease_folder(epoch, folder)}claim.json"] = "a record of that lease is there"
        return found

    def lease_complaints(self) -> dict[str, str]:
        """Return what is wrong with the objects of the latest leases; older ones may be half deleted."""
        found: dict[str, str] = {}
        for folder, leases in self._leases.items():
            for epoch in sorted(leases)[-2:]:
                found |= self._complaints_of(folder, epoch, leases[epoch])
        return found

    def _complaints_of(self, folder: str, epoch: int, objects: Mapping[str, str]) -> dict[str, str]:
        found: dict[str, str] = {}
        released: Any = None
        for path, kind in objects.items():
            try:
                content, _ = read_lease_object(
                    self._repository.store, path, _LEASE_KINDS[kind], self._repository.sealer
                )
            except StoreFailed as exc:
                found[path] = exc.message
                continue
            except ObjectMissing:
                continue
            released = content if kind == "released" else released
            if kind == "claim" and content.epoch != epoch:
                found[path] = f"it claims epoch {content.epoch}"
        return found | _gaps(lease_folder(epoch, folder), objects, released.renewals if released else 0)

    def _read(self, kind: type[Any], limit: int | None) -> None:
        repository = self._repository
        listed = sorted(
            repository.store.list(f"{FOLDERS[kind][0]}/"), key=lambda info: info.modified, reverse=True
        )
        self._there |= {info.path for info in listed}
        for info, record, seal in read_all(
            repository.store, kind, repository.cluster, repository.sealer, listed[:limit], self.unreadable
        ):
            self._note(info.path, record, seal)

    def _note(self, path: str, record: Any, seal: Seal) -> None:
        for name in [*seal.after, *_names_in(record)]:
            self._named.setdefault(name, path)
        if seal.key_id:
            self.keys.add(seal.key_id)
            self._named.setdefault(key_path(seal.key_id), path)
        self._epochs[LEASES] = max(self._epochs[LEASES], getattr(record, "lease_epoch", 0))
        if isinstance(record, PruneRecord):
            self._excused |= {manifest_path(pruned.backup_id) for pruned in record.deleted}
            self._excused |= {record_path(Condemned, condemned) for condemned in record.spent}

    def _read_pieces(self) -> None:
        """Read which lease of the archive the latest pieces name; whether they are sound is the archive's to tell."""
        repository = self._repository
        listed = repository.store.list(f"{FOLDERS[LogPiece][0]}/")
        latest = heapq.nlargest(_FEW, listed, key=lambda info: (info.modified, info.path))
        for _, piece, _ in read_all(
            repository.store, LogPiece, repository.cluster, repository.sealer, latest, {}
        ):
            self._epochs[LOG_LEASES] = max(self._epochs[LOG_LEASES], piece.lease_epoch)

    def _list_leases(self, folder: str) -> dict[int, dict[str, str]]:
        """Return epoch → name of an object → its kind."""
        leases: dict[int, dict[str, str]] = {}
        for info in self._repository.store.list(f"{folder}/"):
            if match := LEASE_OBJECT.fullmatch(info.path):
                leases.setdefault(int(match[1]), {})[info.path] = match[2].partition("-")[0]
                self._there.add(info.path)
        return leases


def _names_in(record: Any) -> Iterable[str]:
    """Yield names of the objects that a record's content refers to."""
    if isinstance(record, Manifest):
        if record.base.backup_id:
            yield manifest_path(record.base.backup_id)
        if record.key_id:
            yield key_path(record.key_id)
    if isinstance(record, Verdict):
        yield from (manifest_path(i) for i in (record.backup_id, record.published_id) if i)
        yield from (record_path(Verdict, i) for i in record.withdraws)


def _gaps(folder: str, objects: Mapping[str, str], renewals: int) -> dict[str, str]:
    """Return the objects that an epoch must have and has not: its claim, and all renewals up to the last."""
    found = {}
    if f"{folder}claim.json" not in objects:
        found[f"{folder}claim.json"] = "it is missing, and other objects of that lease are there"
    last = max((int(p[-11:-5]) for p, kind in objects.items() if kind == "renewal"), default=0)
    for number in range(1, max(last, renewals) + 1):
        if (path := f"{folder}renewal-{number:06d}.json") not in objects:
            found[path] = "it is missing, and a later object of that lease is there"
    return found


def _key_complaints(repository: Repository, look: _Look) -> dict[str, str]:
    if repository.keyring is None:
        return {}
    found = wrapped_complaints(repository.store, repository.cluster, repository.keyring)
    for key_id in sorted(known_keys(repository.store) | look.keys):
        complaint = check_complaint(repository.store, key_id, repository.repository_id, repository.keyring)
        if complaint:
            found[key_path(key_id)] = complaint
    return found
