"""Bytes that no writer of this package makes, and what their reader may do with them: a value, or the documented error.

A case names its reader's errors. Any other exception of the reader is a finding, and so is a reader that does not end.
"""

from __future__ import annotations

import contextlib
import re
import signal
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_restore_replay.core.errors import RestoreReplayError

#: examples of each reader in `make test`, and in a sweep
FEW, MANY = 25, 4000
#: a reader that takes longer hangs; far above what any takes
_HANGS_AFTER_S = 60
_PEAK_BYTES = 128 * 2**20

_SCALAR = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|\[[^\[\]]*\]|\{[^{}]*\}')
#: what stands in for a scalar of JSON or YAML
_ODD = [
    *(
        b"null",
        b"true",
        b"{}",
        b"[]",
        b"[{}]",
        b"0",
        b"-1",
        b"1.5",
        b"1e400",
        b"-0.0",
        b"NaN",
        b".inf",
        b".nan",
    ),
    *(b"9" * 30, b"9" * 5000, b"18446744073709551615", b"-9223372036854775809", b"1" + b"0" * 400),
    *(
        b'""',
        b'"\\u0000"',
        b'"\\ud800"',
        b'"\xff"',
        b'"' + b"a" * 5000 + b'"',
        b'"../../etc/passwd"',
        b'"\\n"',
    ),
    *(
        b'"0001-01-01T00:00:00+14:00"',
        b'"9999-12-31T23:59:59-14:00"',
        b'"2026-01-01T00:00:00"',
        b'"\xd9\xa1"',
    ),
    *(b"[" * 3000, b'{"a":' * 3000, b"*a", b"2026-99-99", b"{1: 2}", b"[[[]]]"),
]
_EDITS = st.tuples(
    st.sampled_from(["flip", "cut", "insert", "drop", "repeat", "odd", "odd", "odd"]),
    st.integers(0, 2**20),
    st.binary(max_size=8),
    st.sampled_from(_ODD),
)


@dataclass(frozen=True)
class Case:
    """A reader of bytes that others may write.

    :param valid: contents that it reads, from which others are made.
    :param errors: the errors that it documents beside those of this package.
    """

    read: Callable[[bytes], object]
    valid: Sequence[bytes]
    errors: tuple[type[Exception], ...] = ()

    def contents(self) -> st.SearchStrategy[bytes]:
        changed = st.builds(_changed, st.sampled_from(self.valid), st.lists(_EDITS, min_size=1, max_size=4))
        return st.one_of(changed, changed, changed, st.binary(max_size=300))

    def try_out(self, examples: int) -> None:
        """Read the valid contents, and *examples* others."""
        for content in self.valid:
            self.read(content)

        @settings(max_examples=examples, database=None)
        @given(self.contents())
        def read(content: bytes) -> None:
            with contextlib.suppress(RestoreReplayError, *self.errors):
                self.read(content)

        with ends():
            read()


@contextlib.contextmanager
def ends() -> Iterator[None]:
    """Fail if the context computes without an end; for one that waits, pytest has a timeout.

    CPU time, because these machines are busy.
    """

    def hangs(number: int, frame: FrameType | None) -> None:
        raise AssertionError("it does not end")

    before = signal.signal(signal.SIGPROF, hangs)
    signal.setitimer(signal.ITIMER_PROF, _HANGS_AFTER_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextlib.contextmanager
def bounded(most_bytes: int = _PEAK_BYTES) -> Iterator[None]:
    """Fail if the context needs more memory than *most_bytes*."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most_bytes
    finally:
        tracemalloc.stop()


def _changed(content: bytes, edits: Sequence[tuple[str, int, bytes, bytes]]) -> bytes:
    for kind, number, some, odd in edits:
        at = number % (len(content) + 1)
        if kind == "odd":
            scalars = list(_SCALAR.finditer(content))
            chosen = scalars[number % len(scalars)].span() if scalars else (at, at)
            content = content[: chosen[0]] + odd + content[chosen[1] :]
        elif kind == "flip":
            content = (
                content[:at] + bytes(b ^ 1 << number % 8 for b in content[at : at + 1]) + content[at + 1 :]
            )
        elif kind == "cut":
            content = content[:at]
        elif kind == "insert":
            content = content[:at] + some + content[at:]
        elif kind == "drop":
            content = content[:at] + content[at + len(some) :]
        else:
            content = content[:at] + content[at // 2 :]
    return content
