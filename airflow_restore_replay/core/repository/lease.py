"""The lease, which allows one writer per cluster: numbered epochs made of write-once objects.

A *run* owns the lease, not a process, so a retried task continues under it. Runs claim, renew and release it by
conditional creates of new objects; they update nothing and do not need the right to delete::

    leases/000000000007/claim.json            owner, start, expiry
    leases/000000000007/renewal-000001.json   new expiry
    leases/000000000007/released.json         end

The highest epoch is the lease. The owner of a lower epoch has lost it (fencing), so runs check their epoch again when
they publish and prune. Expiry compares clocks of different machines, so the TTL is minutes, not seconds.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from datetime import datetime, timedelta

from airflow_restore_replay.core.config.sections import MAX_LEASE_TTL_S
from airflow_restore_replay.core.decoding import encode
from airflow_restore_replay.core.errors import LeaseHeld, LeaseLost, StoreFailed
from airflow_restore_replay.core.repository.format.records import FORMAT_VERSION, Record, utc_now
from airflow_restore_replay.core.repository.format.seals import Sealer
from airflow_restore_replay.core.repository.objects.lease_objects import (
    LEASES,
    WAY_OUT,
    Claim,
    Doing,
    Released,
    Renewal,
    lease_folder,
    read_lease_object,
)
from airflow_restore_replay.core.repository.objects.record_store import sealed
from airflow_restore_replay.core.repository.objects.succession import LEASE_OBJECT
from airflow_restore_replay.core.repository.store.base import (
    AlreadyExists,
    ObjectMissing,
    ObjectStore,
    create_or_same,
)

_ATTEMPTS = 8
#: a run a second would take decades to get there; no run makes a higher epoch
MAX_EPOCH = 999_999_999
MAX_RENEWALS = 999_999


class LeaseState(Record, frozen=True, kw_only=True):
    """State of the newest epoch, as read from its objects.

    :param key_id: the key that sealed the claim. It seals the rest as well, so that a run outlives a rotation.
    :param renewed_at: time of the last renewal; None if there is none.
    :param doing: what the run told with it.
    """

    epoch: int
    owner: str
    ttl_s: float
    acquired_at: datetime
    expires_at: datetime
    renewals: int
    released: bool
    key_id: str = ""
    renewed_at: datetime | None = None
    doing: Doing | None = None

    def live(self, now: datetime) -> bool:
        """Return whether the lease excludes other runs: neither released nor expired."""
        return not self.released and now < self.expires_at


class Lease:
    """The lease of one cluster.

    :param cluster: name that is written into the objects, for people who read them.
    :param sealer: seals the objects, as records are sealed.
    :param folder: of the objects. The archiver has a lease of its own, so that it and cycles do not exclude each other.
    :ivar doing: what the run is doing, which the next renewal tells to people; it decides nothing.
    """

    doing: Doing | None = None

    def __init__(
        self, store: ObjectStore, cluster: str, sealer: Sealer | None = None, folder: str = LEASES
    ) -> None:
        self._store = store
        self._cluster = cluster
        self._sealer = sealer or Sealer()
        self._leases = folder

    def acquire(self, owner: str, ttl_s: float, now: Callable[[], datetime] = utc_now) -> int:
        """Acquire the lease, or re-enter it if *owner* holds it.

        :param owner: the run, ``dag_id/run_id`` or the CLI's invocation.
        :returns: the epoch.
        :raises LeaseHeld: another run holds it; the message names that run, the start and the expiry.
        """
        for _ in range(_ATTEMPTS):
            state = self._state()
            if state and state.owner == owner and not state.released:
                with contextlib.suppress(LeaseLost):  # superseded since the state was read: read it again
                    self.renew(owner, state.epoch, now)
                    return state.epoch
                continue
            if state and state.live(now()):
                if state.expires_at - now() > timedelta(seconds=2 * MAX_LEASE_TTL_S):
                    raise self._impossible(state.epoch, f"it would expire at {_text(state.expires_at)}")
                raise _held(state)
            epoch = state.epoch + 1 if state else 1
            if self._claim(owner, epoch, ttl_s, now()):
                self._forget_before(epoch - 1)
                return epoch
        raise LeaseHeld(
            f"Could not acquire the lease of cluster {self._cluster} after {_ATTEMPTS} attempts; "
            "other runs keep taking it."
        )

    def renew(self, owner: str, epoch: int, now: Callable[[], datetime] = utc_now) -> None:
        """Extend the lease by its TTL, even after it expired, as long as no run has claimed the next epoch.

        :raises LeaseLost: the epoch was superseded or released.
        """
        for _ in range(_ATTEMPTS):
            state = self._held_by(owner, epoch)
            at = now()
            expires_at = at + timedelta(seconds=state.ttl_s)
            renewal = Renewal(owner=owner, renewed_at=at, expires_at=expires_at, doing=self.doing)
            path = f"{self._folder(epoch)}renewal-{state.renewals + 1:06d}.json"
            if state.renewals >= MAX_RENEWALS:
                raise self._impossible(epoch, f"it was renewed {state.renewals} times")
            with contextlib.suppress(AlreadyExists):  # another process of the same run renewed
                create_or_same(self._store, path, self._sealed(renewal, path, state.key_id))
                break
        # Another run may have claimed while this renewal was written.
        self._held_by(owner, epoch)

    def check(self, owner: str, epoch: int) -> None:
        """Raise unless *owner* holds *epoch*.

        :raises LeaseLost: *epoch* is no longer the newest, was released, or belongs to another run.
        """
        self._held_by(owner, epoch)

    def written_at(self, epoch: int) -> datetime:
        """Return when the newest object of *epoch* was written, by the store's clock."""
        return max(info.modified for info in self._store.list(self._folder(epoch)))

    def release(self, owner: str, epoch: int, now: Callable[[], datetime] = utc_now) -> None:
        """Release the lease; do nothing if it was released before or the epoch was superseded.

        :raises LeaseLost: *epoch* belongs to another run.
        """
        state = self._state()
        if state is None or state.epoch != epoch or state.released:
            return
        if state.owner != owner:
            raise _lost(owner, epoch, state)
        released = Released(owner=owner, released_at=now(), renewals=state.renewals)
        path = f"{self._folder(epoch)}released.json"
        with contextlib.suppress(AlreadyExists):
            self._store.put_new(path, self._sealed(released, path, state.key_id))

    def holder(self) -> LeaseState | None:
        """Return the state of the lease, expired or not; None if it was never claimed or is released."""
        state = self._state()
        return None if state is None or state.released else state

    def _claim(self, owner: str, epoch: int, ttl_s: float, at: datetime) -> bool:
        """Claim *epoch*, and return whether *owner* holds it now."""
        if epoch > MAX_EPOCH:
            raise self._impossible(epoch - 1, f"the highest epoch is {MAX_EPOCH}")
        path = f"{self._folder(epoch)}claim.json"
        claim = Claim(
            format=FORMAT_VERSION,
            cluster=self._cluster,
            epoch=epoch,
            owner=owner,
            ttl_s=float(ttl_s),
            acquired_at=at,
            expires_at=at + timedelta(seconds=ttl_s),
        )
        try:
            create_or_same(self._store, path, self._sealed(claim, path))
        except AlreadyExists:
            return False
        # A claim based on an old listing may reuse the number of a deleted epoch, so only the newest epoch counts.
        state = self._state()
        return state is not None and state.epoch == epoch and state.owner == owner

    def _held_by(self, owner: str, epoch: int) -> LeaseState:
        state = self._state()
        if state is None or state.epoch != epoch or state.owner != owner or state.released:
            raise _lost(owner, epoch, state)
        return state

    def _state(self) -> LeaseState | None:
        """Read the newest epoch; retry if a concurrent claim deletes its objects meanwhile."""
        for _ in range(_ATTEMPTS):
            names = [m for o in self._store.list(f"{self._leases}/") if (m := LEASE_OBJECT.fullmatch(o.path))]
            epoch = max((int(m[1]) for m in names if m[2] == "claim"), default=0)
            if epoch == 0:
                return None
            mine = [m for m in names if int(m[1]) == epoch]
            with contextlib.suppress(ObjectMissing):
                return self._epoch_state(epoch, mine)
        raise StoreFailed(
            f"The lease objects in {self._store.url} cannot be read: they disappear after they are listed."
        )

    def _epoch_state(self, epoch: int, names: list[re.Match[str]]) -> LeaseState:
        if epoch > MAX_EPOCH:
            raise self._impossible(epoch, f"the highest epoch is {MAX_EPOCH}")
        claim, key_id = read_lease_object(
            self._store, f"{self._folder(epoch)}claim.json", Claim, self._sealer
        )
        if claim.epoch != epoch or not 0 < claim.ttl_s <= MAX_LEASE_TTL_S:
            raise self._impossible(epoch, f"it claims epoch {claim.epoch} for {claim.ttl_s:.0f} s")
        renewals = max((int(m[3]) for m in names if m[3]), default=0)
        renewal: Renewal | None = None
        if renewals:
            path = f"{self._folder(epoch)}renewal-{renewals:06d}.json"
            renewal = read_lease_object(self._store, path, Renewal, self._sealer)[0]
        return LeaseState(
            epoch=epoch,
            owner=claim.owner,
            ttl_s=claim.ttl_s,
            acquired_at=claim.acquired_at,
            expires_at=renewal.expires_at if renewal else claim.expires_at,
            renewals=renewals,
            released=any(m[2] == "released" for m in names),
            key_id=key_id,
            renewed_at=renewal.renewed_at if renewal else None,
            doing=renewal.told if renewal else None,
        )

    def _folder(self, epoch: int) -> str:
        return lease_folder(epoch, self._leases)

    def _sealed(self, content: Record, path: str, key_id: str = "") -> bytes:
        return sealed(encode(content), self._sealer, path, key_id=key_id)

    def _impossible(self, epoch: int, why: str) -> StoreFailed:
        return StoreFailed(
            f"The lease of epoch {epoch} in {self._store.url} is damaged or forged: {why}.",
            hint=WAY_OUT.format(self._folder(epoch).rstrip("/")),
        )

    def _forget_before(self, epoch: int) -> None:
        """Delete older epochs if the credentials allow it; otherwise only the listing grows."""
        with contextlib.suppress(StoreFailed):
            for found in list(self._store.list(f"{self._leases}/")):
                match = LEASE_OBJECT.fullmatch(found.path)
                if match and int(match[1]) < epoch:
                    self._store.delete(found.path)


def _held(state: LeaseState) -> LeaseHeld:
    return LeaseHeld(
        f"Run {state.owner} holds the lease (epoch {state.epoch}) since {_text(state.acquired_at)}; "
        f"it expires at {_text(state.expires_at)} unless renewed.",
        hint="Wait for that run, or for its lease to expire.",
        evidence={"owner": state.owner, "epoch": state.epoch},
    )


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%SZ}"


def _lost(owner: str, epoch: int, state: LeaseState | None) -> LeaseLost:
    if state is None:
        now_is = "there is no lease at all"
    elif state.released and state.epoch == epoch:
        now_is = "it was released"
    else:
        now_is = f"epoch {state.epoch} belongs to run {state.owner}"
    return LeaseLost(
        f"Run {owner} lost its lease (epoch {epoch}): {now_is}. It must not publish or prune.",
        hint="Start a new run.",
        evidence={"owner": owner, "epoch": epoch},
    )
