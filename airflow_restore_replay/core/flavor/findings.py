"""Findings about what a cycle needs: ``doctor`` shows all of them, and some refuse a cycle."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from airflow_restore_replay.core.errors import PreflightFailed, error_class


class Severity(StrEnum):
    """What a finding means for a cycle.

    :cvar OK: the precondition holds.
    :cvar NOTE: it holds, and there is something to know.
    :cvar WARNING: the cycle runs; its log and its manifest have the finding.
    :cvar REFUSED: the cycle does not start.
    """

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    REFUSED = "refused"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out about one precondition of a cycle.

    :param subject: ``primary``, ``node`` or ``store``.
    :param name: the examined setting, privilege, program, …
    :param fix: what to run or change; empty if the precondition holds.
    :param for_seed: only a fresh full needs it; to a cycle with a base it is a warning.
    :param error: name of the error that a cycle is refused with.
    """

    subject: str
    name: str
    severity: Severity
    observed: str
    expected: str
    fix: str = ""
    for_seed: bool = False
    error: str = PreflightFailed.__name__

    def refuses(self, *, seeding: bool) -> bool:
        """Return whether a cycle does not start because of this.

        :param seeding: whether the cycle is about to copy the primary.
        """
        return self.severity is Severity.REFUSED and (seeding or not self.for_seed)


def refuse(found: Sequence[Finding], *, seeding: bool, what: str = "a cycle") -> None:
    """Raise one error for all findings that a cycle is refused because of, with their fixes.

    :param seeding: whether the primary is about to be copied.
    :param what: what is refused.
    :raises PreflightFailed: or the more specific error that the first of these findings names.
    """
    refused = [finding for finding in found if finding.refuses(seeding=seeding)]
    if not refused:
        return
    listed = "; ".join(f"{f.subject} {f.name}: {f.observed} (expected: {f.expected})" for f in refused)
    raise (error_class(refused[0].error) or PreflightFailed)(
        f"{_counted(len(refused), what)} not hold: {listed}.",
        hint=" ".join(dict.fromkeys(finding.fix for finding in refused)),
        evidence={"findings": msgspec.to_builtins(refused)},
    )


def warnings_of(found: Sequence[Finding], *, seeding: bool) -> dict[str, str]:
    """Return the findings that a cycle starts in spite of, by name."""
    return {
        f.name: f"{f.observed} (expected: {f.expected}). {f.fix}"
        for f in found
        if f.severity in (Severity.WARNING, Severity.REFUSED) and not f.refuses(seeding=seeding)
    }


def _counted(number: int, what: str) -> str:
    return f"1 precondition of {what} does" if number == 1 else f"{number} preconditions of {what} do"
