"""All mistakes in a section of the cluster file, each with the path of its key and what is allowed there."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from airflow_restore_replay.core.config.strict import Strict
from airflow_restore_replay.core.decoding import convert

_AT = re.compile(r" - at `\$(?P<path>.*)`$")
Keys = tuple[str, ...]


@dataclass(frozen=True)
class Mistake:
    """One mistake in the cluster file.

    :param path: the key, as in ``clusters.bb.retention.dayly``.
    :param text: a sentence that names the path, and what is allowed there.
    :param hint: the nearest known key or name.
    :param clusters: the clusters that it stops.
    :param file, line: where it is, as far as that is known.
    """

    path: str
    text: str
    hint: str = ""
    clusters: tuple[str, ...] = ()
    file: str = ""
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"

    @property
    def where(self) -> str:
        """Return file and line."""
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class Wrong:
    """A mistake in a section, before it is known which file and cluster it is in.

    :param keys: the way to it, within the section.
    :param problem: with ``{path}`` for the whole path.
    :param nearest: the known key that may be meant.
    """

    keys: Keys
    problem: str
    nearest: str = ""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that *name* resembles; empty if it resembles none."""
    return next(iter(difflib.get_close_matches(str(name), sorted(known), 1)), "")


@cache
def keys_of(kind: type[Strict]) -> dict[str, msgspec.structs.FieldInfo]:
    """Return the keys that a section has in a file; the name of a cluster or group is the key of its section."""
    return {f.encode_name: f for f in msgspec.structs.fields(kind) if f.required or f.encode_name != "name"}


def wrong_in(raw: Any, kind: type[Strict], keys: Keys = ()) -> list[Wrong]:
    """Return all that keeps *raw* from being a section of that *kind*.

    What several keys are wrong together is only found where each of them is right alone.
    """
    found = list(_wrong_keys(raw, kind, keys)) if isinstance(raw, dict) else []
    return found or list(_wrong_value(raw, kind, keys))


def _wrong_keys(raw: dict[Any, Any], kind: type[Strict], keys: Keys) -> Iterator[Wrong]:
    fields = keys_of(kind)
    for key in raw:
        if key not in fields:
            allowed = ", ".join(fields)
            close = nearest(key, fields)
            yield Wrong((*keys, str(key)), f"unknown key {{path}}; allowed here: {allowed}", close)
    for name, field in fields.items():
        if name in raw:
            yield from _wrong_field(raw[name], field.type, (*keys, name))
        elif field.required:
            yield Wrong(keys, f"{{path}}: missing required field `{name}`")


def _wrong_field(value: Any, hint: Any, keys: Keys) -> Iterator[Wrong]:
    section = _section_of(hint)
    if section and isinstance(value, dict):
        yield from wrong_in(value, section, keys)
    elif section and isinstance(value, list) and typing.get_origin(hint) is list:
        for number, item in enumerate(value):
            yield from wrong_in(item, section, (*keys[:-1], f"{keys[-1]}[{number}]"))
    else:
        yield from _wrong_value(value, hint, keys)


def _wrong_value(raw: Any, kind: Any, keys: Keys) -> Iterator[Wrong]:
    try:
        convert(raw, kind)
    except msgspec.ValidationError as exc:
        text = str(exc)
        at = _AT.search(text)
        problem = _AT.sub("", text)
        within = at["path"] if at else ""
        if problem.startswith("Invalid enum value"):
            problem += f"; allowed: {', '.join(_choices(kind))}"
        yield Wrong(keys, f"{{path}}{within}: {problem}")


def _section_of(hint: Any) -> type[Strict] | None:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) in (typing.Union, list):
        return next(filter(None, map(_section_of, typing.get_args(hint))), None)
    return hint if isinstance(hint, type) and issubclass(hint, Strict) else None


def _choices(hint: Any) -> Sequence[str]:
    """Return the allowed values of an enumeration, or of the members of a list or an optional value."""
    if typing.get_origin(hint) is typing.Literal:
        return [str(value) for value in typing.get_args(hint)]
    return [choice for arg in typing.get_args(hint) for choice in _choices(arg)]
