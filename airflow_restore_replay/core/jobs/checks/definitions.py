"""What is defined beside tables: accounts, privileges, routines, triggers, events, views."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass

from airflow_restore_replay.core.errors import DataMismatch, RestoreReplayError
from airflow_restore_replay.core.flavor.definitions import Definitions
from airflow_restore_replay.core.jobs.checks import CheckResult, Cost, TimeBox
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.jobs.replay import follow_primary

_SHOWN = 50


@dataclass(frozen=True)
class _Look:
    """:param differing: object → how; :param hidden: what the account on the primary may not see."""

    objects: int
    differing: Mapping[str, str]
    hidden: Mapping[str, str]


class SameDefinitions:
    """Node and primary define the same.

    No snapshot covers definitions. The primary is asked before and after the node has replayed to where it is: what it
    says twice is what it had there. And only what differs in two such looks counts.
    """

    name = "definitions"
    cost = Cost.SECONDS
    blames: type[RestoreReplayError] = DataMismatch

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        look = _look(ctx)
        differing = dict(look.differing)
        if differing:
            again = _look(ctx).differing
            differing = {name: how for name, how in differing.items() if again.get(name) == how}
        first = next(iter(sorted(differing.items())), None)
        return CheckResult(
            name=self.name,
            passed=not differing,
            observed=f"{len(differing)} differ, first {first[0]}: {first[1]}"
            if first
            else f"{look.objects} alike",
            expected="the same definitions on node and primary",
            hint="Write it again on the primary where the binary log is on; or list it in validate.exclude.",
            details={"differences": _evidence(differing)} if differing else {},
            unfinished="; ".join(f"{name}: {why}" for name, why in sorted(look.hidden.items())[:_SHOWN]),
        )


def _evidence(differing: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"table": name, "key_range": how} for name, how in sorted(differing.items())[:_SHOWN]]


def _look(ctx: JobContext) -> _Look:
    with ctx.flavor.connect(ctx.primary) as primary:
        before = ctx.flavor.definitions(primary)
        follow_primary(ctx)
        with ctx.server.connect() as node:
            ours = ctx.flavor.definitions(node)
        theirs = ctx.flavor.definitions(primary)
    differing = {
        name: how
        for name in theirs.objects.keys() | ours.objects.keys()
        if before.objects.get(name) == theirs.objects.get(name)
        and (how := _difference(name, ours, theirs))
        and not _excluded(ctx, name)
    }
    return _Look(len(theirs.objects), differing, theirs.hidden)


def _difference(name: str, ours: Definitions, theirs: Definitions) -> str:
    """:returns: in what the object differs, ``""`` for nothing that could be seen."""
    if any(name == h or f"every {name}".startswith(f"{h} ") for h in theirs.hidden):
        return ""
    there, here = theirs.objects.get(name), ours.objects.get(name)
    if there is None or here is None:
        return "missing on the node" if here is None else "only on the node"
    return ", ".join(column for column in there if column in here and there[column] != here[column])


def _excluded(ctx: JobContext, name: str) -> bool:
    object_name = name.rpartition(" ")[2]
    patterns = ctx.cluster.validate.exclude
    return any(fnmatch.fnmatchcase(n, p) for p in patterns for n in (name, object_name))
