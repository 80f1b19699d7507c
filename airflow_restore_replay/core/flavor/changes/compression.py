"""Decompress what servers compress in their binary logs, a bounded part at a time.

Source: MySQL source documentation, "Transaction_payload_event"; MariaDB source, ``binlog_buf_uncompress``.
"""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterator
from typing import IO, cast

import zstandard

from airflow_restore_replay.core.flavor.changes.rows import packed
from airflow_restore_replay.core.flavor.changes.window import Window

_PART_BYTES = 2**20
#: fields of a payload event, and kinds of compression
_END, _COMPRESSION = 0, 2
_ZSTD, _NONE = 0, 255
_HEAD_BYTES = 256
#: of the window that a frame may ask for; servers use 8 MiB at most
_MOST_WINDOW_BYTES = 2**27

ERRORS = (zlib.error, zstandard.ZstdError)


def payload(event: Window) -> Iterator[bytes]:
    """Return the events in a transaction payload event of MySQL, as they are decompressed.

    :param event: its body.
    :raises ValueError: the compression is not known.
    """
    event.has(_HEAD_BYTES)
    compression = _ZSTD
    while True:
        field, event.at = packed(event.data, event.at)
        if field == _END:
            break
        size, event.at = packed(event.data, event.at)
        if field == _COMPRESSION:
            compression, _ = packed(event.data, event.at)
        event.at += size
    if compression == _NONE:
        return event.rest()
    if compression != _ZSTD:
        raise ValueError(f"compression {compression} is not known")
    return _zstd(event)


def _zstd(source: Window) -> Generator[bytes, None, None]:
    decoder = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW_BYTES)
    # Of a file, only read() is used.
    with decoder.stream_reader(cast(IO[bytes], source), read_across_frames=True) as stream:
        while part := stream.read(_PART_BYTES):
            yield part


def mariadb(source: Window) -> Generator[bytes, None, None]:
    """Yield what MariaDB compressed, as it is decompressed: a header, then a stream of zlib.

    :raises ValueError: it is cut off.
    """
    (first,) = source.take(1)
    source.skip(first & 7)  # the length
    decoder = zlib.decompressobj()
    for arrived in source.rest():
        rest = arrived
        while rest:
            yield decoder.decompress(rest, _PART_BYTES)
            rest = decoder.unconsumed_tail
    if not decoder.eof:
        raise ValueError("compressed data is cut off")
