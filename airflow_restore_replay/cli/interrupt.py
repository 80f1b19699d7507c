"""End a command on SIGTERM as on Ctrl-C, so that it cleans up what it started."""

from __future__ import annotations

import signal
from types import FrameType


def clean_up_on_sigterm() -> None:
    """Let SIGTERM raise KeyboardInterrupt in the whole process from now on."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
