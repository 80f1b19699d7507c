"""Bounded parallel work: memory does not grow with the number of items, and the first error ends the work."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
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
