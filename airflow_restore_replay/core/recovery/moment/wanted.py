"""The moment that a person asked for."""

from __future__ import annotations

import shlex
from typing import Literal

import msgspec

from airflow_restore_replay.core.errors import MomentRefused

Kind = Literal["at", "before_gtid", "to_gtid", "latest"]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The moment that a person asked for.

    :param kind: ``at``: before the first transaction stamped at or after a time; ``before_gtid`` and ``to_gtid``:
        without and with that transaction; ``latest``: all that is archived.
    :param text: the time or GTID as it was given.
    """

    kind: Kind
    text: str = ""

    def __str__(self) -> str:
        return f"{self.kind.replace('_', '-')} {self.text}".strip()

    @property
    def words(self) -> str:
        """Return the option of the command that names it."""
        return f"--{self.kind.replace('_', '-')} {shlex.quote(self.text) if self.text else ''}".strip()


def wanted_of(
    *, at: str | None = None, before_gtid: str | None = None, to_gtid: str | None = None, latest: bool = False
) -> Wanted | None:
    """Return the moment that was named; None if none was.

    :raises MomentRefused: several were.
    """
    given = [
        Wanted(kind="at", text=at) if at is not None else None,
        Wanted(kind="before_gtid", text=before_gtid) if before_gtid is not None else None,
        Wanted(kind="to_gtid", text=to_gtid) if to_gtid is not None else None,
        Wanted(kind="latest") if latest else None,
    ]
    named = [wanted for wanted in given if wanted]
    if len(named) > 1:
        raise MomentRefused(
            f"Several moments are named: {', '.join(map(str, named))}.", hint="Name one of them."
        )
    return named[0] if named else None
