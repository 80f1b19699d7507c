"""Every error of the package, and what each one blames.

::

    RestoreReplayError
    ├── Refused                 nothing was started; a person must change something      (environment)
    │   ├── ConfigInvalid       ├── StoreUnsafe          ├── RepositoryMismatch
    │   ├── WrongPhase          ├── ProtocolMismatch     ├── ReleaseRefused
    │   ├── NodeIsPrimary       ├── TargetNotEmpty       ├── UnsupportedTables
    │   ├── PreflightFailed     ├── NoSuchBackup         ├── WrongHost
    │   ├── KeyRefused          ├── KeyMissing           ├── AgentMissing
    │   ├── HostKeyRefused      ├── MomentRefused        ├── NoSuchTable
    │   ├── TableExists         └── ConfinementUnavailable
    ├── Circumstance            retried, then the run fails; nothing is quarantined      (environment)
    │   ├── StoreFailed         ├── StoreFull            ├── LeaseHeld
    │   ├── LeaseLost           ├── NodeGone             ├── NodeFull
    │   ├── NodeServerCrashed   ├── PrimaryUnreachable   ├── ReplicationDenied
    │   ├── CatchUpStalled      ├── CatchUpDeadline      ├── JobCancelled
    │   ├── AgentDied           ├── SeedFailed           ├── InternalError
    │   ├── PruneUnsafe         ├── KeySourceFailed      ├── PrimaryChanged
    │   ├── AgentFailed         ├── NodeUnreachable      ├── NodeDenied (a NodeUnreachable)
    │   ├── CheckUnfinished     ├── EngineFailed         ├── StoreDenied (a StoreFailed)
    │   ├── AnswerUnreadable    ├── NodeDamaged          ├── CauseRemains
    │   ├── Stale
    │   └── ArchiveFault: LogMissing, LogCorrupt
    ├── SourceFault             the primary itself is at fault                           (source)
    │   ├── SourceCorrupt       ├── SourceDrift          ├── SourceFiltered
    │   ├── SourceShrank        ├── SourceUnexpected     └── Held
    ├── Stranded                restorable, but the primary cannot continue it           (stranded)
    │   ├── BinlogPurged        ├── HistoryDiverged      ├── ErrantFromFormerPrimary
    │   └── NotReplayable
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

from airflow_restore_replay.core.errors.archive import ArchiveFault, LogCorrupt, LogMissing
from airflow_restore_replay.core.errors.backup import (
    AssertionFailed,
    BackupFault,
    ChunkCorrupt,
    ChunkMissing,
    DataMismatch,
    ErrantFromNode,
    ErrorLogDirty,
    FileMissing,
    ManifestCorrupt,
    PathEscapes,
    PositionMismatch,
    ReplayConflict,
    ServerStartFailed,
    TableCheckFailed,
)
from airflow_restore_replay.core.errors.base import Blame, RestoreReplayError, error_class
from airflow_restore_replay.core.errors.circumstances import (
    AgentDied,
    AgentFailed,
    AnswerUnreadable,
    CatchUpDeadline,
    CatchUpStalled,
    CauseRemains,
    CheckUnfinished,
    Circumstance,
    EngineFailed,
    InternalError,
    JobCancelled,
    KeySourceFailed,
    LeaseHeld,
    LeaseLost,
    NodeDamaged,
    NodeDenied,
    NodeFull,
    NodeGone,
    NodeServerCrashed,
    NodeUnreachable,
    PrimaryChanged,
    PrimaryUnreachable,
    PruneUnsafe,
    ReplicationDenied,
    SeedFailed,
    Stale,
    StoreDenied,
    StoreFailed,
    StoreFull,
)
from airflow_restore_replay.core.errors.refused import (
    AgentMissing,
    ConfigInvalid,
    ConfinementUnavailable,
    HostKeyRefused,
    KeyMissing,
    KeyRefused,
    MomentRefused,
    NodeIsPrimary,
    NoSuchBackup,
    NoSuchTable,
    PreflightFailed,
    ProtocolMismatch,
    Refused,
    ReleaseRefused,
    RepositoryMismatch,
    StoreUnsafe,
    TableExists,
    TargetNotEmpty,
    UnsupportedTables,
    WrongHost,
    WrongPhase,
)
from airflow_restore_replay.core.errors.source import (
    Held,
    SourceCorrupt,
    SourceDrift,
    SourceFault,
    SourceFiltered,
    SourceShrank,
    SourceUnexpected,
)
from airflow_restore_replay.core.errors.stranded import (
    BinlogPurged,
    ErrantFromFormerPrimary,
    HistoryDiverged,
    NotReplayable,
    Stranded,
)

__all__ = [
    "AgentDied",
    "AgentFailed",
    "AgentMissing",
    "AnswerUnreadable",
    "ArchiveFault",
    "AssertionFailed",
    "BackupFault",
    "BinlogPurged",
    "Blame",
    "CatchUpDeadline",
    "CatchUpStalled",
    "CauseRemains",
    "CheckUnfinished",
    "ChunkCorrupt",
    "ChunkMissing",
    "Circumstance",
    "ConfigInvalid",
    "ConfinementUnavailable",
    "DataMismatch",
    "EngineFailed",
    "ErrantFromFormerPrimary",
    "ErrantFromNode",
    "ErrorLogDirty",
    "FileMissing",
    "Held",
    "HistoryDiverged",
    "HostKeyRefused",
    "InternalError",
    "JobCancelled",
    "KeyMissing",
    "KeyRefused",
    "KeySourceFailed",
    "LeaseHeld",
    "LeaseLost",
    "LogCorrupt",
    "LogMissing",
    "ManifestCorrupt",
    "MomentRefused",
    "NoSuchBackup",
    "NoSuchTable",
    "NodeDamaged",
    "NodeDenied",
    "NodeFull",
    "NodeGone",
    "NodeIsPrimary",
    "NodeServerCrashed",
    "NodeUnreachable",
    "NotReplayable",
    "PathEscapes",
    "PositionMismatch",
    "PreflightFailed",
    "PrimaryChanged",
    "PrimaryUnreachable",
    "ProtocolMismatch",
    "PruneUnsafe",
    "Refused",
    "ReleaseRefused",
    "ReplayConflict",
    "ReplicationDenied",
    "RepositoryMismatch",
    "RestoreReplayError",
    "SeedFailed",
    "ServerStartFailed",
    "SourceCorrupt",
    "SourceDrift",
    "SourceFault",
    "SourceFiltered",
    "SourceShrank",
    "SourceUnexpected",
    "Stale",
    "StoreDenied",
    "StoreFailed",
    "StoreFull",
    "StoreUnsafe",
    "Stranded",
    "TableCheckFailed",
    "TableExists",
    "TargetNotEmpty",
    "UnsupportedTables",
    "WrongHost",
    "WrongPhase",
    "error_class",
]
