"""Examinations of what a node cannot have as the primary has it: values of variables, and the time zone."""

from __future__ import annotations

import re

from airflow_restore_replay.core.flavor.examination import Examination, Observation, PrimaryFacts
from airflow_restore_replay.core.flavor.findings import Severity
from airflow_restore_replay.core.flavor.variables import SYSTEM_ZONE, Refusal, Variables
from airflow_restore_replay.core.flavor.zones import system_zone


def followed(variables: Variables) -> list[Examination]:
    """Return the examinations of the variables of which a node cannot have each value, and of the time zone."""
    zone = Examination(name=SYSTEM_ZONE, observe=_system_zone, severity=Severity.WARNING)
    return [*(_refusal(name, rule) for name, rule in variables.refused.items()), zone]


def _refusal(name: str, rule: Refusal) -> Examination:
    def observe(facts: PrimaryFacts) -> Observation | None:
        observed = facts.variables.get(name)
        if observed is None:
            return None
        holds = re.fullmatch(rule.followed, observed) is not None
        return Observation(holds, observed or "empty", f"another value: {rule.why}", rule.fix)

    return Examination(name=name, observe=observe, severity=Severity.WARNING)


def _system_zone(facts: PrimaryFacts) -> Observation:
    zone = system_zone(facts.conn)
    return Observation(
        zone is not None,
        zone or facts.variables.get(SYSTEM_ZONE, "unknown"),
        "a time zone of this host, in which the node runs",
        "Install tzdata on the node, or set the primary's TZ to one of its zones.",
    )
