"""Examine a primary by a flavor's list of examinations.

An examination is data: a name, a function that observes, and what it means if the observation is not as expected.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property

from airflow_restore_replay.core.errors import PreflightFailed
from airflow_restore_replay.core.flavor.findings import Finding, Severity
from airflow_restore_replay.core.flavor.grants import account
from airflow_restore_replay.core.flavor.sql import Answer, rows, value
from airflow_restore_replay.core.flavor.values import Conn


@dataclass(frozen=True)
class Wanted:
    """What a cycle wants of the primary.

    :param seed: the seed method, if it uses the cluster's account; empty if it uses another one.
    :param keep_s: how long the primary should keep binary logs: two cycles, in seconds.
    :param node_release: release of the node's server; empty if it is unknown.
    :param confined: whether the kernel confines the node's server.
    :param seeding: whether a seed may follow, so that rows may be read for it.
    """

    seed: str
    keep_s: float
    node_release: str = ""
    confined: bool = True
    seeding: bool = True


@dataclass(frozen=True)
class PrimaryFacts:
    """A primary under examination.

    :param variables: its global variables, by name in lower case.
    """

    conn: Conn
    wanted: Wanted
    variables: Mapping[str, str]
    privileges_of: Callable[[Conn], AbstractSet[str]]

    @cached_property
    def privileges(self) -> AbstractSet[str]:
        """Return what is granted to the connection's account ``ON *.*``."""
        return self.privileges_of(self.conn)

    @cached_property
    def account(self) -> str:
        """Return the connection's account, quoted for a statement."""
        user, _, host = str(value(self.conn, "SELECT CURRENT_USER()")).rpartition("@")
        return account(user, host)


@dataclass(frozen=True)
class Observation:
    """What a function observed.

    :param holds: whether that is as expected.
    :param fix: what to run or change if not.
    :param severity: if the one of the examination does not apply here.
    """

    holds: bool
    observed: str
    expected: str
    fix: str = ""
    severity: Severity | None = None


Observe = Callable[[PrimaryFacts], Observation | None]


@dataclass(frozen=True, kw_only=True)
class Examination:
    """One precondition of a primary.

    :param observe: looks at the primary; returns None if the precondition does not concern it.
    :param severity: of the finding, if the precondition does not hold.
    :param needs: privileges without which *observe* fails or sees too little. Without one of them the precondition is
        not examined, because the lack of that privilege is a finding of its own.
    :param seeds: seed methods that need the precondition; by default any.
    :param for_seed, error: see :class:`~airflow_restore_replay.core.flavor.findings.Finding`.
    :param decisive: nothing else is examined if the cycle is refused because of this.
    """

    name: str
    observe: Observe
    severity: Severity = Severity.REFUSED
    needs: Collection[str] = ()
    seeds: Collection[str] = ()
    for_seed: bool = False
    error: str = PreflightFailed.__name__
    decisive: bool = False

    def finding(self, facts: PrimaryFacts) -> Finding | None:
        """Examine the primary; None if this does not concern it, or if a needed privilege is missing."""
        if self.seeds and facts.wanted.seed not in self.seeds:
            return None
        if self.needs and not facts.privileges >= set(self.needs):
            return None
        seen = self.observe(facts)
        if seen is None:
            return None
        return Finding(
            subject="primary",
            name=self.name,
            severity=Severity.OK if seen.holds else seen.severity or self.severity,
            observed=seen.observed,
            expected=seen.expected,
            fix="" if seen.holds else seen.fix,
            for_seed=self.for_seed,
            error=self.error,
        )


def examine_primary(
    conn: Conn,
    wanted: Wanted,
    examinations: Iterable[Examination],
    *,
    privileges_of: Callable[[Conn], AbstractSet[str]],
) -> list[Finding]:
    """Return the findings of all *examinations* that concern the primary behind *conn*, in their order."""
    variables = Answer((name.lower(), str(text)) for name, text in rows(conn, "SHOW GLOBAL VARIABLES"))
    facts = PrimaryFacts(conn, wanted, variables, privileges_of)
    found = []
    for examination in examinations:
        finding = examination.finding(facts)
        if finding is None:
            continue
        found.append(finding)
        if examination.decisive and finding.severity is Severity.REFUSED:
            break
    return found
