"""Every error of the package, and whom each one blames.

::

    RestoreReplayError
    ├── Refused                 nothing was started; a person must change something      (environment)
    │   ├── ConfigInvalid       ├── StoreUnsafe          ├── RepositoryMismatch
    │   ├── WrongPhase          ├── ProtocolMismatch     ├── ReleaseRefused
    │   ├── NodeIsPrimary       ├── TargetNotEmpty       ├── UnsupportedTables
    │   ├── PreflightFailed     ├── NoSuchBackup         ├── WrongHost
    │   ├── KeyRefused          ├── KeyMissing           ├── AgentMissing
    │   └── HostKeyRefused
    ├── Circumstance            retried, then the run fails; nothing is quarantined      (environment)
    │   ├── StoreFailed         ├── StoreFull            ├── LeaseHeld
    │   ├── LeaseLost           ├── NodeGone             ├── NodeFull
    │   ├── NodeServerCrashed   ├── PrimaryUnreachable   ├── ReplicationDenied
    │   ├── CatchUpStalled      ├── CatchUpDeadline      ├── JobCancelled
    │   ├── AgentDied           ├── SeedFailed           ├── InternalError
    │   ├── PruneUnsafe         ├── KeySourceFailed      ├── PrimaryChanged
    │   ├── AgentFailed         ├── NodeUnreachable      ├── NodeDenied (a NodeUnreachable)
    │   ├── CheckUnfinished     └── StoreDenied (a StoreFailed)
    ├── SourceFault             the primary itself is at fault                           (source)
    │   ├── SourceCorrupt       ├── SourceDrift          ├── SourceFiltered
    │   ├── SourceShrank        ├── SourceUnexpected     └── Held
    ├── Stranded                restorable, but the primary cannot continue it           (stranded)
    │   ├── BinlogPurged        ├── HistoryDiverged      └── ErrantFromFormerPrimary
    └── BackupFault             evidence against the backup                              (backup)
        ├── ManifestCorrupt     ├── ChunkMissing         ├── ChunkCorrupt
        ├── PathEscapes         ├── ServerStartFailed    ├── ErrorLogDirty
        ├── FileMissing         ├── ReplayConflict       ├── TableCheckFailed
        ├── DataMismatch        ├── AssertionFailed      ├── ErrantFromNode
        └── PositionMismatch

Evidence quarantines; circumstance does not. An exception that is not in this tree is a bug of ours or of
the platform and is treated as circumstance (:func:`Failure.of`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar


class Blame(StrEnum):
    """Whom a failure blames; it decides what the run does next."""

    BACKUP = "backup"
    STRANDED = "stranded"
    SOURCE = "source"
    ENVIRONMENT = "environment"


class RestoreReplayError(Exception):
    """Base of all errors.

    :param message: what happened, to which id, observed and expected.
    :param hint: the next step for the person who reads it.
    :param evidence: small JSON-able facts kept in verdicts (never secrets).
    :param blame: whom it blames, where the circumstances say so more exactly than the class does.
    """

    default_blame: ClassVar[Blame] = Blame.ENVIRONMENT
    retryable: ClassVar[bool] = True

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        evidence: dict[str, Any] | None = None,
        blame: Blame | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.evidence = evidence or {}
        self.blame = blame or self.default_blame

    @property
    def code(self) -> str:
        return type(self).__name__

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class Refused(RestoreReplayError):
    """Nothing was started and nothing lost; the message says what to change."""

    retryable = False


class ConfigInvalid(Refused):
    """The cluster file has an unknown key, a wrong type or a value out of range."""


class StoreUnsafe(Refused):
    """The object store does not honour conditional creates."""


class RepositoryMismatch(Refused):
    """The repository belongs to another cluster or has an unknown format."""


class KeyRefused(Refused):
    """The encryption key is wrong, not configured, or configured for what is not encrypted."""


class KeyMissing(Refused):
    """A key that backups need is not at hand."""


class WrongPhase(Refused):
    """The node is not in the phase that the job needs."""


class ProtocolMismatch(Refused):
    """Worker and agent speak different protocol versions."""


class ReleaseRefused(Refused):
    """The node's server release does not lie between the backup's and the primary's."""


class NodeIsPrimary(Refused):
    """The node's server is the primary itself."""


class TargetNotEmpty(Refused):
    """A restore would write into a directory that has content."""


class UnsupportedTables(Refused):
    """Tables that the snapshot format cannot carry, by name."""


class PreflightFailed(Refused):
    """A precondition of the primary or of the node does not hold."""


class NoSuchBackup(Refused):
    """The named backup is not in the repository or may not be used for this."""


class WrongHost(Refused):
    """The node lives on another host than the one that can be asked."""


class AgentMissing(Refused):
    """Where the node should live, this package is not installed, or not for that interpreter."""


class HostKeyRefused(Refused):
    """The node's host shows a key that is not known, or another one than it had."""


class Circumstance(RestoreReplayError):
    """Store, network, node, disk, memory, signals, credentials: retry, then fail the run loudly."""


class StoreFailed(Circumstance):
    """The object store did not answer as it should."""


class StoreDenied(StoreFailed):
    """The store refused to delete an object: it is locked, or the credentials lack the right."""


class StoreFull(Circumstance):
    """The object store has no space left."""


class PruneUnsafe(Circumstance):
    """Clocks disagree, or a listing is not complete: nothing can be deleted safely."""


class KeySourceFailed(Circumstance):
    """The program that should print an encryption key did not."""


class LeaseHeld(Circumstance):
    """Another run holds the cluster's lease."""


class LeaseLost(Circumstance):
    """This run's lease epoch is no longer the newest; it must not publish or prune."""

    retryable = False


class NodeGone(Circumstance):
    """The replay node does not exist (any more)."""


class NodeUnreachable(Circumstance):
    """The node's host or engine cannot be reached, or the connection broke; jobs there go on."""


class NodeDenied(NodeUnreachable):
    """The node's host or engine refuses our account."""

    retryable = False


class NodeFull(Circumstance):
    """The node's disk is full."""


class NodeServerCrashed(Circumstance):
    """The node's server died uncleanly after replay began; the node must be filled again."""


class PrimaryUnreachable(Circumstance):
    """The primary does not accept connections."""


class PrimaryChanged(Circumstance):
    """Another history answers now than when the replay began; the base fitted both."""

    retryable = False


class ReplicationDenied(Circumstance):
    """The primary refused the replication account: password or grant."""


class CatchUpStalled(Circumstance):
    """Nothing was received or applied within the stall timeout."""


class CatchUpDeadline(Circumstance):
    """The goal was not reached before the deadline."""


class JobCancelled(Circumstance):
    """Somebody cancelled the job.

    A task that lives to see this was not ended by a user: its triggerer was, or another one took over. Its retry
    goes on with what the node has.
    """


class AgentDied(Circumstance):
    """The job's process is gone without a result."""


class AgentFailed(Circumstance):
    """What the node's agent printed is not an answer."""


class CheckUnfinished(Circumstance):
    """A check did not come to an end, and what it saw by then says nothing."""

    retryable = False


class SeedFailed(Circumstance):
    """Filling the node from the primary failed for a reason that is not known to be the primary's."""


class InternalError(Circumstance):
    """An exception in our own code."""


class SourceFault(RestoreReplayError):
    """The primary is at fault; the last good backup is kept from retention."""

    default_blame = Blame.SOURCE
    retryable = False


class SourceCorrupt(SourceFault):
    """The primary's own data is damaged."""


class SourceDrift(SourceFault):
    """The primary has data that never went through its binary log."""


class SourceFiltered(SourceFault):
    """The primary filters its binary log, so no replica can equal it."""


class SourceShrank(SourceFault):
    """The primary has far fewer rows than when the last backup was made."""


class SourceUnexpected(SourceFault):
    """An assertion of the user's does not hold for the primary's own data."""


class Held(SourceFault):
    """Nothing is published until a person has released the cluster."""


class Stranded(RestoreReplayError):
    """No base any more, still restorable, protected."""

    default_blame = Blame.STRANDED
    retryable = False


class BinlogPurged(Stranded):
    """The primary no longer has the binary logs that the backup needs."""


class HistoryDiverged(Stranded):
    """The primary's history is not the backup's continuation."""


class ErrantFromFormerPrimary(Stranded):
    """The backup has transactions the primary lacks; it may be their only copy."""


class BackupFault(RestoreReplayError):
    """Evidence against the backup."""

    default_blame = Blame.BACKUP
    retryable = False


class ManifestCorrupt(BackupFault):
    """A manifest or file list is truncated, not JSON, or does not match its checksum."""


class ChunkMissing(BackupFault):
    """A referenced chunk is not in the store."""


class ChunkCorrupt(BackupFault):
    """A stored chunk does not decode, is too large, or has other content than its name says."""


class PathEscapes(BackupFault):
    """A file path in a manifest leaves the data directory."""


class FileMissing(BackupFault):
    """The restored server misses a table's file."""


class ServerStartFailed(BackupFault):
    """The server does not start on freshly restored data."""


class ErrorLogDirty(BackupFault):
    """The restored server started but reports errors about its data."""


class ReplayConflict(BackupFault):
    """The applier failed on the data, again from a fresh restore with one applier."""


class TableCheckFailed(BackupFault):
    """CHECK TABLE found damage."""


class DataMismatch(BackupFault):
    """The node's rows, or what is defined on it, differ from the primary's at the same position."""


class AssertionFailed(BackupFault):
    """An assertion of the user's holds on the primary, but not on the node."""


class ErrantFromNode(BackupFault):
    """The backup has transactions that an earlier replay node wrote."""


class PositionMismatch(BackupFault):
    """The restored server stands at another position than the manifest says."""


def error_class(code: str) -> type[RestoreReplayError] | None:
    """:returns: the class of that name in the tree, or None."""
    pending: list[type[RestoreReplayError]] = [RestoreReplayError]
    while pending:
        candidate = pending.pop()
        if candidate.__name__ == code:
            return candidate
        pending.extend(candidate.__subclasses__())
    return None
