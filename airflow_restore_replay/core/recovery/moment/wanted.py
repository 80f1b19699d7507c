"""The moment that a person asked for."""

from __future__ import annotations

from typing import Literal

import msgspec

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
