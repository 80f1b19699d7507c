"""SIGTERM ends a command as Ctrl-C does: what it has started is cleaned up."""

from __future__ import annotations

import signal
from types import FrameType


def clean_up_on_sigterm() -> None:
    """From now on, and for the whole process."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
