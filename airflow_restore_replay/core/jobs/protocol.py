"""Messages between worker and agent: requests, states, progress, as plain JSON with a protocol version.

Secrets have a field of their own in a request, so that everything else can be stored, logged and shown without
filtering.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.config.units import human_bytes, human_seconds
from airflow_restore_replay.core.decisions.attempts import RECOVERY
from airflow_restore_replay.core.decisions.attempts import JobName as JobName
from airflow_restore_replay.core.decoding import decode, encode
from airflow_restore_replay.core.errors import ProtocolMismatch
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.system.processes import ProcessId

PROTOCOL_VERSION = 6

M = TypeVar("M")


class Phase(StrEnum):
    """Phase of a node, in order: a job requires a phase and leaves a later one."""

    EMPTY = "empty"
    FILLING = "filling"
    STARTING = "starting"
    FILLED = "filled"
    REPLAYING = "replaying"
    CAUGHT_UP = "caught_up"
    VALIDATED = "validated"
    STOPPED = "stopped"
    SNAPSHOTTED = "snapshotted"


class JobStatus(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class RunRef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The run that a node works for.

    :param run: the lease's owner, ``dag_id/run_id`` or the command line's invocation.
    :param attempt: one of :data:`~airflow_restore_replay.core.decisions.attempts.ATTEMPTS`, or
        :data:`~airflow_restore_replay.core.decisions.attempts.RECOVERY`, which has no lease.
    :param as_of: past time for which the run rebuilds the backup; None for now.
    """

    run: str
    attempt: str
    lease_epoch: int = 0
    as_of: datetime | None = None

    @property
    def recovers(self) -> bool:
        """Return whether this is a restore for a person or a drill, and not a cycle."""
        return self.attempt == RECOVERY


class Secrets(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Secrets of a request, which travel on standard input only and are never written anywhere.

    :param store: credentials for the object store, by obstore's configuration names.
    :param keys: the repository's encryption keys, the active one first.
    :param servers: passwords of a restore for other servers, by the parameter that names the server.
    """

    primary_password: str = ""
    store: dict[str, str] = {}
    keys: tuple[str, ...] = ()
    servers: dict[str, str] = {}

    def __repr__(self) -> str:
        return "Secrets(…)"


def is_node_id(text: str, cluster: str = "") -> bool:
    """Return whether *text* has the form of a node's id, by which it is also the name of a directory.

    :param cluster: only ids of this cluster's nodes.
    """
    name = re.escape(cluster) or "[A-Za-z0-9][A-Za-z0-9_.-]*"
    return re.fullmatch(f"{name}-[A-Za-z0-9]+", text) is not None


class NodeHandle(msgspec.Struct, frozen=True, kw_only=True):
    """Address of a node, small and without secrets, so that it can travel by XCom.

    :param host: where the node lives, in the terms of its runtime; empty if the node id is enough to find it.
    """

    node_id: str
    runtime: str
    cluster: str
    workdir: str
    host: str
    protocol: int = PROTOCOL_VERSION


class RunNode(NodeHandle, frozen=True, kw_only=True):
    """A node and the run that it works for, which tasks pass to each other by XCom."""

    run: RunRef


class NodeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Request to create a node.

    :param node_id: chosen by the caller; the same id names the same node over retries.
    :param release: release that the node's server must have: the backup's, or the primary's for a fresh full; empty if
        it is unknown.
    :param volume: docker: a volume that the node's container mounts beside its own, for a restore into it.
    """

    node_id: str
    run: RunRef
    cluster: Cluster
    release: str = ""
    volume: str = ""
    protocol: int = PROTOCOL_VERSION


class ExamineRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Request to examine the preconditions of a cycle."""

    cluster: Cluster
    secrets: Secrets = Secrets()
    protocol: int = PROTOCOL_VERSION


class JobRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Request to submit a job.

    :param key: job key, which makes submitting idempotent: the same over retries of a task, new after a clear.
    :param params: the job's own parameters.
    :param secrets: never written to a file.
    """

    key: str
    job: JobName
    run: RunRef
    cluster: Cluster
    params: dict[str, Any] = {}
    secrets: Secrets = Secrets()
    protocol: int = PROTOCOL_VERSION


def request_digest(request: JobRequest) -> str:
    """Return a digest of all that a job was asked to do, without its secrets."""
    return hashlib.sha256(encode(msgspec.structs.replace(request, secrets=Secrets()))).hexdigest()[:24]


class _Versioned(msgspec.Struct):
    """The protocol version of any message of any release."""

    protocol: int = 0


def decode_message(payload: bytes, kind: type[M], *, sender: str) -> M:
    """Decode a message of the protocol.

    The version is compared first, because another release may have other fields, for example in the configuration.

    :param sender: author of the message, for the error.
    :raises ProtocolMismatch: the message has another protocol version.
    :raises msgspec.DecodeError: the message has this version, but is malformed.
    """
    protocol = decode(payload, _Versioned).protocol
    if protocol != PROTOCOL_VERSION:
        raise ProtocolMismatch(
            f"{sender} speaks protocol {protocol}, this agent {PROTOCOL_VERSION}.",
            hint="Install the same release of airflow-restore-replay on workers and nodes.",
        )
    return decode(payload, kind)


class Progress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Progress of a job.

    :param unit: of *done*, *total* and *rate_per_s*: ``bytes``, ``transactions``, ``tables``, ``files``, ``rows``.
    :param eta_s: remaining seconds; None if unknown.
    """

    phase: str = ""
    done: int = 0
    total: int = 0
    unit: str = "bytes"
    rate_per_s: float = 0.0
    eta_s: float | None = None
    detail: str = ""


class JobState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """State of one job, as in its state file and in the agent's answers.

    :param attempt_no: number of submissions that started a process, from 1.
    :param verdict_id: the verdict that a failed, proving or publishing job recorded.
    :param request: digest of the request that started the job.
    """

    key: str
    job: JobName
    status: JobStatus
    attempt_no: int = 1
    process: ProcessId
    started_at: datetime
    finished_at: datetime | None = None
    progress: Progress = Progress()
    result: dict[str, Any] = {}
    failure: Failure | None = None
    verdict_id: str = ""
    request: str = ""


class Answer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Output of the agent: a job's state, a failure, or, for commands that are not about a job, information."""

    state: JobState | None = None
    failure: Failure | None = None
    info: dict[str, Any] = {}


def describe_progress(progress: Progress) -> str:
    """Return one line for logs and terminals: phase, amount, rate, time left."""

    def amount(value: float) -> str:
        return human_bytes(value) if progress.unit == "bytes" else f"{value:,.0f} {progress.unit}"

    parts = [progress.phase or "starting"]
    # An estimated total may turn out too small; then the share is unknown.
    if progress.total >= progress.done > 0 or (progress.total and not progress.done):
        share = 100 * progress.done / progress.total
        parts.append(f"{amount(progress.done)} of {amount(progress.total)} ({share:.0f} %)")
    elif progress.done:
        parts.append(amount(progress.done))
    if progress.rate_per_s:
        parts.append(f"{amount(progress.rate_per_s)}/s")
    if progress.eta_s is not None:
        parts.append(f"ETA {human_seconds(progress.eta_s)}")
    if progress.detail:
        parts.append(progress.detail)
    return ", ".join(parts)
