"""Readable errors about a cluster file, which name the key."""

from __future__ import annotations

import re
import types
import typing
from dataclasses import dataclass
from typing import Any

import msgspec

_INDEX = re.compile(r"\[[^\]]*\]$")
_SUBSCRIPT = re.compile(r"\[(?:\.\.\.|\d+)\]")
_AT = re.compile(r" - at `\$(?P<path>.*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>[^`]*)`")


@dataclass(frozen=True)
class _Kinds:
    file: type
    cluster: type

    def section(self, path: str) -> type | None:
        """Return the configuration class that *path* (``clusters[...].node``) leads to."""
        kind: Any = self.file
        for part in filter(None, _SUBSCRIPT.sub(".[]", path).split(".")):
            if part == "[]":
                kind = self.cluster if kind is self.file else _element(kind)
            elif kind is not self.file and isinstance(kind, type):
                kind = _struct_in(typing.get_type_hints(kind, include_extras=False).get(part))
        return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None

    def choices(self, path: str) -> list[str]:
        """Return the allowed values of the key at *path*, if its type is an enumeration."""
        head, _, key = _INDEX.sub("", path.lstrip(".")).rpartition(".")
        section = self.section(head)
        hint = typing.get_type_hints(section).get(key) if section else None
        if typing.get_origin(hint) is tuple:
            hint = typing.get_args(hint)[0]
        literals = [arg for arg in typing.get_args(hint) if typing.get_origin(arg) is typing.Literal]
        return [str(value) for value in typing.get_args(literals[0] if literals else hint)]


def explain(exc: msgspec.ValidationError, raw: Any, file: type, cluster: type) -> str:
    """Return msgspec's message, extended by the key and what is allowed there.

    :param raw: the parsed file.
    :param file: the class of the whole file.
    :param cluster: the class of one cluster.
    """
    kinds = _Kinds(file, cluster)
    text = str(exc)
    at = _AT.search(text)
    path = (at["path"] if at else "").lstrip(".")
    problem = _AT.sub("", text)
    unknown = _UNKNOWN.match(problem)
    section = kinds.section(path)
    path = _with_cluster_name(path, raw)
    if unknown and section:
        allowed = ", ".join(f.name for f in msgspec.structs.fields(section) if f.name != "name")
        return f"unknown key {'.'.join(filter(None, (path, unknown['key'])))}; allowed here: {allowed}."
    if problem.startswith("Invalid enum value"):
        problem += f"; allowed: {', '.join(kinds.choices(at['path'] if at else ''))}"
    return f"{path or 'the file'}: {problem}."


def _element(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is list else None


def _struct_in(hint: Any) -> Any:
    if isinstance(hint, types.UnionType):
        return next((_struct_in(arg) for arg in typing.get_args(hint) if arg is not type(None)), None)
    return hint


def _with_cluster_name(path: str, raw: Any) -> str:
    """Put the cluster's name in place of ``[...]``, which msgspec writes for mapping keys, if there is one cluster."""
    clusters = raw.get("clusters") if isinstance(raw, dict) else None
    if isinstance(clusters, dict) and len(clusters) == 1:
        return path.replace("[...]", f".{next(iter(clusters))}", 1)
    return path
