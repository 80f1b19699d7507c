"""Checks of a restored, caught-up, running node: small objects with one interface."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.jobs.context import JobContext


class Cost(StrEnum):
    """What a check takes, so that the cheap ones go first."""

    MOMENT = "moment"  # a question or two
    SECONDS = "seconds"  # grows with the number of tables, not with their size
    READS_DATA = "reads data"  # reads the node's files or rows
    READS_PRIMARY = "reads the primary"  # reads the primary's rows, too


class CheckResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a check saw.

    :param details: small JSON-able facts for the verdict.
    :param unfinished: what the time box left for the next cycle.
    :param carry: what the check of that name needs to know in the next cycle; kept in the manifest.
    """

    name: str
    passed: bool
    observed: str
    expected: str
    hint: str = ""
    details: dict[str, Any] = {}
    unfinished: str = ""
    carry: dict[str, Any] = {}
    cost: str = ""
    seconds: float = 0.0


class TimeBox:
    """How long a check may take; checks look at it between two pieces of their work.

    :param seconds: None is without limit.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def left_s(self) -> float | None:
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    @property
    def over(self) -> bool:
        return self.left_s == 0.0


class Check(Protocol):
    """:param cost: what it takes.
    :param blames: class of the error that a failed result becomes.
    """

    name: str
    cost: Cost
    blames: type[RestoreReplayError]

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        """:raises RestoreReplayError: what was found blames somebody else than *blames* does."""
        ...


def failure_of(check: Check, result: CheckResult) -> RestoreReplayError:
    """:returns: the error that a failed *result* amounts to."""
    return check.blames(
        f"Check {result.name} failed: observed {result.observed}, expected {result.expected}.",
        hint=result.hint,
        evidence=result.details,
    )


def ran(results: Sequence[CheckResult], *, carry: bool = False) -> list[dict[str, Any]]:
    """:param carry: with what the next cycle goes on from, which may be much.
    :returns: of each check what manifest and verdict keep.
    """
    kept = ["name", "passed", "cost", "seconds", "observed", "unfinished", *(["carry"] if carry else [])]
    return [{name: value for name, value in msgspec.to_builtins(r).items() if name in kept} for r in results]


def carried(ctx: JobContext, name: str) -> dict[str, Any]:
    """:returns: what the check *name* left for this cycle; empty when the newest backup has nothing of it."""
    for record in ctx.previous.checks if ctx.previous else []:
        if record.get("name") == name:
            return dict(record.get("carry", {}))
    return {}


def left_by_the_base(ctx: JobContext, name: str) -> dict[str, Any]:
    """:returns: what the check *name* kept of the backup that the node was filled from; empty after a fresh full."""
    base = ctx.state.filled_from
    if base is None or base.kind != "backup":
        return {}
    manifest = ctx.repository.catalog().backup(base.backup_id).manifest
    return next((dict(c.get("carry", {})) for c in manifest.checks if c.get("name") == name), {})


class Rotation:
    """Work that may not be done in one cycle: it goes on after what came last, in the order of names.

    :param last: name of the item that came last in the previous cycle.
    """

    def __init__(self, items: Iterable[str], last: str) -> None:
        names = sorted(items)
        first = next((n for n, name in enumerate(names) if name > last), 0)
        self._names = names[first:] + names[:first]
        self.done = 0

    def until(self, over: Callable[[], bool]) -> Iterator[str]:
        """:param over: whether the time is; at least one item is given out."""
        for name in self._names:
            if self.done and over():
                return
            self.done += 1
            yield name

    @property
    def unfinished(self) -> str:
        """:returns: how much is left, for people."""
        left = len(self._names) - self.done
        return f"{left} of {len(self._names)} are left for the next cycle" if left else ""

    @property
    def carry(self) -> dict[str, str]:
        """:returns: where to go on; nothing once all is done."""
        return {"last": self._names[self.done - 1]} if self.unfinished else {}
