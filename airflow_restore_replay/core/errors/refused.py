"""Errors that refuse to start: a person must change something first."""

from __future__ import annotations

from airflow_restore_replay.core.errors.base import RestoreReplayError


class Refused(RestoreReplayError):
    """Nothing was started and nothing was lost; the message names what to change."""

    retryable = False


class ConfigInvalid(Refused):
    """The cluster file has an unknown key, a wrong type or a value out of range."""

    advice = "Change the key that the message names."


class StoreUnsafe(Refused):
    """The object store does not support conditional creates."""

    advice = "Use a store that supports If-None-Match, or turn it on."


class RepositoryMismatch(Refused):
    """The repository belongs to another cluster or has an unknown format."""

    advice = "Check repository.url, or install the release that wrote the repository."


class KeyRefused(Refused):
    """The encryption key is wrong, not configured, configured for what is not encrypted, or refused by the KMS."""

    advice = "Run `restore-replay key check`; undo the last change of repository.encryption."


class KeyMissing(Refused):
    """A key that backups need is not available."""

    advice = "Name the key's source under repository.encryption.previous."


class ConfinementUnavailable(Refused):
    """The node's host cannot confine the server, and the configuration requires it."""

    advice = "Give nodes a host with Linux 5.19 or newer and Landlock, or set node.confine: prefer."


class WrongPhase(Refused):
    """The node is not in the phase that the job needs."""

    advice = "Clear the run from the task that the message names."


class ProtocolMismatch(Refused):
    """Worker and agent speak different protocol versions."""

    advice = "Install one release on workers and nodes, and clear the task."


class ReleaseRefused(Refused):
    """The node's server release does not lie between the backup's and the primary's."""

    advice = "Install a server between the backup's release and the primary's on the node."


class NodeIsPrimary(Refused):
    """The node's server is the primary itself."""

    advice = "Point the cluster's primary at the server to protect."


class TargetNotEmpty(Refused):
    """A restore would write into a directory that has content."""

    advice = "Restore into an empty directory, or pass --force."


class UnsupportedTables(Refused):
    """The snapshot format cannot carry these tables; the message names them."""

    advice = "Convert, move or drop the tables that the message names."


class PreflightFailed(Refused):
    """A precondition of the primary or of the node does not hold."""

    advice = "Run `restore-replay doctor`: it prints the statement that fixes it."


class NoSuchBackup(Refused):
    """The named backup is not in the repository or may not be used for this."""

    advice = "Run `restore-replay list` to see the backups."


class MomentRefused(Refused):
    """The moment to restore to is ambiguous, outside the window of the archive, or in a gap."""

    advice = "Name a moment that the message names as reachable; `restore-replay list` shows the window."


class NoSuchTable(Refused):
    """The backup has no such table."""

    advice = "Name a table that the backup has; `%` stands for any characters."


class TableExists(Refused):
    """A restored table would take the place of one that exists."""

    advice = "Give it another name with --as."


class WrongHost(Refused):
    """The node lives on another host than the one that can be asked."""

    advice = "Give the cluster a node.queue that only the node's host listens to."


class AgentMissing(Refused):
    """This package is not installed on the node's host, or not for that interpreter."""

    advice = "Install this release of the package on the node's host, or set `node.python`."


class HostKeyRefused(Refused):
    """The node's host key is unknown, or differs from the known one."""

    advice = "Find out why the host key changed; only then add it to the known hosts."
