"""How the repository's objects look as bytes: names, compression; the one place to change what is stored.

A content's name is its BLAKE3; what is stored of it is one zstd frame that states its size and has a checksum.
"""

from __future__ import annotations

import threading

import zstandard
from blake3 import blake3


class CodecError(Exception):
    """Stored bytes that are not what they should be; the text is what was observed, to be continued a sentence."""


class Codec:
    """Names, encodes and decodes contents; may be shared by threads.

    :param level: zstd level.
    """

    def __init__(self, level: int = 1) -> None:
        self._level = level
        # zstd contexts are not thread-safe, so each thread has its own.
        self._local = threading.local()

    def name(self, data: bytes) -> str:
        """:returns: 64 hex digits."""
        return blake3(data).hexdigest()

    def encode(self, data: bytes, name: str) -> bytes:
        """:param name: of *data*; :meth:`decode` must be given the same.

        :returns: at most ``bound(len(data))`` bytes.
        """
        if not hasattr(self._local, "compressor"):
            self._local.compressor = zstandard.ZstdCompressor(level=self._level, write_checksum=True)
        compressed: bytes = self._local.compressor.compress(data)
        return compressed

    def decode(self, stored: bytes, name: str, *, size_bytes: int | None = None, max_bytes: int = 0) -> bytes:
        """Decode and hash.

        :param size_bytes: the content's size; without it, any up to *max_bytes*.
        :raises CodecError: it does not decode, or to something else than *name* says.
        """
        try:
            # The decoder allocates what the frame claims, whatever limit it is given.
            claimed = zstandard.frame_content_size(stored)
            if size_bytes is not None and claimed != size_bytes:
                raise CodecError(f"its frame claims {claimed} bytes where the file needs {size_bytes}")
            if size_bytes is None and not 0 <= claimed <= max_bytes:
                raise CodecError(f"its frame claims {claimed} bytes; at most {max_bytes} are read")
            data = self._decompress(stored, claimed)
        except zstandard.ZstdError as exc:
            raise CodecError(f"it does not decompress ({exc})") from exc
        observed = self.name(data)
        if observed != name:
            raise CodecError(f"its content hashes to {observed}")
        return data

    @staticmethod
    def bound(size_bytes: int) -> int:
        """:returns: more than anything takes that *size_bytes* encode to (``ZSTD_COMPRESSBOUND`` and headers)."""
        return size_bytes + size_bytes // 128 + 1024

    def _decompress(self, stored: bytes, size_bytes: int) -> bytes:
        if not hasattr(self._local, "decompressor"):
            self._local.decompressor = zstandard.ZstdDecompressor()
        data: bytes = self._local.decompressor.decompress(
            stored, max_output_size=size_bytes, allow_extra_data=False
        )
        return data
