"""Count the rows of row events without decoding their values.

A row is a bitmap of NULLs and then the values. How long a value is follows from its column's type and metadata, which
the table map before the row events has; values of variable length begin with their length. Where no column of a table
has variable length, and no row has a NULL, the rows are counted by division.

Source: MySQL source documentation, "Table_map_event" and "Rows_event"; MariaDB documentation, "TABLE_MAP_EVENT" and
"ROWS_EVENT_V1/V2".
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from airflow_restore_replay.core.flavor.changes.window import Short, Window

#: lengths of types without metadata. Source: MySQL source, ``calc_field_size``.
_FIXED = {0: 0, 1: 1, 2: 2, 3: 4, 6: 0, 7: 4, 8: 8, 9: 3, 10: 3, 11: 3, 12: 8, 13: 1, 14: 3}
_FLOAT, _DOUBLE, _BIT, _DECIMAL, _STRING, _ENUM, _SET, _JSON = 4, 5, 16, 246, 254, 247, 248, 245
#: TIMESTAMP, DATETIME and TIME with fractions: length without the fraction
_FRACTIONAL = {17: 4, 18: 5, 19: 3}
#: VARCHAR, VAR_STRING and MariaDB's compressed VARCHAR: the metadata is the largest length
_TEXTS = frozenset({15, 253, 141})
#: BLOB, GEOMETRY, JSON, VECTOR, MariaDB's compressed BLOB: the metadata is the number of bytes of the length
_BLOBS = frozenset({252, 255, 245, 242, 140})
#: bytes of metadata
_METADATA = {
    **dict.fromkeys((_FLOAT, _DOUBLE, *_FRACTIONAL, *_BLOBS), 1),
    **dict.fromkeys((*_TEXTS, _BIT, _DECIMAL, _STRING, _ENUM, _SET), 2),
}
#: bytes of the last digits of a decimal number, by their number; nine digits take four bytes
_DIGITS = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
#: cached layouts of a table, and cached patterns of NULLs of a layout
_MOST_CACHED = 1000

#: what reading bytes that are not what they should be raises
BROKEN = (ValueError, LookupError, struct.error, Short)

#: length of a column's values, or if below zero, the bytes of the length that precedes each value
Width = int


def packed(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at a place, in the protocol's variable length, and the place after it."""
    first = data[at]
    if first < 251:
        return first, at + 1
    size = {252: 2, 253: 3, 254: 8}.get(first)
    if size is None:
        raise ValueError(f"{first} begins no number")
    return int.from_bytes(data[at + 1 : at + 1 + size], "little"), at + 1 + size


class _Part(NamedTuple):
    """The values of a row in which certain columns are NULL.

    :param steps: for each value of variable length, the bytes before it and the bytes of its length.
    :param rest: bytes after the last of these.
    """

    steps: tuple[tuple[int, int], ...]
    rest: int


class Layout:
    """One image of a row: the columns that an event has, as its bitmap says.

    :param partial: the image begins with options, which may say that JSON values are partial.
    """

    def __init__(self, widths: Sequence[Width], present: bytes, *, partial: int | None = None) -> None:
        bits = int.from_bytes(present, "little")
        self._widths = [width for index, width in enumerate(widths) if bits >> index & 1]
        self.null_bytes = (len(self._widths) + 7) // 8
        self._parts: dict[bytes, _Part] = {}
        self.partial = partial
        fixed = partial is None and all(width >= 0 for width in self._widths)
        #: length of a row without NULLs, if all have the same
        self.stride = self.null_bytes + sum(self._widths) if fixed else None
        self.without_nulls = self._part(0)

    def part(self, nulls: bytes) -> _Part:
        """Return how to pass over the values of a row with these NULLs."""
        if (known := self._parts.get(nulls)) is not None:
            return known
        if len(self._parts) > _MOST_CACHED:
            self._parts.clear()
        # The last bits may belong to no column.
        bits = int.from_bytes(nulls, "little") & (1 << len(self._widths)) - 1
        return self._parts.setdefault(nulls, self._part(bits) if bits else self.without_nulls)

    def _part(self, nulls: int) -> _Part:
        steps, gap = [], 0
        for index, width in enumerate(self._widths):
            if nulls >> index & 1:
                continue
            if width < 0:
                steps.append((gap, -width))
                gap = 0
            else:
                gap += width
        return _Part(tuple(steps), gap)


def _after_options(json_columns: int, data: bytes, at: int) -> int:
    """Return the place after the options of an image, and after the bitmap of JSON columns that they announce."""
    options, at = packed(data, at)
    return at + ((json_columns + 7) // 8 if options & 1 else 0)


class RowFormat:
    """One or two images that each row consists of.

    :param images: two of an update, else one.
    """

    def __init__(self, images: Sequence[Layout]) -> None:
        self._images = tuple(images)
        strides = [image.stride for image in images]
        #: length of a row without NULLs, if all have the same; else 0
        self._stride = 0 if None in strides else sum(filter(None, strides))

    def count(self, data: bytes, at: int, end: int) -> int:
        """Return how many rows lie between two places of *data*.

        :raises ValueError, LookupError: the last row does not end there.
        """
        if self._stride and (count := self._by_division(data, at, end)):
            return count
        count = 0
        while at < end:
            for image in self._images:
                if image.partial is not None:
                    at = _after_options(image.partial, data, at)
                start = at
                at += image.null_bytes
                part = image.part(data[start:at])
                for gap, size in part.steps:
                    at += gap
                    if size == 1:
                        at += data[at] + 1
                    else:
                        at += int.from_bytes(data[at : at + size], "little") + size
                at += part.rest
            count += 1
        if at != end:
            raise ValueError(f"the last row ends {at - end} bytes after its event")
        return count

    def _by_division(self, data: bytes, at: int, end: int) -> int:
        """Return the number of rows if all have the same length, else 0."""
        count, rest = divmod(end - at, self._stride)
        if rest:
            return 0
        for image in self._images:
            # Without NULLs in the first row, the second begins where it is looked for, and so on.
            nulls = data[at : at + image.null_bytes]
            if image.part(nulls) is not image.without_nulls:
                return 0
            if count > 1 and any(
                data[at + index : end : self._stride].count(byte) != count for index, byte in enumerate(nulls)
            ):
                return 0
            at += image.stride or 0
        return count

    def count_arriving(self, rows: Window) -> int:
        """Return how many rows *rows* has; values are passed over as they arrive, however large they are.

        :raises ValueError, LookupError: the last row is incomplete.
        """
        count = 0
        while rows.has(1):
            for image in self._images:
                if image.partial is not None:
                    rows.has(9 + image.partial)
                    rows.at = _after_options(image.partial, rows.data, rows.at)
                part = image.part(rows.take(image.null_bytes))
                for gap, size in part.steps:
                    rows.skip(gap)
                    rows.skip(int.from_bytes(rows.take(size), "little"))
                rows.skip(part.rest)
            count += 1
        return count


class TableMap:
    """The table that row events are about, as a table map event describes it.

    :param table: schema and name.
    """

    def __init__(self, body: bytes) -> None:
        """Decode the body of the event, without its table id.

        :raises ValueError, LookupError: it is no such body.
        """
        length, at = packed(body, 2)
        schema = body[at : at + length]
        length, at = packed(body, at + length + 1)
        name = body[at : at + length]
        self.table = (schema.decode("utf-8", "replace"), name.decode("utf-8", "replace"))
        count, at = packed(body, at + length + 1)
        types = body[at : at + count]
        size, at = packed(body, at + count)
        self._json_columns = types.count(_JSON)
        self._widths = _widths(types, body[at : at + size])
        self._formats: dict[bytes, RowFormat] = {}
        self._partial_formats: dict[bytes, RowFormat] = {}

    def row_format(self, bitmaps: bytes, *, images: int, partial: bool) -> RowFormat | None:
        """Return how each row is laid out, or None if the length of rows cannot be known.

        :param bitmaps: of the columns that the images have, one after the other.
        :param images: two for an update, else one.
        """
        formats = self._partial_formats if partial else self._formats
        if (known := formats.get(bitmaps)) is not None:
            return known
        if self._widths is None:
            return None
        if len(formats) > _MOST_CACHED:
            formats.clear()
        size = len(bitmaps) // images
        found = []
        for index in range(images):
            json = self._json_columns if partial and index else None
            found.append(Layout(self._widths, bitmaps[index * size : (index + 1) * size], partial=json))
        if not any(layout.null_bytes for layout in found):
            return None  # MINIMAL row images that have no column at all
        return formats.setdefault(bitmaps, RowFormat(found))


def _widths(types: bytes, metadata: bytes) -> list[Width] | None:
    """Return the widths of all columns, or None if a type is not known."""
    widths, at = [], 0
    for kind in types:
        size = _METADATA.get(kind, 0)
        width = _width(kind, metadata[at : at + size])
        if width is None:
            return None
        widths.append(width)
        at += size
    return widths


def _width(kind: int, meta: bytes) -> Width | None:
    if kind in _FIXED:
        return _FIXED[kind]
    if kind in (_FLOAT, _DOUBLE):
        return meta[0]
    if kind in _FRACTIONAL:
        return _FRACTIONAL[kind] + (meta[0] + 1) // 2
    if kind in _TEXTS:
        return -1 if int.from_bytes(meta, "little") < 256 else -2
    if kind in _BLOBS:
        return -meta[0]
    if kind == _BIT:
        return meta[1] + (meta[0] > 0)
    if kind == _DECIMAL:
        return _decimal(meta[0], meta[1])
    return _string(meta[0], meta[1]) if kind in (_STRING, _ENUM, _SET) else None


def _decimal(precision: int, scale: int) -> int:
    whole = precision - scale
    return whole // 9 * 4 + _DIGITS[whole % 9] + scale // 9 * 4 + _DIGITS[scale % 9]


def _string(first: int, second: int) -> Width:
    """Return the width of CHAR, BINARY, ENUM or SET; of lengths above 255, two bits are in the type's byte."""
    length = second
    if first & 0x30 != 0x30:
        length |= ((first & 0x30) ^ 0x30) << 4
        first |= 0x30
    if first in (_ENUM, _SET):
        return second
    return -1 if length < 256 else -2
