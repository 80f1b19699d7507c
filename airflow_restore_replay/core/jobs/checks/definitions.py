"""Compare the definitions: schemas, tables, sequences, accounts, privileges, routines, triggers, events, views."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_restore_replay.core.decisions.definitions import Differing, consequences_of, not_replayable, text
from airflow_restore_replay.core.errors import DataMismatch, RestoreReplayError
from airflow_restore_replay.core.flavor.definitions import Definitions, form_of, holds_rows, short
from airflow_restore_replay.core.flavor.quoting import parted
from airflow_restore_replay.core.flavor.tables import unreadable
from airflow_restore_replay.core.jobs.checks import CheckResult, Cost, TimeBox, left_by_the_base
from airflow_restore_replay.core.jobs.compare.comparison_pass import matches
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.jobs.replay import follow_primary

_SHOWN = 50
#: more names are in the manifest only, because a task's result must stay small
_LISTED = 200
_MISSING, _ADDED = ("missing on the node",), ("only on the node",)


@dataclass(frozen=True)
class _Compared:
    """One comparison of the definitions on node and primary.

    :param differing: object → in what it differs.
    """

    ours: Definitions
    theirs: Definitions
    differing: Differing


class DefinitionsCheck:
    """Check that node and primary have the same definitions.

    A snapshot of the primary does not cover definitions. So the primary is asked before and after the node has replayed
    to its position: an answer that is the same both times was true at that position. A difference counts only if two
    such comparisons find it.

    :func:`~airflow_restore_replay.core.decisions.definitions.consequences_of` decides what follows from a difference.
    """

    name = "definitions"
    cost = Cost.SECONDS
    blames: type[RestoreReplayError] = DataMismatch

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        """See :meth:`~airflow_restore_replay.core.jobs.checks.Check.run`.

        :raises NotReplayable: the primary's tables changed outside its binary log.
        """
        compared = _compare(ctx)
        differing = dict(compared.differing)
        if differing:
            compared = _compare(ctx)
            differing = {name: how for name, how in differing.items() if compared.differing.get(name) == how}
        theirs = compared.theirs.recorded()
        known = left_by_the_base(ctx, self.name).get("known", {})
        facts = ctx.state.facts
        found = consequences_of(
            differing,
            full=ctx.is_full,
            altered=None if facts.altered is None else {n for n in differing if short(n) in facts.altered},
            left_out=facts.fill.get("left_out", {}),
            known={n for n in differing if short(n) in known and known[short(n)] == theirs.get(short(n), "")},
        )
        if found.unlogged and not found.evidence:
            raise not_replayable(found.unlogged)
        if not ctx.is_full:
            _settle(ctx, compared.theirs, differing)
        first = next(iter(sorted(found.evidence.items())), None)
        listed = {**compared.theirs.hidden, **found.listed}
        return CheckResult(
            name=self.name,
            passed=not found.evidence,
            observed=f"{len(found.evidence)} differ, first {first[0]}: {text(first[1])}"
            if first
            else f"{len(compared.ours.objects.keys() - found.listed.keys())} alike",
            expected="the same definitions on node and primary",
            hint="Repeat the change on the primary with the binary log on, or list it in validate.exclude.",
            details=_evidence(found.evidence),
            unfinished=_named(listed),
            carry={
                "form": form_of(ctx.server.release()),
                "objects": compared.ours.recorded(),
                "known": {short(n): theirs.get(short(n), "") for n in found.listed if holds_rows(n)},
                **({"listed": listed} if len(listed) > _LISTED else {}),
            },
        )


def _settle(ctx: JobContext, theirs: Definitions, differing: Differing) -> None:
    """Keep of the notes about what the base lacked only what the node still lacks."""
    left_out = ctx.state.facts.fill.get("left_out", {})
    if not left_out:
        return
    with ctx.flavor.connect(ctx.primary) as primary:
        tables = {f"table {table.qualified}": table for table in ctx.flavor.tables(primary)}
        lacking = {
            name: why
            for name, why in left_out.items()
            if name in differing
            or not theirs.reads(name)
            or (name in tables and unreadable(primary, tables[name]))
        }
    if lacking != left_out:
        with ctx.node.changing() as state:
            rest = {name: note for name, note in state.facts.fill.items() if name != "left_out"}
            state.facts.fill = rest | ({"left_out": lacking} if lacking else {})


def altered_since_recorded(ctx: JobContext, record: Mapping[str, Any]) -> list[str]:
    """Return digests of the names of objects that a node, just restored, has not as its backup recorded them.

    :param record: what this check kept in the backup; without a comparable record the result is empty.
    """
    if record.get("form") != form_of(ctx.server.release()):
        return []
    with ctx.crash_guard("reading the definitions"), ctx.server.connect() as node:
        now, before = ctx.flavor.definitions(node).recorded(), record["objects"]
    return sorted(key for key in now.keys() | before.keys() if now.get(key) != before.get(key))


def _named(listed: Mapping[str, str]) -> str:
    shown = [f"{name}: {why}" for name, why in sorted(listed.items())]
    more = [f"and {len(shown) - _LISTED} more, which the manifest names"] if len(shown) > _LISTED else []
    return "; ".join([*shown[:_LISTED], *more])


def _evidence(differing: Differing) -> dict[str, Any]:
    if not differing:
        return {}
    found = [{"table": name, "key_range": ", ".join(how)} for name, how in sorted(differing.items())[:_SHOWN]]
    tables = {n.partition(" ")[2]: how for n, how in sorted(differing.items()) if n.startswith("table ")}
    missing = [name for name, how in tables.items() if how == _MISSING][:_SHOWN]
    added = [name for name, how in tables.items() if how == _ADDED][:_SHOWN]
    return {"differences": found} | {
        name: names for name, names in (("missing_tables", missing), ("added_tables", added)) if names
    }


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
        and (how := ours.differs(name, theirs))
        and not _excluded(ctx, name)
    }
    return _Compared(ours, theirs, differing)


def _excluded(ctx: JobContext, name: str) -> bool:
    kind, _, rest = name.partition(" ")
    if kind == "table" and any(matches(p, *parted(rest)) for p in ctx.cluster.validate.exclude):
        return True
    # A kind has up to three words; a name may contain spaces, too.
    words = name.split(" ")
    names = [" ".join(words[first:]) for first in range(min(len(words), 4))]
    return any(fnmatch.fnmatchcase(n, p) for p in ctx.cluster.validate.exclude for n in names)
