"""Errors that are evidence against a backup."""

from __future__ import annotations

from airflow_restore_replay.core.errors.base import Blame, RestoreReplayError


class BackupFault(RestoreReplayError):
    """Evidence against the backup."""

    default_blame = Blame.BACKUP
    retryable = False


class ManifestCorrupt(BackupFault):
    """A manifest or file list is truncated, not JSON, or does not match its checksum."""

    advice = "Run `restore-replay verify`; check the store."


class ChunkMissing(BackupFault):
    """A referenced chunk is not in the store."""

    advice = "Run `restore-replay verify`; check the store's lifecycle rules."


class ChunkCorrupt(BackupFault):
    """A stored chunk does not decode, is too large, or has other content than its name says."""

    advice = "Run `restore-replay verify`; check the store's disks."


class PathEscapes(BackupFault):
    """A file path in a manifest leaves the data directory."""

    advice = "Find who wrote to the repository."


class FileMissing(BackupFault):
    """The restored server lacks a table's file."""

    advice = "Run `restore-replay show` for the name of the file."


class ServerStartFailed(BackupFault):
    """The server does not start on freshly restored data."""

    advice = "Run `restore-replay show` for the server's error lines."


class ErrorLogDirty(BackupFault):
    """The restored server started but reports errors about its data."""

    advice = "Run `restore-replay show` for the server's error lines."


class ReplayConflict(BackupFault):
    """The applier failed on the data, again from a fresh restore with one applier."""

    advice = "Find the cause of the drift: unlogged writes, or binlog_format other than ROW."


class TableCheckFailed(BackupFault):
    """CHECK TABLE found damage."""

    advice = (
        "Run `restore-replay show` for the tables. In a fresh full they are the primary's: repair them there."
    )


class DataMismatch(BackupFault):
    """The node's rows or definitions differ from the primary's at the same position."""

    advice = "Compare other replicas too; find what made the table drift."


class AssertionFailed(BackupFault):
    """A user's assertion holds on the primary but not on the node."""

    advice = "Compare other replicas too; find what made the data drift."


class ErrantFromNode(BackupFault):
    """The backup has transactions that an earlier replay node wrote."""

    advice = "No action."


class PositionMismatch(BackupFault):
    """The restored server is at another position than the manifest says."""

    advice = "Find who wrote to the repository, or report it."
