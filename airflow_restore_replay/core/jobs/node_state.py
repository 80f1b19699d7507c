"""The state of a replay node: what ``node.json`` holds, and the phases that jobs require."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import WrongPhase
from airflow_restore_replay.core.flavor.values import EventStamp
from airflow_restore_replay.core.jobs.protocol import Phase, RunRef
from airflow_restore_replay.core.repository.format.records import BaseRef


class NodeFacts(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Facts that earlier jobs found and that later jobs, verdicts and the manifest need.

    :param primary_uid: unique id of the primary that preflight examined.
    :param variables: the primary's settings that the node's server has, too.
    :param warnings: failed preconditions that do not stop a cycle, by name.
    :param base_chains: last events of the base, by which its history is found in the primary's binary log.
    :param lineage_depth: number of replays since the last fresh full.
    :param lineage_since: time of that fresh full; None if this node is the fresh full, or if it is unknown.
    :param fill: result of the restore or seed.
    :param catch_up: result of catch-up.
    :param as_of: where the binary log was cut, in a run as of a past time.
    :param chains: last events on the primary, for the manifest.
    :param event_states: states of the primary's scheduled events, for the manifest.
    :param altered: digests of the names of objects that the restored node had not as its backup recorded them; None
        for a node that was not filled by a job.
    :param kept_logs: how long the primary keeps its binary logs, for the manifest.
    :param compared: summary of what ``same_data`` compared, or why it compared nothing.
    :param checks: the part of each check's result that manifest and verdicts keep.
    """

    primary_uid: str = ""
    variables: dict[str, str] = {}
    warnings: dict[str, str] = {}
    base_chains: list[EventStamp] = []
    lineage_depth: int = 0
    lineage_since: datetime | None = None
    fill: dict[str, Any] = {}
    catch_up: dict[str, Any] = {}
    as_of: dict[str, Any] = {}
    chains: list[EventStamp] = []
    event_states: dict[str, str] = {}
    altered: list[str] | None = None
    kept_logs: dict[str, Any] = {}
    compared: dict[str, Any] = {}
    checks: list[dict[str, Any]] = []


class NodeState(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Content of ``node.json``, which never holds a secret.

    :param fill: job name and parameters of the fill, so that a rebuild can repeat it.
    :param rebuilt: number of rebuilds; at most one.
    :param single_applier: whether to replay with one applier from now on (after a conflict).
    :param facts: facts from earlier jobs for later ones.
    :param made: topmost directory that was created for this node's directory; it is removed with the last node in it.
    """

    protocol: int
    node_id: str
    cluster: Cluster
    run: RunRef
    created_at: datetime
    expires_at: datetime
    server_id: int
    phase: Phase = Phase.EMPTY
    filled_from: BaseRef | None = None
    fill: dict[str, Any] = {}
    goal: str = ""
    goal_read_at: datetime | None = None
    position: str = ""
    rebuilt: int = 0
    single_applier: bool = False
    facts: NodeFacts = msgspec.field(default_factory=NodeFacts)
    made: str = ""


def require_phase(state: NodeState, *allowed: Phase, job: str, clear_from: str) -> None:
    """Raise unless the node is in one of the phases *allowed*.

    :param job: name for the message.
    :param clear_from: task to clear the run from.
    :raises WrongPhase: the node is in another phase; the hint names the task.
    """
    if state.phase in allowed:
        return
    wanted = " or ".join(p.value for p in allowed)
    raise WrongPhase(
        f"Job {job} needs node {state.node_id} to be {wanted}; it is {state.phase.value}.",
        hint=f"Clear the run from the task {clear_from}.",
    )
