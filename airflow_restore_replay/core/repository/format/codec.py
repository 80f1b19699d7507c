"""Encoding of contents as stored bytes: names, compression, encryption. Only this module knows it.

A content's name is its BLAKE3. It is stored as one zstd frame that states its size and has a checksum. With a key, the
name is a keyed hash, and the frame is encrypted with AES-256-GCM and bound to that name. Each encryption has a key of
its own, derived by a random salt, so that no number of encryptions is too high for a key.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TypeAlias

import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from airflow_restore_replay.core.repository.format.keyring import Key

NONCE_BYTES = 12
_TAG_BYTES = 16
#: begins what is encrypted as in format 2; in format 1 a random nonce is there
_MARK = b"RRE2"
_SALT_BYTES = 24
_OVERHEAD_BYTES = len(_MARK) + _SALT_BYTES + _TAG_BYTES
#: a key that is used once needs no other nonce
_NO_NONCE = bytes(NONCE_BYTES)
#: zstd block type of one repeated byte
_RLE_BLOCK = 1


#: types of a content in memory; every function that takes contents accepts all of them
Content: TypeAlias = bytes | bytearray | memoryview


class CodecError(Exception):
    """Stored bytes that do not decode to the expected content; the text, a clause, says what was observed."""


class Codec:
    """Names, encodes and decodes contents; may be shared by threads.

    :param level: zstd level.
    :param key: key for names and encryption; without one, contents are only compressed.
    """

    def __init__(self, level: int = 1, key: Key | None = None) -> None:
        self._level = level
        self._key = key
        # zstd contexts are not documented as thread-safe, so each thread has its own.
        self._local = threading.local()

    @property
    def key_id(self) -> str:
        """Return the id of the key; empty without one."""
        return self._key.key_id if self._key else ""

    def name(self, data: Content) -> str:
        """Return the name of a content, 64 hex digits; the same content has a different name under each key."""
        return (blake3(data, key=self._key.names) if self._key else blake3(data)).hexdigest()

    def encode(self, data: Content, name: str) -> bytes:
        """Compress and, with a key, encrypt a content.

        :param name: name of *data*; :meth:`decode` needs the same.
        :returns: at most ``bound(len(data))`` bytes; with a key, they differ each time.
        """
        if not self._key:
            return self._compressed(data)
        salt = os.urandom(_SALT_BYTES)
        sealed = _cipher_of(self._key, salt).encrypt(_NO_NONCE, self._compressed(data), name.encode("ascii"))
        return b"".join((_MARK, salt, sealed))

    def _compressed(self, data: Content) -> bytes:
        if not hasattr(self._local, "compressor"):
            self._local.compressor = zstandard.ZstdCompressor(level=self._level, write_checksum=True)
        compressed: bytes = self._local.compressor.compress(data)
        return compressed

    def decode(self, stored: bytes, name: str, *, size_bytes: int) -> memoryview:
        """Decode and hash a content whose size is known.

        :returns: the content in a buffer of this thread, valid until the thread decodes the next one. Fresh memory for
            each content would cost several times as much as the decoding.
        :raises CodecError: it does not decode, or its hash is not *name*.
        """
        frame = self._decrypted(stored, name, self._key) if self._key else stored
        if (claimed := _claimed(frame)) != size_bytes:
            raise CodecError(f"its frame claims {claimed} bytes where the file needs {size_bytes}")
        data = self._decompress(frame, size_bytes)
        self._check(data, name)
        return data

    def decode_up_to(self, stored: bytes, name: str, *, max_bytes: int) -> bytes:
        """Decode and hash a content of unknown size like :meth:`decode`, into memory that the caller owns."""
        frame = self._decrypted(stored, name, self._key) if self._key else stored
        # The decoder allocates the size that the frame claims, whatever limit it is given.
        claimed = _claimed(frame)
        if not 0 <= claimed <= max_bytes:
            raise CodecError(f"its frame claims {claimed} bytes; at most {max_bytes} are read")
        data = bytes(self._decompress(frame, claimed))
        self._check(data, name)
        return data

    def _check(self, data: Content, name: str) -> None:
        observed = self.name(data)
        if observed != name:
            raise CodecError(f"its content hashes to {observed}")

    def bound(self, size_bytes: int) -> int:
        """Return an upper bound of the encoded size of *size_bytes* (``ZSTD_COMPRESSBOUND`` and headers)."""
        return size_bytes + size_bytes // 128 + 1024 + (_OVERHEAD_BYTES if self._key else 0)

    def _decrypted(self, stored: bytes, name: str, key: Key) -> bytes:
        if len(stored) < NONCE_BYTES + _TAG_BYTES:
            raise CodecError(f"it has {len(stored)} bytes, fewer than anything encrypted")
        parts, about = memoryview(stored), name.encode("ascii")
        begin = len(_MARK) + _SALT_BYTES
        if stored.startswith(_MARK) and len(stored) >= _OVERHEAD_BYTES:
            with contextlib.suppress(InvalidTag):
                return _cipher_of(key, parts[len(_MARK) : begin]).decrypt(_NO_NONCE, parts[begin:], about)
        try:
            return AESGCM(key.data).decrypt(parts[:NONCE_BYTES], parts[NONCE_BYTES:], about)
        except InvalidTag:
            raise CodecError(f"it is not what was encrypted under that name with key {key.key_id}") from None

    def _decompress(self, frame: bytes, size_bytes: int) -> memoryview:
        local = self._local
        if not hasattr(local, "decompressor"):
            local.decompressor, local.room = zstandard.ZstdDecompressor(), bytearray()
        if len(local.room) < size_bytes:
            local.room = bytearray(size_bytes)
        data = memoryview(local.room)[:size_bytes]
        # The stream reader does not report a truncated frame. It verifies the checksum of a complete one.
        if (ends := _frame_end(frame)) != len(frame):
            raise CodecError(f"its frame needs {ends} bytes and the object has {len(frame)}")
        try:
            with local.decompressor.stream_reader(frame) as reader:
                decoded = reader.readinto(data)
        except zstandard.ZstdError as exc:
            raise CodecError(f"it does not decompress ({exc})") from exc
        if decoded != size_bytes:
            raise CodecError(f"it decompresses to {decoded} bytes, not {size_bytes}")
        return data


def _cipher_of(key: Key, salt: bytes | memoryview) -> AESGCM:
    return AESGCM(blake3(salt, key=key.contents).digest())


def _claimed(frame: bytes) -> int:
    """Return the content size that a frame states; -1 if it states none."""
    try:
        return int(zstandard.frame_content_size(frame))
    except zstandard.ZstdError as exc:
        raise CodecError(f"it does not decompress ({exc})") from exc


def _frame_end(frame: bytes) -> int:
    """Return the length of a frame in bytes, by its block headers; larger than the data if the frame is truncated.

    Source: RFC 8878, 3.1.1 (frames) and 3.1.1.2 (blocks).
    """
    try:
        at = zstandard.frame_header_size(frame)
        checksum = 4 * zstandard.get_frame_parameters(frame).has_checksum
    except zstandard.ZstdError as exc:
        raise CodecError(f"it does not decompress ({exc})") from exc
    last = False
    while not last:
        header = int.from_bytes(frame[at : at + 3], "little")
        last = bool(header & 1) or at >= len(frame)
        at += 3 + (1 if header >> 1 & 3 == _RLE_BLOCK else header >> 3)
    return int(at + checksum)
