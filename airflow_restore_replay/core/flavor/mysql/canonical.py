"""Convert columns to bytes that are equal exactly for equal values."""

from __future__ import annotations

from airflow_restore_replay.core.flavor import canonical

_HEX = frozenset(
    ("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon")
) | {"geomcollection", "geometrycollection", "vector"}


def canonical_text(column_type: str, expression: str) -> str:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.canonical_text`."""
    return canonical.canonical_text(column_type, expression, as_hex=_HEX)


def row_digest(expression: str) -> str:
    """Return SQL for a digest of 128 bits in hexadecimal; not MD5, which 9.6 moved into a component."""
    return f"LEFT(SHA2({expression}, 256), 32)"
