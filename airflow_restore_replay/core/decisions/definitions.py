"""Decide what follows from definitions that differ between node and primary: listed, a fresh full, or evidence."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from airflow_restore_replay.core.errors import NotReplayable
from airflow_restore_replay.core.flavor.definitions import cosmetic, holds_rows

_NAMED = 10
_PARTS = 5

#: object → in what it differs
Differing = Mapping[str, tuple[str, ...]]


@dataclass
class Consequences:
    """What follows from objects that differ.

    :param evidence: the stored backup has another definition than it had when it was published.
    :param unlogged: rows of these are lost, or differ, on a node that replays further.
    :param listed: object → why the backup is published without its definition.
    """

    evidence: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unlogged: dict[str, tuple[str, ...]] = field(default_factory=dict)
    listed: dict[str, str] = field(default_factory=dict)


def consequences_of(
    differing: Differing,
    *,
    full: bool,
    altered: Collection[str] | None,
    left_out: Mapping[str, str],
    known: Collection[str],
) -> Consequences:
    """Decide about each object of *differing*.

    :param full: the node is a fresh full, which has what a copy can carry.
    :param altered: objects that a restored node had not as its backup recorded them, before it replayed; None if
        nothing was replayed, so that each difference is the node's own.
    :param left_out: objects that the seed of the lineage could not carry → why.
    :param known: objects that the base lacked already, in the same way.
    """
    found = Consequences()
    for name, how in differing.items():
        if altered and name in altered:
            found.evidence[name] = how
        elif name in left_out:
            found.listed[name] = left_out[name]
        elif full:
            found.listed[name] = f"not as on the primary; a fresh copy does not carry it ({text(how)})"
        elif altered is None:
            found.evidence[name] = how
        elif holds_rows(name) and name not in known and not cosmetic(how):
            found.unlogged[name] = how
        else:
            found.listed[name] = f"not as on the primary, which changed without its binary log ({text(how)})"
    return found


def not_replayable(unlogged: Differing) -> NotReplayable:
    """Return the error for a base that a fresh full must replace, though nothing speaks against it."""
    named = "; ".join(f"{name}: {text(how)}" for name, how in sorted(unlogged.items())[:_NAMED])
    more = f"; and {len(unlogged) - _NAMED} more" if len(unlogged) > _NAMED else ""
    return NotReplayable(
        f"{len(unlogged)} definitions on the primary are not what its binary log makes of the base: {named}{more}. "
        "Rows that it logs now would be lost, or differ.",
        hint="A fresh full has the primary's definitions. Change definitions with the binary log on "
        "(sql_log_bin=1).",
        evidence={"tables": sorted(unlogged)},
    )


def text(how: Collection[str]) -> str:
    """Return in what an object differs, for people."""
    parts = list(how)
    more = f" and {len(parts) - _PARTS} more" if len(parts) > _PARTS else ""
    return ", ".join(parts[:_PARTS]) + more
