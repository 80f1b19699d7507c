"""Bounded parallel work: memory does not grow with the number of items, and the first error ends the work."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol, TypeVar

from airflow_restore_replay.core.errors import JobCancelled

T = TypeVar("T")
R = TypeVar("R")

_POLL_S = 1.0


def run_bounded(
    items: Iterable[T],
    work: Callable[[T], R],
    *,
    threads: int,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[tuple[T, R], None, None]:
    """Apply *work* to *items* in threads, with at most twice as many items in progress as threads.

    :returns: items with their results, in order of completion. Closing the generator drops items that have not
        started, and waits for those that have.
    :raises JobCancelled: *cancelled* returned True.
    """
    source = iter(items)
    pending: dict[Future[R], T] = {}
    pool = ThreadPoolExecutor(threads, thread_name_prefix="transfer")
    try:
        while True:
            for item in _up_to(2 * threads - len(pending), source):
                pending[pool.submit(work, item)] = item
            if not pending:
                return
            if cancelled():
                raise JobCancelled("The job was cancelled during a transfer.")
            done, _ = wait(pending, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            for future in done:
                yield pending.pop(future), future.result()
    finally:
        # Items that have not started are dropped; those in progress end by their own timeouts.
        pool.shutdown(wait=True, cancel_futures=True)


def _up_to(count: int, source: Iterator[T]) -> Iterator[T]:
    for _ in range(count):
        try:
            yield next(source)
        except StopIteration:
            return


class Piecemeal(Protocol):
    """An item with a size, for :func:`batched`."""

    @property
    def size_bytes(self) -> int: ...


P = TypeVar("P", bound=Piecemeal)


def batched(items: Iterable[P], *, max_bytes: int, max_items: int) -> Iterator[list[P]]:
    """Yield *items* in order, small ones in batches, because handing one to a thread costs more than its work."""
    batch: list[P] = []
    held_bytes = 0
    for item in items:
        if batch and (held_bytes + item.size_bytes > max_bytes or len(batch) == max_items):
            yield batch
            batch, held_bytes = [], 0
        batch.append(item)
        held_bytes += item.size_bytes
    if batch:
        yield batch


@dataclass(frozen=True)
class Overdue:
    """Stands for the result of work that did not end within its time limit."""

    seconds: float


def run_within(
    items: Sequence[T], work: Callable[[T], R], *, threads: int, limit_s: float
) -> Iterator[tuple[T, R | Overdue]]:
    """Apply *work* to *items* in threads, each within a time limit: work that hangs stops no other.

    A thread cannot be ended, so one that is late is left behind, and another takes its place. These threads do not keep
    the process alive.

    :param work: must not raise.
    :param limit_s: for each item, from its own start.
    :returns: items with their results, in order of completion.
    """
    waiting = queue.SimpleQueue[tuple[int, T]]()
    ended = queue.SimpleQueue[tuple[int, R]]()
    for numbered in enumerate(items):
        waiting.put(numbered)
    started: dict[int, float] = {}
    changing = threading.Lock()

    def serve() -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                number, item = waiting.get_nowait()
                with changing:
                    started[number] = time.monotonic()
                ended.put((number, work(item)))

    def begin() -> None:
        threading.Thread(target=serve, name="within", daemon=True).start()

    for _ in range(min(threads, len(items))):
        begin()
    left = len(items)
    while left:
        with changing:
            oldest = min(started.values(), default=time.monotonic())
        # New items are noticed in time, because each poll is short.
        wait_s = min(_POLL_S, max(0.001, oldest + limit_s - time.monotonic()))
        with contextlib.suppress(queue.Empty):
            number, result = ended.get(timeout=wait_s)
            with changing:
                counts = started.pop(number, None) is not None  # else its time was over
            if counts:
                left -= 1
                yield items[number], result
        with changing:
            late = [n for n, since in started.items() if time.monotonic() - since >= limit_s]
            for number in late:
                del started[number]
        for number in late:
            left -= 1
            begin()
            yield items[number], Overdue(limit_s)
