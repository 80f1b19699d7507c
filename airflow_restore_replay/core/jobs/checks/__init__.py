"""Checks of a restored, caught-up, running node: small objects with one interface."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.jobs.context import JobContext


class CheckResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a check saw.

    :param details: small JSON-able facts for the verdict.
    """

    name: str
    passed: bool
    observed: str
    expected: str
    hint: str = ""
    details: dict[str, Any] = {}


class Check(Protocol):
    """:param blames: class of the error that a failed result becomes."""

    name: str
    blames: type[RestoreReplayError]

    def run(self, ctx: JobContext) -> CheckResult: ...


def failure_of(check: Check, result: CheckResult) -> RestoreReplayError:
    """:returns: the error that a failed *result* amounts to."""
    return check.blames(
        f"Check {result.name} failed: observed {result.observed}, expected {result.expected}.",
        hint=result.hint,
        evidence=result.details,
    )
