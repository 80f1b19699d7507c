"""What a session of the archiver is told, and how it can end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

from airflow_restore_replay.core.repository.format.records import LogGap, LogPiece


class End(Enum):
    """Why a session ended."""

    REACHED = auto()
    STOPPED = auto()
    SPOOL_FULL = auto()
    RECEIVER_ENDED = auto()
    CHANGED = auto()


class Changed(Exception):
    """The primary's file is not the one that is archived; the text, a clause, says how that was noticed."""


class Unproven(Exception):
    """From the place on, the primary sent nothing that could be archived: it may have another file of that name."""


@dataclass(frozen=True)
class Goal:
    """The end of the primary's binary log when it was asked.

    :param at: that time, by this host's clock.
    :param current: returns whether the primary had logged nothing at that time that is not in a position.
    """

    at: datetime
    file: str
    offset: int
    current: Callable[[str], bool] = lambda position: True


@dataclass(frozen=True)
class Orders:
    """What a session needs of the archiver.

    :param ask: returns the present end of the primary's binary log.
    :param heading: returns what the heading of a file of the primary lists; None if there is no such file.
    :param storing: calls a function that uses the store, again and again while that fails.
    :param told: called with each new piece and each gap.
    """

    interval_s: float
    follow: bool
    ask: Callable[[], Goal]
    heading: Callable[[str], str | None]
    storing: Callable[[Callable[[], Any]], Any]
    stopping: Callable[[], bool]
    told: Callable[[LogPiece | LogGap | str], None]
