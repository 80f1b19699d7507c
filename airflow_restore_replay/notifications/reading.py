"""Read for a message what may be out of reach, without failing or hanging."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from airflow_restore_replay.core.errors import StoreFailed

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Limit of reading the repository: a callback must not hang on a store that does not answer.
READ_TIMEOUT_S = 20.0


def attempted(read: Callable[[], T], otherwise: str) -> T | None:
    """Return what *read* returns; None if it fails, which is logged as *otherwise*."""
    try:
        return read()
    except Exception:
        log.warning(otherwise, exc_info=True)
        return None


def in_time(read: Callable[[], T]) -> T:
    """Call *read* in a thread with a time limit.

    :raises StoreFailed: *read* takes longer than :data:`READ_TIMEOUT_S`; its thread is abandoned.
    """
    answer: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            answer.append(read())
        except BaseException as exc:
            errors.append(exc)

    thread = threading.Thread(target=work, name="notification", daemon=True)
    thread.start()
    thread.join(READ_TIMEOUT_S)
    if errors:
        raise errors[0]
    if not answer:
        raise StoreFailed(f"The repository did not answer within {READ_TIMEOUT_S:.0f} s.")
    return answer[0]
