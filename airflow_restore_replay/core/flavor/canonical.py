"""Convert columns to bytes that are equal exactly for equal values."""

from __future__ import annotations

from collections.abc import Container


def canonical_text(column_type: str, expression: str, *, as_hex: Container[str] = ()) -> str:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.canonical_text`.

    The bytes are unambiguous per column only: a caller that joins columns adds lengths and NULL marks.
    The session's time zone must be the same on both sides; :func:`connect` sets UTC.

    :param column_type: ``COLUMN_TYPE`` of information_schema, for example ``float unsigned``.
    :param expression: the quoted column.
    :param as_hex: base types that the server converts to no other text.
    """
    base = column_type.lower().split("(")[0].split()[0]
    if base == "float":
        # As text, a FLOAT has six digits only; as DOUBLE it is exact.
        return f"CONVERT(CAST({expression} AS DOUBLE) USING binary)"
    if base in ("bit", "enum", "set"):
        # Compare the stored number, because an ENUM's invalid value 0 and its label '' are the same text.
        return f"CONVERT(CAST({expression} AS UNSIGNED) USING binary)"
    if base in as_hex:
        return f"HEX({expression})"
    # Strings become their own bytes, without conversion; numbers, dates, JSON, UUID and INET become their exact text.
    return f"CONVERT({expression} USING binary)"
