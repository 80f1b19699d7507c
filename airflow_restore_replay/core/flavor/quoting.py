"""Quote names and texts for SQL statements that cannot take parameters."""

from __future__ import annotations

import re

_QUOTED = re.compile(r"(`(?:[^`]|``)+`)\.(`(?:[^`]|``)+`)")
_SPELLED = re.compile(r"(`(?:[^`]|``)+`|[^.`]+)\.(`(?:[^`]|``)+`|[^`].*)", re.DOTALL)
#: the prefix that servers show of a directory whose name is not that of a schema, for example lost+found
NO_SCHEMA = "#mysql50#"


def identifier(name: str) -> str:
    """Return *name* quoted as an identifier."""
    return "`" + name.replace("`", "``") + "`"


def qualified(schema: str, name: str) -> str:
    """Return *schema* and *name*, each quoted as an identifier, joined by a point."""
    return f"{identifier(schema)}.{identifier(name)}"


def literal(text: str) -> str:
    """Return *text* quoted as a string, for servers without NO_BACKSLASH_ESCAPES."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def unquoted(quoted: str) -> str:
    """Return the name that :func:`identifier` quoted."""
    return quoted[1:-1].replace("``", "`")


def joined(schema: str, name: str) -> str:
    """Return ``schema.name``, quoted where the point alone would not say where the schema ends."""
    if any(mark in part for part in (schema, name) for mark in ".`"):
        return qualified(schema, name)
    return f"{schema}.{name}"


def parted(text: str) -> tuple[str, str]:
    """Return schema and name of what :func:`joined` returned."""
    if match := _QUOTED.fullmatch(text):
        return unquoted(match[1]), unquoted(match[2])
    schema, _, name = text.partition(".")
    return schema, name


def spelled(text: str) -> tuple[str, str]:
    """Return schema and name of what a person wrote: each part may be quoted or not; empty parts if there is none."""
    match = _SPELLED.fullmatch(text)
    if not match:
        return "", ""
    schema, name = (unquoted(part) if part.startswith("`") else part for part in match.groups())
    return schema, name
