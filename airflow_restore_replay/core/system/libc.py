"""The C library, for system calls that Python's os module lacks."""

from __future__ import annotations

import ctypes
import os

LIBC = ctypes.CDLL(None, use_errno=True)


def checked(result: int, subject: str | None = None) -> int:
    """Return *result* of a call to :data:`LIBC`.

    :raises OSError: it is negative, so the call failed; the error names *subject*.
    """
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), subject)
    return result
