"""End the process although threads wait for a store that does not answer."""

from __future__ import annotations

import os
import sys

_left: list[bool] = []


def leave_threads_behind(hanging: bool) -> None:
    """Let :func:`leave` not wait for threads, if there are *hanging* ones."""
    if hanging:
        _left.append(True)


def leave(code: int) -> None:
    """End the process with *code* at once if threads were left behind; else return."""
    if _left:
        sys.stdout.flush()
        sys.stderr.flush()
        # The interpreter would wait for the pool of the thread, until the store's last retry has failed.
        os._exit(code)
