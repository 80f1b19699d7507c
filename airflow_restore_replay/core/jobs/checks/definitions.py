"""Compare the definitions beside tables: accounts, privileges, routines, triggers, events, views."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_restore_replay.core.errors import DataMismatch, RestoreReplayError
from airflow_restore_replay.core.flavor.definitions import SECRET, Definitions, short
from airflow_restore_replay.core.jobs.checks import CheckResult, Cost, TimeBox, left_by_the_base
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.jobs.replay import follow_primary

_SHOWN = 50


@dataclass(frozen=True)
class _Compared:
    """One comparison of the definitions on node and primary.

    :param ours: definitions on the node.
    :param differing: object → columns that differ.
    :param hidden: objects that the account on the primary may not see → why.
    """

    ours: Definitions
    differing: Mapping[str, tuple[str, ...]]
    hidden: Mapping[str, str]


class DefinitionsCheck:
    """Check that node and primary have the same definitions.

    A snapshot of the primary does not cover definitions. So the primary is asked before and after the node has replayed
    to its position: an answer that is the same both times was true at that position. A difference counts only if two
    such comparisons find it.

    The base's definitions were found equal to the primary's. If an object is unchanged on the node since then, the
    primary was changed outside its binary log (a failover, ``mariadb-upgrade``, ``sql_log_bin=0``). No backup is at
    fault for that, and the object is only listed.
    """

    name = "definitions"
    cost = Cost.SECONDS
    blames: type[RestoreReplayError] = DataMismatch

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        compared = _compare(ctx)
        differing = dict(compared.differing)
        if differing:
            compared = _compare(ctx)
            differing = {name: how for name, how in differing.items() if compared.differing.get(name) == how}
        left_out = {
            name: why for name, why in ctx.state.facts.fill.get("left_out", {}).items() if name in differing
        }
        unlogged = _unlogged(left_by_the_base(ctx, self.name), compared.ours, differing)
        differing = {name: how for name, how in differing.items() if name not in unlogged | left_out}
        first = next(iter(sorted(differing.items())), None)
        listed = (
            dict(compared.hidden)
            | left_out
            | {
                name: f"not as on the primary, which changed without its binary log ({', '.join(how)})"
                for name, how in unlogged.items()
            }
        )
        return CheckResult(
            name=self.name,
            passed=not differing,
            observed=f"{len(differing)} differ, first {first[0]}: {', '.join(first[1])}"
            if first
            else f"{len(compared.ours.objects) - len(unlogged)} alike",
            expected="the same definitions on node and primary",
            hint="Repeat the change on the primary with the binary log on, or list it in validate.exclude.",
            details={"differences": _evidence(differing)} if differing else {},
            unfinished="; ".join(f"{name}: {why}" for name, why in sorted(listed.items())[:_SHOWN]),
            carry={"objects": compared.ours.recorded(), "unlogged": sorted(short(name) for name in unlogged)},
        )


def _unlogged(
    base: Mapping[str, Any], ours: Definitions, differing: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Return those of *differing* that the primary changed without logging it, in this cycle or an earlier one.

    :param base: what the base's check kept; without it, the result is empty. It contains no secrets, so a difference
        in these alone is taken as the primary's change.
    """
    recorded, now = base.get("objects"), ours.recorded()
    known = base.get("unlogged", ())

    def is_unlogged(name: str, how: tuple[str, ...]) -> bool:
        key = short(name)
        return recorded is not None and (
            key in known or SECRET.issuperset(how) or recorded.get(key) == now.get(key)
        )

    return {name: how for name, how in differing.items() if is_unlogged(name, how)}


def _evidence(differing: Mapping[str, tuple[str, ...]]) -> list[dict[str, str]]:
    return [{"table": name, "key_range": ", ".join(how)} for name, how in sorted(differing.items())[:_SHOWN]]


def _compare(ctx: JobContext) -> _Compared:
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
    return _Compared(ours, differing, theirs.hidden)


def _difference(name: str, ours: Definitions, theirs: Definitions) -> tuple[str, ...]:
    """Return in what the object differs; empty if the account on the primary may not see it."""
    if any(name == h or f"every {name}".startswith(f"{h} ") for h in theirs.hidden):
        return ()
    there, here = theirs.objects.get(name), ours.objects.get(name)
    if there is None or here is None:
        return ("missing on the node" if here is None else "only on the node",)
    return tuple(column for column in there if column in here and there[column] != here[column])


def _excluded(ctx: JobContext, name: str) -> bool:
    # A kind has up to three words; a name may contain spaces, too.
    words = name.split(" ")
    names = [" ".join(words[first:]) for first in range(min(len(words), 4))]
    return any(fnmatch.fnmatchcase(n, p) for p in ctx.cluster.validate.exclude for n in names)
