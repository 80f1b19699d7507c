"""All manifests and verdicts of a cluster, in any order; the state of each backup is derived from them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from airflow_restore_replay.core.errors import NoSuchBackup
from airflow_restore_replay.core.repository.format.records import (
    BackupState,
    Manifest,
    Outcome,
    Proof,
    Verdict,
)

_STAMP = re.compile(r"\d{8}T\d{6}Z-")


@dataclass(frozen=True)
class Backup:
    """A manifest, and the state that the verdicts about it give the backup.

    :param verdicts: all verdicts about the backup, oldest first.
    :param withdrawn: ids of the verdicts of the cluster that no longer count.
    """

    manifest: Manifest
    verdicts: tuple[Verdict, ...] = ()
    withdrawn: frozenset[str] = frozenset()

    @property
    def backup_id(self) -> str:
        return self.manifest.backup_id

    @property
    def against(self) -> list[Verdict]:
        """Return the quarantined and stranded verdicts that were not withdrawn, oldest first."""
        return [v for v in self._standing if v.outcome in (Outcome.QUARANTINED, Outcome.STRANDED)]

    @property
    def state(self) -> BackupState:
        """Return the state that the verdicts give the backup; a quarantine outweighs being stranded."""
        outcomes = {v.outcome for v in self.against}
        if Outcome.QUARANTINED in outcomes:
            return BackupState.QUARANTINED
        return BackupState.STRANDED if Outcome.STRANDED in outcomes else BackupState.HEALTHY

    @property
    def proof(self) -> Proof:
        """Return how far the backup is proven, by its manifest and the verdicts."""
        return Proof.RESTORED if self.restored else self.manifest.proof

    @property
    def restored(self) -> Verdict | None:
        """Return the newest verdict, not withdrawn, that the backup was restored."""
        restored = [v for v in self._standing if v.outcome is Outcome.RESTORED]
        return restored[-1] if restored else None

    @property
    def proof_cost(self) -> dict[str, Any]:
        """Return ``seconds``, ``bytes`` and ``fetched_bytes`` of the last restore; empty if they are unknown."""
        cost = self.restored.measured.get("cost") if self.restored else None
        return dict(cost) if isinstance(cost, dict) else {}

    def stands_before(self, time: datetime) -> bool:
        """Return whether the data is from before *time*, by the clock of the host that read the goal and the primary's.

        The backup's position is read after its goal, so the timestamps of its last events count as well.
        """
        stamps = (chain.timestamp_s for chain in self.manifest.chains)
        return self.manifest.goal_read_at <= time and all(s < time.timestamp() for s in stamps)

    @property
    def _standing(self) -> list[Verdict]:
        return [v for v in self.verdicts if v.verdict_id not in self.withdrawn]


@dataclass(frozen=True)
class Catalog:
    """All manifests and verdicts of a cluster.

    :param manifests: oldest data first.
    :param verdicts: oldest first.
    :param unreadable: record path → error; damaged backups are reported, but cannot be selected.
    :param stored: backup id → when the store got the manifest, by the store's own clock, which no writer can set.
    :param recorded: verdict id → when the store got the verdict, by the same clock.
    """

    cluster: str
    manifests: tuple[Manifest, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    stored: Mapping[str, datetime] = field(default_factory=dict)
    recorded: Mapping[str, datetime] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        cluster: str,
        manifests: Iterable[Manifest],
        verdicts: Iterable[Verdict],
        unreadable: Mapping[str, str] | None = None,
        stored: Mapping[str, datetime] | None = None,
        recorded: Mapping[str, datetime] | None = None,
    ) -> Catalog:
        return cls(
            cluster,
            _oldest_first(manifests),
            tuple(sorted(verdicts, key=lambda v: (v.at, v.verdict_id))),
            unreadable or {},
            stored or {},
            recorded or {},
        )

    @cached_property
    def backups(self) -> tuple[Backup, ...]:
        """Return all readable backups, oldest data first."""
        withdrawn = frozenset(i for v in self.verdicts for i in v.withdraws)
        about: dict[str, list[Verdict]] = {}
        for verdict in self.verdicts:
            about.setdefault(verdict.backup_id, []).append(verdict)
        return tuple(Backup(m, tuple(about.get(m.backup_id, ())), withdrawn) for m in self.manifests)

    def backup(self, backup_id: str) -> Backup:
        """Return the backup with that id.

        :raises NoSuchBackup: there is no readable manifest of that id; the message says if its record is damaged.
        """
        for backup in self.backups:
            if backup.backup_id == backup_id:
                return backup
        damaged = next(
            (f" Its record is damaged: {w}" for p, w in self.unreadable.items() if backup_id in p), ""
        )
        raise NoSuchBackup(
            f"Cluster {self.cluster} has no readable backup {backup_id}.{damaged}",
            hint="`restore-replay list` shows what there is.",
        )

    def healthy(self, *, proof: Proof = Proof.READ_BACK, before: datetime | None = None) -> list[Backup]:
        """Return healthy backups proven at least to *proof*, oldest data first.

        :param before: only backups whose data is from before that time.
        """
        return [
            b
            for b in self.backups
            if b.state is BackupState.HEALTHY
            and b.proof.rank >= proof.rank
            and (before is None or b.stands_before(before))
        ]

    def attempts(self, run: str) -> list[Verdict]:
        """Return the verdicts on attempts that *run* recorded, oldest first."""
        return [v for v in self.verdicts if v.run == run and v.attempt]

    def evidence(self, run: str, attempt: str | None = None) -> Verdict | None:
        """Return the last quarantine verdict that *run* recorded; None if there is none.

        :param attempt: only verdicts of that attempt.
        """
        found = [v for v in self.attempts(run) if v.outcome is Outcome.QUARANTINED]
        return next((v for v in reversed(found) if attempt is None or v.attempt == attempt), None)

    def records_of(self, run: str) -> list[str]:
        """Return ids of all backups and verdicts that *run* recorded."""
        manifests = [m.backup_id for m in self.manifests if m.run == run]
        return [*manifests, *(v.verdict_id for v in self.verdicts if v.run == run)]

    def without(self, ids: Collection[str]) -> Catalog:
        """Return the catalog without these records, for example to see only what a run did since it was cleared."""
        manifests = [m for m in self.manifests if m.backup_id not in ids]
        verdicts = [v for v in self.verdicts if v.verdict_id not in ids]
        return Catalog.of(self.cluster, manifests, verdicts, self.unreadable, self.stored, self.recorded)

    @property
    def held_by(self) -> list[Verdict]:
        """Return holds that have not been released."""
        withdrawn = {i for v in self.verdicts for i in v.withdraws}
        return [v for v in self.verdicts if v.outcome is Outcome.HELD and v.verdict_id not in withdrawn]


def doubtful_backups(catalog: Catalog) -> set[str]:
    """Return ids of healthy backups that existed when an unreadable verdict was written.

    This fails closed: an unreadable verdict may exclude any backup that is older. The name of a verdict begins with
    its time (see FORMAT.md); if a name has no time, all healthy backups are returned.
    """
    names = [p.removeprefix("verdicts/") for p in catalog.unreadable if p.startswith("verdicts/")]
    if not names:
        return set()
    newest = max(name[:16] if _STAMP.match(name) else "~" for name in names)
    return {b.backup_id for b in catalog.healthy() if b.backup_id[:16] <= newest}


def _oldest_first(manifests: Iterable[Manifest]) -> tuple[Manifest, ...]:
    """Sort manifests by the age of their data.

    The comparison replicates beyond the goal of a regular backup, before that backup is published. A backup as of a
    time between that goal and that publication may hold less data than the regular one, so it sorts first and is
    never preferred.
    """
    found = list(manifests)
    usual = [(m.goal_read_at, m.created_at) for m in found if m.as_of is None]

    def key(manifest: Manifest) -> tuple[datetime, bool, datetime, str]:
        since = manifest.goal_read_at
        if manifest.as_of is not None:
            since = min((read for read, made in usual if read <= since < made), default=since)
        return since, manifest.as_of is None, manifest.created_at, manifest.backup_id

    return tuple(sorted(found, key=key))
