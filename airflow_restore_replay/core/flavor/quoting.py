"""Quote names and texts for SQL statements that cannot take parameters."""

from __future__ import annotations


def identifier(name: str) -> str:
    """Return *name* quoted as an identifier."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """Return *text* quoted as a string, for servers without NO_BACKSLASH_ESCAPES."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
