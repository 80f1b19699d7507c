"""Bytes that arrive in pieces, seen through a window that holds a few of them at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator


class Short(LookupError):
    """Fewer bytes follow than are needed."""


class Window:
    """A place in a sequence of bytes.

    ``data[at:]`` are the bytes that have arrived and were not passed yet; callers may move *at* within *data*.
    """

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces: Iterator[bytes] = iter(pieces)
        self.data = b""
        self.at = 0
        #: bytes before those in *data*
        self.dropped = 0

    def has(self, count: int) -> bool:
        """Return whether *count* bytes follow, and let them arrive."""
        missing = count - (len(self.data) - self.at)
        if missing <= 0:
            return True
        arrived = [self.data[self.at :]]
        for piece in self._pieces:
            arrived.append(piece)
            missing -= len(piece)
            if missing <= 0:
                break
        self.dropped += self.at
        self.data, self.at = b"".join(arrived), 0
        return missing <= 0

    def take(self, count: int) -> bytes:
        """Return the next *count* bytes.

        :raises Short: there are not as many.
        """
        if not self.has(count):
            raise Short(f"{count} bytes are expected, {len(self.data) - self.at} follow")
        self.at += count
        return self.data[self.at - count : self.at]

    def skip(self, count: int) -> None:
        """Pass over *count* bytes, however many, without keeping them.

        :raises Short: there are not as many.
        """
        for _ in self.pass_on(count):
            pass

    def pass_on(self, count: int) -> Generator[bytes, None, None]:
        """Yield the next *count* bytes as they arrive.

        :raises Short: there are not as many.
        """
        while count:
            if not self.has(1):
                raise Short(f"{count} bytes more are expected")
            part = self.data[self.at : self.at + count]
            self.at += len(part)
            count -= len(part)
            yield part

    def rest(self) -> Generator[bytes, None, None]:
        """Yield all that follows, as it arrives."""
        while part := self.read():
            yield part

    def read(self, most: int = -1) -> bytes:
        """Return the next bytes that have arrived, at most *most*; none at the end."""
        if not self.has(1):
            return b""
        part = self.data[self.at :] if most < 0 else self.data[self.at : self.at + most]
        self.at += len(part)
        return part
