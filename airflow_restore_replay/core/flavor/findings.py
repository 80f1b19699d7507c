"""Preconditions as findings: observed, expected, and the statement that fixes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from airflow_restore_replay.core.flavor.values import PreflightReport


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One precondition of a cycle.

    :param subject: ``primary``, ``node`` or ``store``.
    :param must: whether a cycle is refused without it; otherwise it is a warning.
    :param for_seed: only a fresh full needs it; a cycle with a base runs without it.
    :param fix: what to run or change; empty if the precondition holds.
    :param error: name of the error that a cycle fails with if the precondition does not hold.
    """

    subject: str
    name: str
    passed: bool
    must: bool = True
    for_seed: bool = False
    observed: str
    expected: str
    fix: str = ""
    error: str = "PreflightFailed"


@dataclass(frozen=True)
class Wanted:
    """Requirements that follow from the cluster's configuration.

    :param seed: the seed method, if it uses the cluster's account.
    :param keep_s: how long the primary should keep binary logs: two cycles, in seconds.
    """

    seed: str
    keep_s: float


@dataclass(frozen=True)
class Setting:
    """A system variable of the primary, with its expected value.

    :param fix: statement or change that sets it.
    :param holds: whether a value is accepted; by default, if it equals *expected*, ignoring case.
    """

    name: str
    expected: str
    fix: str
    must: bool = True
    holds: Callable[[str], bool] | None = None

    def examine(self, variables: Mapping[str, str]) -> Finding:
        observed = variables.get(self.name, "not known to this server")
        passed = self.holds(observed) if self.holds else observed.upper() == self.expected.upper()
        return Finding(
            subject="primary",
            name=self.name,
            passed=passed,
            must=self.must,
            observed=observed,
            expected=self.expected,
            fix="" if passed else self.fix,
        )


def kept_long_enough(keep: float) -> Callable[[str], bool]:
    """Return a function that checks that binary logs are kept for at least *keep*; a value of 0 keeps all."""
    return lambda text: float(text or 0) == 0 or float(text) >= keep


_ERRORS = {"binlog_do_db": "SourceFiltered", "binlog_ignore_db": "SourceFiltered"}


def of_tables(complaint: str, fix: str) -> Finding:
    """Return the finding about tables that a backup cannot contain.

    :param complaint: names these tables; empty if there are none.
    """
    return Finding(
        subject="primary",
        name="tables",
        passed=not complaint,
        observed=complaint or "all can be carried",
        expected="no DATA DIRECTORY, no encryption at rest, no engine with data elsewhere",
        fix=fix if complaint else "",
        error="UnsupportedTables",
    )


def rest_of(report: PreflightReport, covered: Sequence[str]) -> list[Finding]:
    """Return findings for the refusals and warnings of preflight that *covered* does not name.

    The text of each names the fix.
    """
    return [
        Finding(
            subject="primary",
            name=name,
            passed=False,
            must=must,
            observed=text,
            expected="nothing of the kind",
            fix=text.partition("Run on the primary: ")[2] or "See what was observed.",
            error=_ERRORS.get(name, "PreflightFailed"),
        )
        for must, found in ((True, report.refusals), (False, report.warnings))
        for name, text in found.items()
        if name not in covered
    ]
