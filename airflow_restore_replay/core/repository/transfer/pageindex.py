"""The page index: keyed hashes of the pages that a restore wrote, kept on the node to find changed pages.

It is one file: a random key, then a row of fixed size for each chunk of the backup, in the order of its file list. A
row has 8 bytes for each page, and a check that binds it to the content it was made from. A row with a wrong check is
ignored.

The hash of a page is the first part of its GMAC under one nonce, which makes it GHASH under a secret key. Two different
pages have the same hash with a probability of at most 2^-53, whoever wrote them (McGrew and Viega, "The Galois/Counter
Mode of Operation", 2004, section 5). Hashes and key are only visible together, so the nonce can stay the same. It costs
half as much as BLAKE3 for so few bytes. If a collision ever hides a changed page, the next restore detects it, because
the chunk's name is the hash of the whole chunk.
"""

from __future__ import annotations

import os
import secrets
from functools import cached_property
from pathlib import Path

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from airflow_restore_replay.core.repository.format.codec import Content
from airflow_restore_replay.core.repository.format.refs import PAGE_BYTES, page_count

_KEY_BYTES = 32
_HASH_BYTES = 8
_NONCE = bytes(12)


class PageIndex:
    """The page index of a node; may be shared by threads.

    :param path: path of the file.
    :param chunk_size_bytes: chunk size of the backup.
    """

    def __init__(self, path: Path, chunk_size_bytes: int, key: bytes, descriptor: int) -> None:
        self.path = path
        self._pages = page_count(chunk_size_bytes)
        self._row_bytes = (self._pages + 1) * _HASH_BYTES
        self._key = key
        self._descriptor = descriptor

    @classmethod
    def create(cls, path: Path, chunk_size_bytes: int) -> PageIndex:
        """Create an empty index, and replace an existing one."""
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        key = secrets.token_bytes(_KEY_BYTES)
        os.pwrite(descriptor, key, 0)
        return cls(path, chunk_size_bytes, key, descriptor)

    @classmethod
    def open(cls, path: Path, chunk_size_bytes: int) -> PageIndex | None:
        """Open an existing index; return None if there is none."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        key = os.pread(descriptor, _KEY_BYTES, 0)
        if len(key) != _KEY_BYTES:
            os.close(descriptor)
            return None
        return cls(path, chunk_size_bytes, key, descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    @cached_property
    def _gcm(self) -> AESGCM:
        # Created on first use: a snapshot that finds no changed chunk does not load OpenSSL from the disk.
        return AESGCM(self._key)

    def hashes(self, data: Content) -> list[bytes]:
        """Return a keyed hash of 8 bytes for each page of *data*."""
        view, tag = memoryview(data), self._gcm.encrypt
        return [
            tag(_NONCE, b"", view[begin : begin + PAGE_BYTES])[:_HASH_BYTES]
            for begin in range(0, len(data), PAGE_BYTES)
        ]

    def record(self, row: int, name: str, data: Content) -> None:
        """Store the page hashes of *data*, the content *name*, as chunk number *row*."""
        hashes = b"".join(self.hashes(data))
        os.pwrite(self._descriptor, self._check(hashes, name) + hashes, self._offset(row))

    def changed(self, row: int, name: str, data: Content) -> set[int] | None:
        """Return numbers of the pages of *data* that differ from the content of chunk *row*; None if that is not known.

        :param name: name of the content that chunk *row* was made from, which is as large as *data*.
        """
        pages = page_count(len(data))
        stored = os.pread(self._descriptor, (pages + 1) * _HASH_BYTES, self._offset(row))
        check, hashes = stored[:_HASH_BYTES], stored[_HASH_BYTES:]
        if len(hashes) != pages * _HASH_BYTES or check != self._check(hashes, name):
            return None
        now = self.hashes(data)
        return {
            page
            for page in range(pages)
            if hashes[page * _HASH_BYTES : (page + 1) * _HASH_BYTES] != now[page]
        }

    def _check(self, hashes: bytes, name: str) -> bytes:
        digest: bytes = blake3(hashes + name.encode("ascii"), key=self._key).digest(_HASH_BYTES)
        return digest

    def _offset(self, row: int) -> int:
        return _KEY_BYTES + row * self._row_bytes
