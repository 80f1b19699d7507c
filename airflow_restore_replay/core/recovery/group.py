"""Restore all clusters of a group to one moment, or drill that: a sharded database as of one time.

The moment is a time by the clocks of the primaries. Each cluster has the transactions that its own primary stamped
before it. What is in ``<target>/.restore-replay-group.json`` lets a later call of the same resume::

    <target>/<cluster>/   the data directory of each cluster
"""

from __future__ import annotations

import contextlib
import os
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.window import Window, common
from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.decoding import decode, encode
from airflow_restore_replay.core.errors import MomentRefused, RestoreReplayError, TargetNotEmpty
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.jobs.context import Reporter
from airflow_restore_replay.core.recovery.drill import drill, random_moment
from airflow_restore_replay.core.recovery.moment.times import parse_moment
from airflow_restore_replay.core.recovery.moment.unfinished import RestoredToMoment
from airflow_restore_replay.core.recovery.moment.wanted import Wanted
from airflow_restore_replay.core.recovery.preflight import existing_parent
from airflow_restore_replay.core.recovery.to_moment import MomentRestore
from airflow_restore_replay.core.repository.format.records import utc_now
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.system.files import read_own_file, replace_file, require_space
from airflow_restore_replay.core.times import stamp

_STATE = ".restore-replay-group.json"


@dataclass(frozen=True)
class Member:
    """A cluster of the group, with its repository."""

    cluster: Cluster
    repository: Repository

    def window(self) -> Window:
        """Return the moments that this cluster can be restored to."""
        flavor = get_flavor(self.cluster.flavor)
        return Archive.read(self.repository).window(self.repository.catalog(), flavor)


class _State(msgspec.Struct, kw_only=True):
    """What an interrupted restore of a group leaves.

    :param text: the moment as it was asked for; *at* is the time that this was.
    :param done: cluster → its restored copy.
    """

    group: str
    clusters: list[str]
    text: str
    at: datetime
    done: dict[str, RestoredToMoment] = {}


def restore_group(
    group: str,
    members: Sequence[Member],
    text: str,
    target: Path,
    *,
    force: bool = False,
    report: Callable[[str], Reporter],
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, RestoredToMoment]:
    """Restore all clusters of a group to one moment, each into a directory of its name in *target*.

    All are examined before the first byte of any is written.

    :param text: the moment, as a person gives it.
    :param force: replace the content of these directories.
    :param report: returns what receives the progress of a cluster.
    :raises MomentRefused: a cluster does not reach that moment; the message has the nearest that all reach.
    :raises TargetNotEmpty: a directory has content, or *target* holds a restore of something else.
    """
    state = None if force else _interrupted(group, members, text, target)
    state = state or _State(
        group=group, clusters=[m.cluster.name for m in members], text=text, at=_one_moment(members, text)
    )
    left = [member for member in members if member.cluster.name not in state.done]
    wanted = Wanted(kind="at", text=state.at.isoformat())
    restores = {
        member.cluster.name: MomentRestore(
            member.repository,
            member.cluster,
            wanted,
            target / member.cluster.name,
            force=force,
            report=report(member.cluster.name),
            say=lambda line, name=member.cluster.name: say(f"{name}: {line}"),  # type: ignore[misc]
        )
        for member in left
    }
    _preflight(group, members, restores, state.at)
    target.mkdir(parents=True, exist_ok=True)
    replace_file(target / _STATE, encode(state))
    for name, restore in restores.items():
        say(f"{name}: restoring to {stamp(state.at)}")
        state.done[name] = restore.run()
        replace_file(target / _STATE, encode(state))
    (target / _STATE).unlink()
    return state.done


def drill_group(
    group: str,
    members: Sequence[Member],
    *,
    moment: str = "random",
    report: Callable[[str], Reporter],
    say: Callable[[str], None],
    dice: random.Random | None = None,
) -> dict[str, dict[str, Any]]:
    """Drill all clusters of a group to one moment, which all of them reach.

    One that fails does not stop the others.

    :param moment: ``random``, or ``latest``: the last that all reach.
    :returns: what was measured, by cluster.
    :raises MomentRefused: there is no moment that all reach.
    :raises RestoreReplayError: the first failure, after all were drilled.
    """
    window = common([member.window() for member in members])
    if window.end is None:
        raise MomentRefused(
            f"There is no moment that all clusters of the group {group} reach.",
            hint="`restore-replay list` shows the window of each.",
        )
    at = window.end if moment == "latest" else random_moment(window, dice or random.SystemRandom())
    wanted = Wanted(kind="at", text=at.isoformat())
    measured: dict[str, dict[str, Any]] = {}
    failures: list[RestoreReplayError] = []
    for member in members:
        name = member.cluster.name
        say(f"{name}: drill to {stamp(at)}")
        try:
            measured[name] = drill(
                member.repository, member.cluster, wanted=wanted, report=report(name), say=say
            )
        except RestoreReplayError as exc:
            say(f"{name} FAILED: {exc.message}")
            failures.append(exc)
    if failures:
        raise failures[0]
    return measured


def _interrupted(group: str, members: Sequence[Member], text: str, target: Path) -> _State | None:
    """Return the state of an interrupted restore of the same; None if there is none.

    :raises TargetNotEmpty: there is one of something else.
    """
    state = None
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        state = decode(read_own_file(target / _STATE), _State)
    clusters = [member.cluster.name for member in members]
    if state and (state.group, state.clusters, state.text) != (group, clusters, text):
        raise TargetNotEmpty(
            f"{target} holds an interrupted restore of the group {state.group} ({', '.join(state.clusters)}) to "
            f"{state.text!r}.",
            hint="Name the same to resume it; --force replaces it.",
        )
    return state


def _one_moment(members: Sequence[Member], text: str) -> datetime:
    """Return the time that *text* is for all clusters.

    :raises MomentRefused: it is no time, or another one in each cluster's time zone.
    """
    now = utc_now()
    found = {member.cluster.timezone: parse_moment(text, member.cluster.timezone, now) for member in members}
    if len(set(found.values())) > 1:
        zones = " and ".join(sorted(found))
        raise MomentRefused(
            f"{text!r} is not one moment: the clusters have the time zones {zones}.", hint="Give an offset."
        )
    return next(iter(found.values()))


def _preflight(
    group: str, members: Sequence[Member], restores: Mapping[str, MomentRestore], at: datetime
) -> None:
    """Examine all clusters that are not restored yet.

    :raises MomentRefused: names each cluster that does not reach the moment.
    """
    refused: dict[str, MomentRefused] = {}
    needed: dict[int, int] = defaultdict(int)
    for name, restore in restores.items():
        try:
            restore.examine()
        except MomentRefused as exc:
            refused[name] = exc
            continue
        parent = existing_parent(restore.target)
        disk = os.stat(parent).st_dev
        needed[disk] += restore.missing_bytes
        require_space(
            parent,
            needed[disk],
            what=f"The group {group}",
            hint="Free space there, or restore to another disk.",
        )
    if refused:
        raise _refusal(group, members, refused, at)


def _refusal(
    group: str, members: Sequence[Member], refused: dict[str, MomentRefused], at: datetime
) -> MomentRefused:
    before, after = common([member.window() for member in members]).nearest(at)
    known = [f"the last moment before it is {stamp(before)}" if before else ""]
    known += [f"the first one after it is {stamp(after)}" if after else ""]
    nearest = " and ".join(filter(None, known)) or "no moment"
    why = " ".join(f"{name}: {exc.message}" for name, exc in refused.items())
    return MomentRefused(
        f"{stamp(at)} cannot be restored for all clusters of the group {group}, and nothing was written. {why} "
        f"Reachable by all: {nearest}.",
        evidence={
            "clusters": sorted(refused),
            "nearest_before": stamp(before) if before else None,
            "nearest_after": stamp(after) if after else None,
        },
    )
