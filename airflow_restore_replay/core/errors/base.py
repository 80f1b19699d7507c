"""The base of all errors, and what an error blames."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar


class Blame(StrEnum):
    """Blame of a failure, which decides what the run does next."""

    BACKUP = "backup"
    STRANDED = "stranded"
    SOURCE = "source"
    ENVIRONMENT = "environment"


class RestoreReplayError(Exception):
    """Base of all errors.

    :param message: what happened, to which id, observed and expected.
    :param hint: the next step for the person who reads it.
    :param evidence: small JSON-able facts kept in verdicts (never secrets).
    :param blame: what it blames, where the circumstances are more exact than the class.
    :param retryable: whether a retry may end otherwise, where that is more exact than the class.
    """

    default_blame: ClassVar[Blame] = Blame.ENVIRONMENT
    #: what a person does about it, where the error itself has no more exact hint; docs/failures.md is made of it
    advice: ClassVar[str] = ""
    retryable: bool = True

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        evidence: dict[str, Any] | None = None,
        blame: Blame | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.evidence = evidence or {}
        self.blame = blame or self.default_blame
        if retryable is not None:
            self.retryable = retryable

    @property
    def code(self) -> str:
        return type(self).__name__

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


def error_class(code: str) -> type[RestoreReplayError] | None:
    """:returns: the class of that name in the tree, or None."""
    pending: list[type[RestoreReplayError]] = [RestoreReplayError]
    while pending:
        candidate = pending.pop()
        if candidate.__name__ == code:
            return candidate
        pending.extend(candidate.__subclasses__())
    return None
