"""The check of the user's own queries: ``validate.assertions``."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import pymysql

from airflow_restore_replay.core.config.checks import Assertion
from airflow_restore_replay.core.errors import (
    AssertionFailed,
    CheckUnfinished,
    ConfigInvalid,
    RestoreReplayError,
    SourceUnexpected,
)
from airflow_restore_replay.core.flavor.sql import run
from airflow_restore_replay.core.flavor.values import Conn, position_text
from airflow_restore_replay.core.jobs.checks import CheckResult, Cost, TimeBox
from airflow_restore_replay.core.jobs.compare.comparison import open_matching_snapshot
from airflow_restore_replay.core.jobs.context import JobContext

#: errors of statements that took too long: MariaDB's max_statement_time, MySQL's max_execution_time
_TOO_LONG = (1969, 3024)


@dataclass(frozen=True)
class Answer:
    """A server's answer to the query of an assertion.

    :param value: the value as text; the error if *error* is true.
    :param holds: whether the value meets the assertion.
    """

    value: str
    holds: bool
    error: bool = False


class AssertionsCheck:
    """Check that every assertion holds on the node.

    An assertion that fails is evaluated again, on node and primary at one exact position. If it fails on the primary,
    too, the data is the primary's own.
    """

    name = "assertions"
    cost = Cost.READS_DATA
    blames: type[RestoreReplayError] = AssertionFailed

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        asked = ctx.cluster.validate.assertions
        with ctx.server.connect() as node:
            run(node, "START TRANSACTION READ ONLY")
            failing = [assertion for assertion in asked if not _ask(ctx, node, assertion, box).holds]
        failed = self._again(ctx, failing, box) if failing else None
        observed = f"{len(asked)} hold" if asked else "none configured"
        return failed or CheckResult(
            name=self.name, passed=True, observed=observed, expected="every assertion holds"
        )

    def _again(self, ctx: JobContext, failing: list[Assertion], box: TimeBox) -> CheckResult | None:
        with ctx.flavor.connect(ctx.primary) as primary:
            position = open_matching_snapshot(ctx, primary).position
            with ctx.node.changing() as state:
                state.position = str(position)
            with ctx.server.connect() as node:
                run(node, "START TRANSACTION READ ONLY")
                for assertion in failing:
                    ours = _ask(ctx, node, assertion, box)
                    if not ours.holds:
                        _blame_the_primary(assertion, _ask(ctx, primary, assertion, box))
                        return self._failed(assertion, ours, str(position))
        return None

    def _failed(self, assertion: Assertion, answer: Answer, position: str) -> CheckResult:
        return CheckResult(
            name=self.name,
            passed=False,
            observed=f"{assertion.name}: {answer.value} on the node at {position_text(position)}",
            expected=f"{_expectation(assertion)}, as on the primary",
            hint="The node lost or changed data that the primary has.",
            details={"assertion": assertion.name, "query": assertion.query, "observed": answer.value},
        )


def _blame_the_primary(assertion: Assertion, answer: Answer) -> None:
    if answer.error:
        raise ConfigInvalid(
            f"validate.assertions: {assertion.name} fails on the primary: {answer.value}",
            hint="Fix its query.",
        )
    if not answer.holds:
        raise SourceUnexpected(
            f"Assertion {assertion.name} does not hold, on the primary either: observed {answer.value}, "
            f"expected {_expectation(assertion)}.",
            hint="Look at the data on the primary, or at what the assertion expects.",
            evidence={"assertion": assertion.name, "query": assertion.query, "observed": answer.value},
        )


def _ask(ctx: JobContext, conn: Conn, assertion: Assertion, box: TimeBox) -> Answer:
    if box.left_s is not None:
        ctx.flavor.limit_statements(conn, max(box.left_s, 0.1))
    try:
        with conn.cursor() as cursor:
            cursor.execute(assertion.query)
            found = cursor.fetchmany(2)
    except pymysql.err.MySQLError as exc:
        number, text = (*exc.args, "", "")[:2]
        if number in _TOO_LONG:
            raise CheckUnfinished(
                f"Assertion {assertion.name} was not answered within validate.time_box.",
                hint="Raise validate.time_box, or ask less.",
            ) from exc
        if not isinstance(number, int) or number < 1000 or 2000 <= number < 3000:
            raise
        return Answer(f"error {number}: {text}", holds=False, error=True)
    if len(found) != 1 or len(found[0]) != 1:
        shape = "no row" if not found else "more than one value"
        return Answer(shape, holds=False)
    value = found[0][0]
    text = value.hex() if isinstance(value, bytes) else str(value)
    return Answer(text[:200], holds=_holds(assertion, value, text))


def _holds(assertion: Assertion, value: object, text: str) -> bool:
    if value is None:
        return False
    if assertion.expect is not None:
        numbers = _number(text), _number(str(assertion.expect))
        return text == str(assertion.expect) or (None not in numbers and numbers[0] == numbers[1])
    number = _number(text)
    if number is None:
        return False
    low, high = assertion.at_least, assertion.at_most
    return (low is None or number >= _exact(low)) and (high is None or number <= _exact(high))


def _number(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _exact(bound: float) -> Decimal:
    return Decimal(str(bound))


def _expectation(assertion: Assertion) -> str:
    if assertion.expect is not None:
        return str(assertion.expect)
    bounds = (("at least", assertion.at_least), ("at most", assertion.at_most))
    return " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
