"""What an unfinished restore to a moment leaves in its target, by which it is resumed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec

from airflow_restore_replay.core.decoding import decode, encode
from airflow_restore_replay.core.errors import TargetNotEmpty
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.values import Cut
from airflow_restore_replay.core.recovery.moment.plan import Base, Plan
from airflow_restore_replay.core.recovery.moment.wanted import Wanted
from airflow_restore_replay.core.recovery.restore import Restored
from airflow_restore_replay.core.recovery.target_dir import SCRATCH, refuse_running_server
from airflow_restore_replay.core.recovery.target_dir import held as held_target
from airflow_restore_replay.core.system.files import read_own_file, replace_file
from airflow_restore_replay.core.times import stamp

_STATE = "moment.json"
_LOCK = "lock"


@dataclass(frozen=True)
class RestoredToMoment(Restored):
    """Result of a restore to a moment.

    :param wanted: as it was asked for.
    :param next_gtid, next_stamped: the first transaction that it does not contain; empty if it is not known.
    :param fell_back: backup → why an older one took its place.
    :param new_events: scheduled events that were created after the backup, all of which are disabled; whether they were
        enabled on the primary is not known.
    :param damaged: records of the archive that could not be read.

    For the rest see :class:`~airflow_restore_replay.core.recovery.moment.replayed_node.Measured`.
    """

    wanted: str
    at: str = ""
    next_gtid: str = ""
    next_stamped: str = ""
    files: int = 0
    log_bytes: int = 0
    transactions: int = 0
    phases: dict[str, float] = field(default_factory=dict)
    fell_back: dict[str, str] = field(default_factory=dict)
    new_events: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


class State(msgspec.Struct, kw_only=True):
    """Content of ``moment.json``.

    :param failed: backup → why it could not be used.
    :param backup_id: the backup that is restored.
    :param result: set when the data is in place, and only this directory is left to be removed.
    """

    wanted: Wanted
    cluster: str
    in_place: bool = False
    goal: str
    at: str = ""
    next_gtid: str = ""
    next_stamped: str = ""
    damaged: list[str] = []
    failed: dict[str, str] = {}
    backup_id: str = ""
    result: RestoredToMoment | None = None

    @classmethod
    def of(cls, cluster: str, found: Plan, *, in_place: bool) -> State:
        cut = found.cut
        return cls(
            wanted=found.wanted,
            cluster=cluster,
            in_place=in_place,
            goal=str(found.goal),
            at=found.at.isoformat() if found.at else "",
            next_gtid=cut.next_gtid,
            next_stamped=stamp(cut.next_stamped) if cut.next_stamped else "",
            damaged=list(found.unreadable),
        )

    @property
    def asked_at(self) -> datetime | None:
        """Return the time that was asked for."""
        return datetime.fromisoformat(self.at) if self.at else None

    def plan(self, flavor: Flavor, bases: Sequence[Base]) -> Plan:
        """Return the plan that is carried out, with those of *bases* that have not failed."""
        stamped = datetime.fromisoformat(self.next_stamped) if self.next_stamped else None
        return Plan(
            wanted=self.wanted,
            cut=Cut(flavor.parse_position(self.goal), self.next_gtid, stamped),
            at=self.asked_at,
            bases=tuple(base for base in bases if base.backup.backup_id not in self.failed),
            unreadable=tuple(self.damaged),
        )


class Unfinished:
    """The directory of an unfinished restore.

    :param target: where the data will be.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target / SCRATCH

    def load(self) -> State | None:
        """Return the state; None if there is none that this account wrote."""
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            return decode(read_own_file(self.path / _STATE), State)
        return None

    def save(self, state: State) -> None:
        replace_file(self.path / _STATE, encode(state))

    def of(self, wanted: Wanted, cluster: str, *, in_place: bool) -> State | None:
        """Return the state of that restore; None if there is none."""
        state = self.load()
        if state is None or (state.wanted, state.cluster, state.in_place) != (wanted, cluster, in_place):
            return None
        return state

    def refuse_other(self, wanted: Wanted, cluster: str, *, force: bool, in_place: bool) -> None:
        """Raise unless the target may be written to.

        :param force: accept any content, except a running server's.
        :param in_place: accept the content of a broken data directory.
        :raises TargetNotEmpty: it has content that is not of a restore of that cluster to that moment.
        """
        if not self.target.exists() and not self.target.is_symlink():
            return
        with contextlib.closing(held_target(self.target)) as held:
            entries = os.listdir(held.descriptor)
            refuse_running_server(held)
        if force or self.of(wanted, cluster, in_place=in_place):
            return
        if state := self.load():
            where = " in place" if state.in_place else ""
            raise TargetNotEmpty(
                f"{self.target} holds an interrupted restore of {state.cluster}{where} to {state.wanted}.",
                hint=f"Name the same moment{where} to resume it; to give it up, "
                + (f"remove {self.path}." if where else "replace it by --force."),
            )
        if entries and not in_place and entries != [SCRATCH]:
            raise TargetNotEmpty(
                f"{self.target} is not empty: it has {len(entries)} entries, {min(entries)} among them.",
                hint="Name an empty or new directory; --force replaces everything in this one.",
            )

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock of the restore, which the kernel releases when the holder dies.

        :raises TargetNotEmpty: another process holds it.
        """
        self.path.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise TargetNotEmpty(
                f"Another restore into {self.target} runs.", hint="Wait for it, or end it."
            ) from None
        finally:
            os.close(descriptor)

    def empty(self) -> None:
        """Remove all that the target has, except the lock that is held."""
        for entry in (*self.path.iterdir(), *self.target.iterdir()):
            if entry not in (self.path, self.path / _LOCK):
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()

    def remove(self) -> None:
        """Remove the directory, last of all the state, by which an interrupted removal is resumed."""
        for entry in self.path.iterdir():
            if entry.name != _STATE:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        (self.path / _STATE).unlink()
        self.path.rmdir()
