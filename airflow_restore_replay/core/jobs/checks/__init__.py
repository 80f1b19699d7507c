"""Checks of a restored, caught-up, running node: small objects with one interface."""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.jobs.context import JobContext


class Cost(StrEnum):
    """Cost of a check, from the cheapest class to the most expensive."""

    MOMENT = "moment"  # one or two queries
    SECONDS = "seconds"  # grows with the number of tables, not with their size
    READS_DATA = "reads data"  # reads the node's files or rows
    READS_PRIMARY = "reads the primary"  # reads the primary's rows, too


class CheckResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Result of a check.

    :param details: small JSON-able facts for the verdict.
    :param unfinished: what the time box left for the next cycle.
    :param carry: what the check of that name needs in the next cycle; kept in the manifest.
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
    """Time limit of a check, which tests it between two steps of its work.

    :param seconds: limit; None for no limit.
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
    """One test of a restored, running server.

    :param cost: cost class, shown with the result.
    :param blames: class of the error that a failed result becomes.
    """

    name: str
    cost: Cost
    blames: type[RestoreReplayError]

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        """Run the check until it is done or *box* is over.

        :raises RestoreReplayError: the check cannot be done, or its finding blames another party than *blames* does.
        """
        ...


def failure_of(check: Check, result: CheckResult) -> RestoreReplayError:
    """Return the error for a failed *result*."""
    return check.blames(
        f"Check {result.name} failed: observed {result.observed}, expected {result.expected}.",
        hint=result.hint,
        evidence=result.details,
    )


def results_for_records(results: Sequence[CheckResult], *, carry: bool = False) -> list[dict[str, Any]]:
    """Return the part of each result that manifest and verdict keep.

    :param carry: whether to include what the next cycle needs, which may be large.
    """
    kept = ["name", "passed", "cost", "seconds", "observed", "unfinished", *(["carry"] if carry else [])]
    return [{name: value for name, value in msgspec.to_builtins(r).items() if name in kept} for r in results]


def carried(ctx: JobContext, name: str) -> dict[str, Any]:
    """Return what the check *name* left for this cycle in the newest backup; empty if there is nothing."""
    for record in ctx.previous.checks if ctx.previous else []:
        if record.get("name") == name:
            return dict(record.get("carry", {}))
    return {}


def left_by_the_base(ctx: JobContext, name: str) -> dict[str, Any]:
    """Return what the check *name* kept in the backup that the node was filled from; empty after a fresh full."""
    base = ctx.state.filled_from
    if base is None or base.kind != "backup":
        return {}
    manifest = ctx.repository.catalog().backup(base.backup_id).manifest
    return next((dict(c.get("carry", {})) for c in manifest.checks if c.get("name") == name), {})
