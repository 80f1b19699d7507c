"""The YAML files of a configuration: one, or all of a directory; and the lines of their keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from airflow_restore_replay.core.errors import ConfigInvalid

_SUFFIXES = (".yaml", ".yml")
_MERGE, _STRING = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:str"

#: PyYAML's loader in C, where available, is ten times as fast, and every task reads the file
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_LOADER):  # type: ignore[misc]
    """Loader whose keys are all text, as ``on`` or ``2024`` are meant, and that notices repeated keys."""

    repeated = False

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = []
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                key.tag = _STRING
                keys.append(key.value)
        if len(set(keys)) < len(keys):
            self.repeated = True
        return super().construct_mapping(node, deep)


class YamlFile:
    """One parsed file.

    :param path: as it is shown to people.
    :param raw: its content.
    :param repeated: whether a mapping has a key twice.
    """

    def __init__(self, path: str, raw: Any, text: str = "", *, repeated: bool = False) -> None:
        self.path = path
        self.raw = raw
        self.repeated = repeated
        self._text = text

    def section(self, name: str) -> Any:
        """Return the value of a key of the whole file; None without it."""
        return self.raw.get(name) if isinstance(self.raw, dict) else None

    def line(self, keys: Sequence[str]) -> int | None:
        """Return the line of a key, or of the nearest one around it."""
        node, line = self._root, None
        for key in keys:
            found = next((pair for pair in _pairs(node) if pair[0].value == key), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        return line

    def repetitions(self) -> list[tuple[tuple[str, ...], int, int]]:
        """Return the path of each repeated key, and two of its lines."""
        return list(_repetitions(self._root, (), frozenset())) if self.repeated else []

    @cached_property
    def _root(self) -> Any:
        return yaml.compose(self._text, _LOADER) if self._text else None


def read_yaml_file(path: Path) -> YamlFile:
    """Read one file.

    :raises ConfigInvalid: it is not readable, or no YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        loader = _Loader(text)
        try:
            raw = loader.get_single_data()
        finally:
            loader.dispose()
    except OSError as exc:
        raise ConfigInvalid(f"Cannot read the cluster file {path}: {exc.strerror}.") from exc
    # Of a date that no calendar has, PyYAML raises ValueError.
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise ConfigInvalid(f"{path} is not YAML: {exc}") from exc
    return YamlFile(str(path), raw, text, repeated=loader.repeated)


def yaml_paths(directory: Path) -> list[Path]:
    """Return the YAML files of a directory, sorted; hidden files do not count.

    :raises ConfigInvalid: there is none, or the directory is not readable.
    """
    try:
        found = sorted(p for p in directory.iterdir() if p.suffix in _SUFFIXES and not p.name.startswith("."))
    except OSError as exc:
        raise ConfigInvalid(f"Cannot read the directory {directory}: {exc.strerror}.") from exc
    if not found:
        raise ConfigInvalid(f"The directory {directory} has no *.yaml file.")
    return found


def _pairs(node: Any) -> list[tuple[Any, Any]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


def _repetitions(
    node: Any, keys: tuple[str, ...], above: frozenset[int]
) -> Iterator[tuple[tuple[str, ...], int, int]]:
    if id(node) in above:  # an alias to what it is in
        return
    lines: dict[str, int] = {}
    for key, value in _pairs(node):
        if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
            continue
        line = key.start_mark.line + 1
        if key.value in lines:
            yield (*keys, key.value), lines[key.value], line
        lines[key.value] = line
        yield from _repetitions(value, (*keys, key.value), above | {id(node)})
