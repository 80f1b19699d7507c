"""Read a configuration: one YAML file, or a directory of them, with ``defaults``, ``clusters`` and ``groups``.

A default holds for each cluster that does not have the key itself. Mappings are merged key by key; a list or any other
value of the cluster, ``null`` included, takes the place of the default's. In a directory, ``defaults.yaml`` has them.
"""

from __future__ import annotations

import re
import zoneinfo
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from airflow_restore_replay.core.config.cluster_section import CLUSTER_NAME, Cluster, Group
from airflow_restore_replay.core.config.fleet import CLUSTERS, DEFAULTS, GROUPS, Fleet
from airflow_restore_replay.core.config.mistakes import Keys, Mistake, Wrong, nearest, wrong_in
from airflow_restore_replay.core.config.yaml_files import YamlFile, read_yaml_file, yaml_paths
from airflow_restore_replay.core.decoding import convert
from airflow_restore_replay.core.errors import ConfigInvalid

_TOP = (CLUSTERS, DEFAULTS, GROUPS)
#: names of the file of a directory that may have defaults
DEFAULTS_FILES = ("defaults.yaml", "defaults.yml")


def load_fleet(path: str | Path) -> Fleet:
    """Read a cluster file, or all of a directory.

    :raises ConfigInvalid: there is nothing to read, or the only file is no YAML.
    """
    path = Path(path)
    if not path.is_dir():
        return _Assembly(str(path), [read_yaml_file(path)]).fleet()
    files, unreadable = [], []
    for found in yaml_paths(path):
        try:
            files.append(read_yaml_file(found))
        except ConfigInvalid as exc:
            unreadable.append(Mistake("", exc.message, file=str(found)))
    return _Assembly(str(path), files, unreadable, directory=True).fleet()


def parse_fleet(raw: Any, source: str) -> Fleet:
    """Check the parsed content of a cluster file."""
    return _Assembly(source, [YamlFile(source, raw)]).fleet()


def merged(default: Any, own: Any) -> Any:
    """Return a cluster's value, completed by the default's where both are mappings."""
    if not isinstance(default, Mapping) or not isinstance(own, Mapping):
        return own
    return {
        **default,
        **{key: merged(default[key], value) if key in default else value for key, value in own.items()},
    }


class _Assembly:
    """Puts together what the files of a configuration describe."""

    def __init__(
        self,
        source: str,
        files: list[YamlFile],
        unreadable: Sequence[Mistake] = (),
        *,
        directory: bool = False,
    ) -> None:
        self.source = source
        self.files = files
        self.directory = directory
        self.mistakes: list[Mistake] = list(unreadable)
        self.defaults: tuple[YamlFile, Any] | None = None

    def fleet(self) -> Fleet:
        for file in self.files:
            self._check_top(file)
        sections = self._sections(CLUSTERS)
        self._find_defaults(sections)
        clusters = {}
        for name, (file, section) in sections.items():
            if not self._stopped(name) and (cluster := self._cluster(file, name, section)):
                clusters[name] = cluster
        clusters = self._without_shared_repositories(clusters, sections)
        groups = self._groups({*sections, *(n for m in self.mistakes for n in m.clusters)})
        return Fleet(self.source, clusters, groups, tuple(_united(self.mistakes)))

    def _note(self, file: YamlFile, keys: Keys, wrong: Wrong, clusters: Sequence[str] = ()) -> None:
        path = ".".join((*keys, *wrong.keys))
        text = wrong.problem.replace("{path}", path or "the file", 1).rstrip(".") + "."
        line = file.line((*keys, *wrong.keys))
        parent = path.rpartition(".")[0]
        close = ".".join(filter(None, (parent, wrong.nearest))) if wrong.nearest else ""
        hint = f"Did you mean {close}?" if close else ""
        self.mistakes.append(Mistake(path, text, hint, tuple(clusters), file.path, line))

    def _check_top(self, file: YamlFile) -> None:
        raw = file.raw
        if raw is None and self.directory:
            return None
        if not isinstance(raw, dict):
            kind = "null" if raw is None else type(raw).__name__
            return self._note(file, (), Wrong((), f"{{path}}: expected a mapping of {CLUSTERS}, got {kind}"))
        for key in raw:
            if key not in _TOP:
                problem = f"unknown key {{path}}; allowed here: {', '.join(_TOP)}"
                close = nearest(key, _TOP)
                meant = close == DEFAULTS or (self.directory and Path(file.path).name in DEFAULTS_FILES)
                stops = self._affected(file, (DEFAULTS,)) if meant else []
                self._note(file, (), Wrong((str(key),), problem, close), stops)
        if CLUSTERS not in raw and not self.directory:
            self._note(file, (), Wrong((CLUSTERS,), "{path} is missing"))
        for keys, first, second in file.repetitions():
            problem = f"{{path}} is there twice, in the lines {first} and {second}"
            self._note(file, (), Wrong(keys, problem), self._affected(file, keys))
        return None

    def _affected(self, file: YamlFile, keys: Keys) -> list[str]:
        """Return the clusters that an ambiguous key stops."""
        if keys[0] == CLUSTERS and len(keys) > 1:
            return [keys[1]]
        everywhere = self.files if keys[0] == DEFAULTS else [file] if keys[0] == CLUSTERS else []
        return [name for each in everywhere for name in _names(each.section(CLUSTERS))]

    def _sections(self, top: str) -> dict[str, tuple[YamlFile, Any]]:
        """Return the sections below ``clusters`` or ``groups`` of all files, by name."""
        found: dict[str, list[YamlFile]] = defaultdict(list)
        for file in self.files:
            value = file.section(top)
            if value is not None and not isinstance(value, dict):
                self._note(
                    file, (top,), Wrong((), f"{{path}}: expected a mapping, got {type(value).__name__}")
                )
            for name in _names(value):
                found[name].append(file)
        for name, files in found.items():
            stops = [name] if top == CLUSTERS else []
            if len(files) > 1:
                where = " and ".join(file.path for file in files)
                self._note(files[0], (top, name), Wrong((), f"{{path}} is in {where}"), stops)
            if not re.fullmatch(CLUSTER_NAME, name):
                allowed = "1 to 63 letters, digits, '_', '.', '-', the first a letter or digit"
                self._note(
                    files[0], (top, name), Wrong((), f"{{path}} is no name; allowed: {allowed}"), stops
                )
        return {name: (files[0], files[0].section(top)[name]) for name, files in found.items()}

    def _find_defaults(self, sections: Mapping[str, tuple[YamlFile, Any]]) -> None:
        """Find the defaults; if it is not clear what they are, no cluster that may need them goes on."""
        for broken in [m for m in self.mistakes if Path(m.file).name in DEFAULTS_FILES and not m.path]:
            self.mistakes.remove(broken)
            self.mistakes.append(replace(broken, clusters=tuple(sections)))
        given = [file for file in self.files if file.section(DEFAULTS) is not None]
        for file in given:
            if self.directory and Path(file.path).name not in DEFAULTS_FILES:
                problem = f"{{path}}: of a directory, only {DEFAULTS_FILES[0]} has defaults"
                stopped = [name for name, (where, _) in sections.items() if where is file]
                self._note(file, (DEFAULTS,), Wrong((), problem), stopped)
            elif self.defaults is not None:
                problem = f"{{path}} is in {self.defaults[0].path} and {file.path}"
                self._note(file, (DEFAULTS,), Wrong((), problem), list(sections))
            elif not isinstance(value := file.section(DEFAULTS), dict):
                problem = f"{{path}}: expected a mapping, got {type(value).__name__}"
                self._note(file, (DEFAULTS,), Wrong((), problem), list(sections))
            else:
                self.defaults = file, value

    def _stopped(self, name: str) -> bool:
        return any(name in mistake.clusters for mistake in self.mistakes)

    def _cluster(self, file: YamlFile, name: str, section: Any) -> Cluster | None:
        whole = section
        try:
            if self.defaults is not None:
                whole = merged(self.defaults[1], {} if section is None else section)
            if isinstance(whole, dict) and "name" not in whole:
                cluster = msgspec.structs.replace(convert(whole, Cluster), name=name)
                if _is_zone(cluster.timezone):
                    return cluster
                wrong = [_no_zone(cluster.timezone)]
            else:
                wrong = wrong_in(whole, Cluster)
        except msgspec.ValidationError:
            wrong = wrong_in(whole, Cluster)
        except RecursionError:
            wrong = [Wrong((), "{path}: it is nested too deeply")]
        for each in wrong:
            where, keys = self._place(file, name, section, each.keys)
            self._note(where, keys, each, [name])
        return None

    def _place(self, file: YamlFile, name: str, section: Any, keys: Keys) -> tuple[YamlFile, Keys]:
        """Return the file, and the section in it, that a wrong value of a cluster comes from."""
        if self.defaults is None or not keys or _has(section, keys) or not _has(self.defaults[1], keys):
            return file, (CLUSTERS, name)
        return self.defaults[0], (DEFAULTS,)

    def _without_shared_repositories(
        self, clusters: dict[str, Cluster], sections: Mapping[str, tuple[YamlFile, Any]]
    ) -> dict[str, Cluster]:
        """Return the clusters whose repository is their own: the first one named keeps it.

        A repository records its cluster, and refuses any other.
        """
        owners: dict[str, str] = {}
        for name, cluster in clusters.items():
            url = cluster.repository.url.rstrip("/")
            owner = owners.setdefault(url, name) if url else name
            if owner != name:
                problem = f"{CLUSTERS}.{owner} and {CLUSTERS}.{name} share the repository {url}"
                self._note(sections[name][0], (CLUSTERS, name), Wrong(("repository", "url"), problem), [name])
                last = self.mistakes[-1]
                self.mistakes[-1] = replace(last, hint="Give each cluster a prefix of its own.")
        return {name: cluster for name, cluster in clusters.items() if not self._stopped(name)}

    def _groups(self, clusters: set[str]) -> dict[str, Group]:
        groups = {}
        for name, (file, section) in self._sections(GROUPS).items():
            keys = (GROUPS, name)
            wrong = wrong_in(section, Group)
            for each in wrong:
                self._note(file, keys, each)
            if wrong or any(m.path == ".".join(keys) for m in self.mistakes):
                continue
            groups[name] = msgspec.structs.replace(convert(section, Group), name=name)
            for member in groups[name].clusters:
                if member not in clusters:
                    problem = f"{{path}}: there is no cluster {member!r}"
                    self._note(file, keys, Wrong(("clusters",), problem))
                    if close := nearest(member, clusters):
                        self.mistakes[-1] = replace(self.mistakes[-1], hint=f"Did you mean {close}?")
        return groups


def _names(section: Any) -> list[str]:
    return [str(name) for name in section] if isinstance(section, dict) else []


def _has(section: Any, keys: Keys) -> bool:
    for key in keys:
        if not isinstance(section, dict) or key not in section:
            return False
        section = section[key]
    return True


def _united(mistakes: Iterable[Mistake]) -> Iterator[Mistake]:
    """Yield each mistake once, with all the clusters that it stops: one in the defaults is found for each of them."""
    found: dict[Mistake, list[str]] = {}
    for mistake in mistakes:
        found.setdefault(replace(mistake, clusters=()), []).extend(mistake.clusters)
    for mistake, clusters in found.items():
        yield replace(mistake, clusters=tuple(dict.fromkeys(clusters)))


def _is_zone(name: str) -> bool:
    """Return whether a time zone exists, as far as this host has time zones."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return not zoneinfo.available_timezones()
    return True


def _no_zone(name: str) -> Wrong:
    close = nearest(name, zoneinfo.available_timezones())
    return Wrong(
        ("timezone",), f"{{path}}: there is no time zone {name!r}" + (f"; near: {close}" if close else "")
    )
