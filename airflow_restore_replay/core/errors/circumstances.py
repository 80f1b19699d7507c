"""Errors of the environment: retried, then the run fails; nothing is quarantined."""

from __future__ import annotations

from airflow_restore_replay.core.errors.base import RestoreReplayError


class Circumstance(RestoreReplayError):
    """Store, network, node, disk, memory, signal or credentials: retry, then fail the run."""


class StoreFailed(Circumstance):
    """The object store did not answer as expected."""

    advice = "Check the object store and the network path to it, then run the cycle again."


class StoreDenied(StoreFailed):
    """The store refused to delete an object: it is locked, or the credentials lack the right."""

    advice = "No action, or prune with credentials that may delete."


class StoreFull(Circumstance):
    """The object store has no space left."""

    advice = "Free space in the store, or prune."


class PruneUnsafe(Circumstance):
    """Clocks disagree or a listing is incomplete, so nothing can be deleted safely."""

    advice = "Fix the clock skew; check the store's list consistency."


class KeySourceFailed(Circumstance):
    """The program that prints an encryption key failed, or the KMS did not answer as it should."""

    advice = "Run the program that prints the key by hand, or check the KMS and the network path to it."


class LeaseHeld(Circumstance):
    """Another run holds the cluster's lease."""

    advice = "Wait for the run that the message names."


class LeaseLost(Circumstance):
    """This run's lease epoch is no longer the newest; it must not publish or prune."""

    retryable = False
    advice = "No action; if it recurs, raise lease.ttl."


class NodeGone(Circumstance):
    """The replay node does not exist, or no longer exists."""

    advice = "Clear the run from create_node."


class NodeDamaged(Circumstance):
    """The state file of the replay node is not readable."""

    retryable = False
    advice = "Clear the run from create_node; that run, or the next one, removes the node."


class NodeUnreachable(Circumstance):
    """The node's host or engine is unreachable, or the connection broke; jobs there keep running."""

    advice = "Check the network, sshd or the Docker engine. Jobs on the node keep running: clear the task."


class NodeDenied(NodeUnreachable):
    """The node's host or engine refuses the account of its connection."""

    retryable = False
    advice = "Fix the credentials of the node's connection."


class EngineFailed(Circumstance):
    """The Docker engine answered a request with an error."""

    advice = "Read the engine's message and its log."


class NodeFull(Circumstance):
    """The node's disk is full."""

    advice = "Free space below node.workdir, or give it another disk."


class NodeServerCrashed(Circumstance):
    """The node's server died uncleanly after replay began; the node must be filled again."""

    advice = "Check the node's memory and kernel log, then run the cycle again."


class PrimaryUnreachable(Circumstance):
    """The primary does not accept connections."""

    advice = "Check the primary and the network path to it, then run the cycle again."


class AnswerUnreadable(Circumstance, ValueError):
    """A server's answer lacks what it should have, or has a form that no release is known to give."""

    retryable = False
    advice = "Check the server's settings that the message names, and what is between it and the node."


class PrimaryChanged(Circumstance):
    """Another server history answers than when the replay began, and the base fits both."""

    retryable = False
    advice = "Run the cycle again."


class ReplicationDenied(Circumstance):
    """The primary refused the replication account: password or grant."""

    # Some servers lock an account after some failed logins.
    retryable = False
    advice = "Grant the account what the message names, or fix its password."


class CatchUpStalled(Circumstance):
    """Nothing was received or applied within the stall timeout."""

    advice = "Check the network path and the replication account, or raise catch_up.stall_timeout."


class CatchUpDeadline(Circumstance):
    """The goal was not reached before the deadline."""

    advice = "Raise catch_up.deadline, or give the node more resources."


class JobCancelled(Circumstance):
    """The job was cancelled.

    If its task still runs, no user ended it: its triggerer ended, or another triggerer took over. The task's retry
    continues with the state of the node.
    """

    advice = "No action."


class AgentDied(Circumstance):
    """The job's process ended without a result."""

    advice = "Read the job's log on the node and find what killed the process, then run the cycle again."


class AgentFailed(Circumstance):
    """The output of the node's agent is not an answer."""

    advice = "Read what the node printed: the account's shell start-up files must print nothing."


class CheckUnfinished(Circumstance):
    """A check did not finish, so its partial result is no evidence."""

    retryable = False
    advice = "Raise validate.time_box, or configure fewer checks."


class CauseRemains(Circumstance):
    """Backups fail for the same cause, although a fresh full was made for it: it is in none of them."""

    retryable = False
    advice = "Find the cause in what the message says of primary and node. The next cycle takes a fresh full."


class Stale(Circumstance):
    """The newest proven backup, or the archive of binary logs, is too old, or its age is unknown."""

    retryable = False
    advice = "Look at the last cycles; `restore-replay list` shows what there is."


class SeedFailed(Circumstance):
    """Filling the node from the primary failed for a reason that is not known to be the primary's."""

    advice = "Read the output of the seed's program, then run the cycle again."


class InternalError(Circumstance):
    """An exception in the package's own code."""

    advice = "Report it with the job's log."
