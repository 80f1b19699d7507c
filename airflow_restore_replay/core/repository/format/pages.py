"""Page deltas: the changed pages of a chunk, and how to rebuild the chunk from its base and these pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from airflow_restore_replay.core.repository.format.codec import Content
from airflow_restore_replay.core.repository.format.refs import page_spans

#: a chunk is stored whole if more than one in this many pages changed
DELTA_SHARE = 4


def runs_of(pages: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return page numbers as ascending runs (first page, count)."""
    runs: list[list[int]] = []
    for page in sorted(pages):
        if runs and page == sum(runs[-1]):
            runs[-1][1] += 1
        else:
            runs.append([page, 1])
    return tuple((first, count) for first, count in runs)


def pages_of(runs: Iterable[tuple[int, int]]) -> set[int]:
    """Return the numbers of all pages that *runs* cover."""
    return {page for first, count in runs for page in range(first, first + count)}


def cut_pages(data: Content, runs: Sequence[tuple[int, int]]) -> bytes:
    """Return the pages of *data* that *runs* name, concatenated."""
    view = memoryview(data)
    return b"".join([view[begin:end] for begin, end in page_spans(runs, len(data))])


def apply_pages(base: bytearray | memoryview, pages: bytes, runs: Sequence[tuple[int, int]]) -> None:
    """Replace the pages of *base* that *runs* name by *pages*; the inverse of :func:`cut_pages`."""
    taken = 0
    for begin, end in page_spans(runs, len(base)):
        base[begin:end] = pages[taken : taken + end - begin]
        taken += end - begin
