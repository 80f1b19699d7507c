"""What a precondition looks like when somebody asks: observed, expected, and the statement that fixes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from airflow_restore_replay.core.flavor.values import PreflightReport


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One precondition.

    :param subject: ``primary``, ``node`` or ``store``.
    :param must: whether a cycle is refused without it; else it is worth knowing.
    :param for_seed: only a full copy needs it: a cycle that has a base goes on without.
    :param fix: what to run or change; empty when it holds.
    :param error: what a cycle that has to do without it ends with.
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
    """What the cluster's configuration asks of its primary.

    :param seed: the method, where it uses the cluster's account.
    :param keep_s: for how long the primary shall keep binary logs: two cycles.
    """

    seed: str
    keep_s: float


@dataclass(frozen=True)
class Setting:
    """A system variable of the primary.

    :param fix: what makes it hold.
    :param holds: by its value; by default it equals *expected*.
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
    """:returns: whether the time for which binary logs are kept is at least *keep*; 0 keeps all."""
    return lambda text: float(text or 0) == 0 or float(text) >= keep


_ERRORS = {"binlog_do_db": "SourceFiltered", "binlog_ignore_db": "SourceFiltered"}


def of_tables(complaint: str, fix: str) -> Finding:
    """:param complaint: names tables that a backup cannot carry."""
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
    """:returns: what preflight has against the primary, or warns of, beyond *covered*; its text names the fix."""
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
