"""The repository's immutable records: manifests, file lists, verdicts. FORMAT.md is their specification.

Times are UTC, ISO 8601 with ``Z``. Sizes are bytes. Records are JSON objects: within a format version, readers ignore
unknown keys, and they refuse newer versions by number.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.flavor.values import EventStamp
from airflow_restore_replay.core.repository.format.refs import ChunkRef

#: of new repositories and records
FORMAT_VERSION = 2
READABLE_FORMATS = (1, 2)


#: far from what cannot be added to or shown
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
#: the largest amount that any reader can hold
MAX_COUNT = 2**63 - 1
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base class of everything that is stored as JSON."""


class Stamped(Record, frozen=True, kw_only=True):
    """A record with points in time, which can be compared with others and added to."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if isinstance(at := getattr(self, name), datetime) and not (
                at.tzinfo and _EARLIEST < at < _LATEST
            ):
                raise ValueError(f"{name} is no time in UTC between {_EARLIEST:%Y} and {_LATEST:%Y}")


class Proof(StrEnum):
    """How far a backup is proven, weakest first."""

    UPLOADED = "uploaded"
    READ_BACK = "read_back"
    RESTORED = "restored"

    @property
    def rank(self) -> int:
        """Return the place in the order of proofs; a higher rank is a stronger proof."""
        return list(Proof).index(self)


class FileEntry(Record, frozen=True, kw_only=True):
    """One file or directory of the data directory.

    :param path: relative, ``/``-separated, without ``..``.
    :param mode: permission bits.
    :param chunks: one reference per ``chunk_size_bytes`` of the file, the last one shorter.
    :param list: reference of the chunk list that holds *chunks* of a large file. A stored entry has one of the two;
        in memory *chunks* are filled in.
    """

    path: str
    size_bytes: Count = 0
    mode: int = 0o660
    directory: bool = False
    chunks: Sequence[ChunkRef] = []
    list: str = ""


class BaseRef(Record, frozen=True, kw_only=True):
    """Source that filled the node: ``kind`` is ``backup`` (with *backup_id*) or ``seed`` (with *method*)."""

    kind: str
    backup_id: str = ""
    method: str = ""


class Sizes(Record, frozen=True, kw_only=True):
    """Amounts that a snapshot read and stored, in bytes of database files unless stated otherwise.

    ``total_bytes`` = ``new_bytes`` + ``delta_bytes`` + ``reused_bytes`` + ``zero_bytes``, and
    = ``read_bytes`` + ``skipped_bytes``.

    :param new_bytes: in chunks that this backup stored whole.
    :param delta_bytes: in chunks of which only the changed pages were stored, ``delta_page_bytes`` of them.
    :param reused_bytes: in chunks that an earlier backup stored and this cycle verified, or that occur twice.
    :param zero_bytes: not stored because they are zero.
    :param read_bytes: read from files.
    :param skipped_bytes: in holes, and in files that are unchanged since the restore.
    :param bundled_bytes: stored by this backup as pieces of bundles; a part of *new_bytes* and *delta_page_bytes*.
    :param stored_bytes: compressed bytes written to the store.
    :param new_chunks: number of chunks stored whole.
    :param bundles: number of bundles written.
    """

    total_bytes: Count
    new_bytes: Count
    reused_bytes: Count
    zero_bytes: Count
    stored_bytes: Count
    files: Count
    new_chunks: Count
    delta_bytes: Count = 0
    delta_page_bytes: Count = 0
    delta_chunks: Count = 0
    read_bytes: Count = 0
    skipped_bytes: Count = 0
    skipped_files: Count = 0
    bundled_bytes: Count = 0
    bundles: Count = 0

    @property
    def restored_bytes(self) -> int:
        """The bytes that a restore occupies on disk, at most."""
        return self.total_bytes - self.zero_bytes


class Manifest(Stamped, frozen=True, kw_only=True):
    """Immutable description of one backup.

    :param lineage_since: when the goal of the fresh full at the start of the lineage was read.
    :param position: GTID set of the transactions that the data contains.
    :param goal_read_at: wall-clock time at which the goal was read from the primary; freshness counts from it. For a
        backup *as of* a past time, it is that time.
    :param as_of: the past time for which a backfill made the backup, which contains exactly what the primary had
        logged before its first event stamped at or after that time.
    :param proof: proof at publication; verdicts may raise it later.
    :param file_list: reference of the file list object.
    :param key_id: the key of all chunks and of the file list; empty if the repository is not encrypted.
    :param variables: the primary's settings that the data depend on, which the node's server had.
    :param chains: last events of the replication domains, to recognise the primary's history.
    :param compared: whether and how the data was compared with the primary at *position*.
    :param checks: the checks that the backup passed: name, cost, seconds, the observed values, and the carry that the
        next cycle's check of that name continues from.
    """

    format: int = FORMAT_VERSION
    backup_id: str
    cluster: str
    flavor: str
    server_release: str
    created_at: datetime
    run: str
    lease_epoch: Count
    base: BaseRef
    lineage_depth: Count = 0
    lineage_since: datetime | None = None
    position: str
    goal: str
    goal_read_at: datetime
    as_of: datetime | None = None
    proof: Proof = Proof.READ_BACK
    primary_uid: str = ""
    variables: dict[str, str] = {}
    node_server_id: Count = 0
    chunk_size_bytes: Count
    file_list: str
    key_id: str = ""
    sizes: Sizes
    chains: list[EventStamp] = []
    event_states: dict[str, str] = {}
    compared: dict[str, Any] = {}
    checks: list[dict[str, Any]] = []
    notes: dict[str, Any] = {}


class Outcome(StrEnum):
    """Outcome of an attempt to prove or make a backup."""

    RESTORED = "restored"  # restored, caught up, validated
    QUARANTINED = "quarantined"  # evidence against the backup
    STRANDED = "stranded"  # restorable, but no longer usable as a base
    WITHDRAWN = "withdrawn"  # the verdicts named in `withdraws` no longer count
    HELD = "held"  # the primary is damaged; nothing is published until the hold is released
    FAILED = "failed"  # environment or source: says nothing about a backup
    PUBLISHED = "published"  # the attempt published `published_id`


class Verdict(Stamped, frozen=True, kw_only=True):
    """Immutable record of one attempt.

    :param run: lease owner, ``dag_id/run_id`` or the CLI's invocation.
    :param attempt: ``replay``, ``older``, ``full`` or ``prove``; ``drill`` or ``restore`` for what one of these took;
        empty for a verdict that a person recorded.
    :param backup_id: the backup that the verdict is about; empty if it is about none.
    :param step: job that ended the attempt.
    :param failure: the failure, if the attempt did not succeed.
    :param withdraws: ids of verdicts that no longer count.
    """

    format: int = FORMAT_VERSION
    verdict_id: str
    at: datetime
    cluster: str
    run: str
    outcome: Outcome
    attempt: str = ""
    backup_id: str = ""
    published_id: str = ""
    step: str = ""
    failure: Failure | None = None
    withdraws: list[str] = []
    by: str = ""
    reason: str = ""
    measured: dict[str, Any] = {}


class Pruned(Record, frozen=True, kw_only=True):
    """A backup that pruning deletes, with the reason."""

    backup_id: str
    reason: str
    total_bytes: Count = 0


class PruneRecord(Stamped, frozen=True, kw_only=True):
    """Records that a run is about to delete; it is written before the first of them is deleted.

    :param deleted: backups.
    :param spent: ids of records of condemned objects.
    :param logs: names of records of the archive.
    """

    format: int = FORMAT_VERSION
    prune_id: str
    at: datetime
    cluster: str
    run: str
    lease_epoch: Count
    deleted: list[Pruned]
    spent: list[str] = []
    logs: list[str] = []


class Condemned(Stamped, frozen=True, kw_only=True):
    """Unreferenced objects. Pruning deletes them once this record is old enough, and no writer references them.

    :param objects: names below the repository's URL.
    """

    format: int = FORMAT_VERSION
    condemned_id: str
    at: datetime
    cluster: str
    run: str
    lease_epoch: Count
    objects: list[str]


class Verification(Stamped, frozen=True, kw_only=True):
    """Progress of one pass over stored chunks.

    :param pass_id: the same in all records of a pass, also across interruptions.
    :param started_at: when the pass began.
    :param backup_id: only this backup's chunks were read; empty for all backups.
    :param subset: ``n/t``, or empty for all.
    :param folders: folders (first two digits of a name) of which every referenced chunk was read.
    :param complete: the pass ended with this record.
    :param bad: references of chunks that are missing or corrupt.
    """

    format: int = FORMAT_VERSION
    verification_id: str
    at: datetime
    cluster: str
    by: str
    pass_id: str
    started_at: datetime
    backup_id: str = ""
    subset: str = ""
    folders: list[str]
    complete: bool = False
    chunks: Count = 0
    size_bytes: Count = 0
    bad: list[str] = []


class LogPart(Record, frozen=True, kw_only=True):
    """Stored bytes of a binary log.

    :param object: id of the object, ``logdata/<id>.zst``.
    :param name: name of the content, as of a chunk.
    """

    object: str
    name: str
    size_bytes: Count


class LogPiece(Stamped, frozen=True, kw_only=True):
    """A part of a binary log file of the primary that is archived.

    The pieces of a file overlap if they were merged: a later, longer piece takes the place of shorter ones.

    :param at: when the piece was written.
    :param stream: id of an unbroken sequence of files of one server; a failover or ``RESET MASTER`` begins another.
    :param number: of the file in its stream, from 1.
    :param log: the file's name on the primary.
    :param digest: BLAKE3 of the events at the file's beginning, which tell it from another file of that name.
    :param begin, end: offsets in the file as it was received. Equal if the piece only says that nothing was new.
    :param parts: the bytes, in their order.
    :param before, after: positions before and after the transactions of this piece.
    :param transactions: that begin in this piece.
    :param first_at, last_at: stamps of the earliest and the latest of them, by the primary's clock.
    :param closed: the file ends with this piece, and the stream continues with the next number.
    :param current_at: time by the archiver's clock at which the primary had logged nothing that is not archived.
    """

    format: int = FORMAT_VERSION
    piece_id: str
    at: datetime
    cluster: str
    run: str
    lease_epoch: Count
    flavor: str
    server_release: str = ""
    server_uid: str = ""
    stream: str
    number: Count
    log: str
    digest: str = ""
    begin: Count
    end: Count
    parts: list[LogPart] = []
    key_id: str = ""
    before: str = ""
    after: str = ""
    transactions: Count = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    closed: bool = False
    current_at: datetime | None = None


class LogGap(Stamped, frozen=True, kw_only=True):
    """Transactions that the archive lacks, noticed when the archiver had to continue after them.

    Whether a gap is closed is derived from the pieces.

    :param stream, number: the file before which they are missing.
    :param before, after: the archive's position before the gap, and the position where it continues.
    :param lacking: the missing transactions as text for people.
    :param reason: why they are missing.
    """

    format: int = FORMAT_VERSION
    gap_id: str
    at: datetime
    cluster: str
    run: str
    lease_epoch: Count
    stream: str
    number: Count
    before: str
    after: str
    lacking: str
    reason: str


class BackupState(StrEnum):
    """State of a backup, which is derived from its verdicts and never stored."""

    HEALTHY = "healthy"
    QUARANTINED = "quarantined"
    STRANDED = "stranded"


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def new_id(at: datetime | None = None) -> str:
    """Return a new id such as ``20261121T030000Z-1f3a9c2e``, which sorts by time and is unique without coordination."""
    return f"{(at or utc_now()).astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
