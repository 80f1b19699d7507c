"""Objects of a lease: what they hold, and how they are read."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

import msgspec

from airflow_restore_replay.core.decoding import convert, decode
from airflow_restore_replay.core.errors import ManifestCorrupt, StoreFailed
from airflow_restore_replay.core.repository.format.records import Count, Record, Stamped
from airflow_restore_replay.core.repository.format.seals import Sealer
from airflow_restore_replay.core.repository.objects.record_store import unsealed
from airflow_restore_replay.core.repository.store.base import ObjectStore, ObjectTooLarge

WAY_OUT = "Remove the folder {} when no run of the cluster is alive; the epochs before it count again then."
_MAX_BYTES = 2**16
#: folder of the lease of cycles, and of that of the archiver
LEASES, LOG_LEASES = "leases", "logleases"

L = TypeVar("L")


class Claim(Stamped, frozen=True, kw_only=True):
    """Content of ``claim.json``."""

    format: int
    cluster: str
    epoch: Count
    owner: str
    ttl_s: float
    acquired_at: datetime
    expires_at: datetime


class Doing(Record, frozen=True, kw_only=True):
    """What a run is doing, for people who look at the lease.

    :param step: attempt and job, for example ``replay.catch_up``.
    :param phase: of the job.
    :param done, total: amounts of *unit*; a total of 0 is unknown.
    :param eta_s: remaining seconds of the phase; None if unknown.
    """

    step: str = ""
    phase: str = ""
    done: Count = 0
    total: Count = 0
    unit: str = ""
    rate_per_s: float = 0.0
    eta_s: float | None = None


class Renewal(Stamped, frozen=True, kw_only=True):
    """Content of ``renewal-<n>.json``.

    :param doing: a :class:`Doing`. It is for people, so whatever else it is must not make the lease unreadable.
    """

    owner: str
    renewed_at: datetime
    expires_at: datetime
    doing: Any = None

    @property
    def told(self) -> Doing | None:
        """Return what the run is doing; None if it does not tell that in a way that can be understood."""
        try:
            return convert(self.doing, Doing | None)  # type: ignore[arg-type]
        except msgspec.ValidationError:
            return None


class Released(Stamped, frozen=True, kw_only=True):
    """Content of ``released.json``.

    :param renewals: number of renewals of that epoch.
    """

    owner: str
    released_at: datetime
    renewals: Count = 0


def lease_folder(epoch: int, leases: str = LEASES) -> str:
    """Return the folder of an epoch's objects."""
    return f"{leases}/{epoch:012d}/"


def read_lease_object(store: ObjectStore, path: str, kind: type[L], sealer: Sealer) -> tuple[L, str]:
    """Read an object of a lease.

    :returns: its content, and the id of the key that sealed it.
    :raises ObjectMissing: it does not exist.
    :raises StoreFailed: it is damaged or forged; the hint says how to go on without it.
    """
    try:
        data = store.get(path, max_bytes=_MAX_BYTES)
        if b"\n" in data:
            body, seal = unsealed(data, path, sealer)
            return decode(body, kind), seal.key_id
        if complaint := sealer.bare_complaint(path):
            raise _unreadable(store, path, complaint)
        return decode(data, kind), ""
    except ObjectTooLarge:
        raise _unreadable(store, path, f"it has more than {_MAX_BYTES} bytes") from None
    except msgspec.DecodeError as exc:
        raise _unreadable(store, path, str(exc)) from exc
    except ManifestCorrupt as exc:
        raise _unreadable(store, path, exc.evidence["observed"]) from exc


def _unreadable(store: ObjectStore, path: str, why: str) -> StoreFailed:
    return StoreFailed(
        f"The lease object {path} in {store.url} is not readable: {why}.",
        hint=WAY_OUT.format(path.rpartition("/")[0]),
    )
