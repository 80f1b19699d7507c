"""An error as a record: how it travels from node to worker, and stands in verdicts."""

from __future__ import annotations

import errno
import hashlib
import re
from typing import Any

import msgspec

from airflow_restore_replay.core.errors import (
    AnswerUnreadable,
    Blame,
    InternalError,
    NodeFull,
    RestoreReplayError,
    error_class,
)

_VARYING = re.compile(r"\d{8}T\d{6}Z-\w+|0x[0-9a-f]+|/\S+|[0-9a-f]{16,}|\d+", re.IGNORECASE)

#: numbers of a server's errors: a lost connection, a lock, a statement or a connection that was killed
_PASSING = frozenset({0, 1053, 1205, 1213, 1317, 1927, 2002, 2003, 2006, 2013})


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error as it travels from an agent to a worker and into verdicts.

    :param code: class name in the tree of errors.
    :param fingerprint: equal for two failures of the same kind; what varies by run (numbers, paths, hashes)
        does not count. Used to see that base and fallback fail alike.
    """

    code: str
    blame: Blame
    message: str
    hint: str = ""
    retryable: bool = True
    fingerprint: str = ""
    evidence: dict[str, Any] = {}

    @classmethod
    def of(cls, exc: BaseException) -> Failure:
        """Describe *exc*; anything outside the tree blames the environment."""
        error = exc if isinstance(exc, RestoreReplayError) else _foreign(exc)
        return cls(
            code=error.code,
            blame=error.blame,
            message=error.message,
            hint=error.hint or error.advice,
            retryable=error.retryable,
            fingerprint=fingerprint(error.code, error.message),
            evidence=error.evidence,
        )

    @property
    def tables(self) -> frozenset[str]:
        """:returns: the tables in which node and primary were found to differ."""
        differing = [d["table"] for d in self._listed("differences") if isinstance(d, dict) and "table" in d]
        conflict = [self.evidence["table"]] if "table" in self.evidence else []
        whole = [*self._listed("missing_tables"), *self._listed("added_tables")]
        return frozenset(map(str, (*differing, *conflict, *whole)))

    def _listed(self, name: str) -> list[Any]:
        found = self.evidence.get(name)
        return found if isinstance(found, list) else []

    def to_exception(self) -> RestoreReplayError:
        """:returns: an exception of the original class."""
        kind = error_class(self.code) or InternalError
        return kind(
            self.message,
            hint=self.hint,
            evidence=self.evidence,
            blame=self.blame,
            retryable=self.retryable,
        )


def fingerprint(code: str, message: str) -> str:
    """:returns: 16 hex digits over *code* and *message* without their varying parts."""
    return hashlib.sha256(f"{code}:{_VARYING.sub('#', message)}".encode()).hexdigest()[:16]


def _foreign(exc: BaseException) -> RestoreReplayError:
    if isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT):
        where = exc.filename or "the node"
        return NodeFull(f"No space left for {where}.", hint="Free space on the node's work directory.")
    if type(exc).__module__ == "pymysql.err":
        number = exc.args[0] if exc.args and isinstance(exc.args[0], int) else 0
        text = exc.args[1] if len(exc.args) > 1 else exc
        return AnswerUnreadable(
            f"A server refused a statement that it should accept: {text} (error {number}).",
            retryable=number in _PASSING,
        )
    return InternalError(
        f"{type(exc).__name__}: {exc}",
        hint="This is not evidence against any backup; the job's log on the node has the traceback.",
    )
