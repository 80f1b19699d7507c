"""Which of the primary's settings a node has, too: the common part of each flavor's table of variables.

A table gives each variable one class. The primary's value of a variable that decides what replicated statements do,
or what data means, is the node's value. All other variables of a node are set by this package, or have no influence.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

import pymysql

from airflow_restore_replay.core.errors import NotReplayable
from airflow_restore_replay.core.flavor.sql import rows, run
from airflow_restore_replay.core.flavor.values import Conn
from airflow_restore_replay.core.flavor.zones import system_zone

ZONE = "time_zone"
SYSTEM_ZONE = "system_time_zone"
#: libraries of plugins that the primary has loaded and that a node may load, as the option is written
PLUGINS = "plugin_load_add"

#: settings that a data directory is created with, and the value that they had before manifests kept them
BIRTH: Mapping[str, str] = {"lower_case_table_names": "0", "innodb_page_size": "16384"}
_OFFSET = re.compile(r"[+-]\d\d:\d\d")
# The C library takes any path for a zone.
_ZONE_NAME = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*")
_ENGINE = "default_storage_engine"
#: engines without a library of their own
_BUILT_IN = {"INNODB", "MYISAM", "ARIA", "MEMORY", "CSV", "MRG_MYISAM"}
_LIBRARIES = {"ARCHIVE": "ha_archive", "BLACKHOLE": "ha_blackhole"}


class Treatment(StrEnum):
    """What a node does about a variable.

    :cvar PRIMARYS: it starts with the primary's value.
    :cvar OURS: it has a value of this package's, for a reason.
    :cvar REFUSED: it cannot have each value of the primary; the examination of the primary says which.
    :cvar IRRELEVANT: the value has no influence on the data of a node.
    """

    PRIMARYS = "primary's"
    OURS = "ours"
    REFUSED = "refused"
    IRRELEVANT = "irrelevant"


@dataclass(frozen=True)
class Refusal:
    """Values of a variable that a node cannot follow.

    :param followed: pattern of the values that are no problem, in full.
    :param why: why a node does not have the others.
    :param fix: what to do.
    """

    followed: str
    why: str
    fix: str


@dataclass(frozen=True)
class Variables:
    """A flavor's table of its servers' variables.

    :param primarys: names of variables of which nodes have the primary's value.
    :param files: names of variables that describe files of a data directory, so that only a copy of files has the
        primary's value, for good.
    :param empty: those of *primarys* to which an empty value means something.
    :param ours: name → why the value is ours.
    :param refused: name → which values a node cannot have.
    :param irrelevant: names, or patterns of names of a family.
    :param plugins: libraries that a node loads if the primary has loaded them.
    """

    primarys: Collection[str]
    files: Collection[str]
    empty: Collection[str]
    ours: Mapping[str, str]
    refused: Mapping[str, Refusal]
    irrelevant: Collection[str]
    plugins: Collection[str] = field(default=())

    def treatment(self, name: str) -> Treatment | None:
        """Return the class of a variable; None if it is in no class.

        :raises ValueError: it is in several classes.
        """
        name = name.lower()
        found = [
            kind
            for kind, names in (
                (Treatment.PRIMARYS, {*self.primarys, *self.files}),
                (Treatment.OURS, self.ours),
                (Treatment.REFUSED, self.refused),
            )
            if name in names
        ]
        if name in self.irrelevant or (not found and any(fnmatchcase(name, p) for p in self.irrelevant)):
            found.append(Treatment.IRRELEVANT)
        if len(found) > 1:
            raise ValueError(f"{name} is in several classes: {', '.join(found)}.")
        return found[0] if found else None

    def read(self, primary: Conn) -> dict[str, str]:
        """Return the primary's values, and what they depend on: its time zone, and its plugins."""
        followed = {*self.primarys, *self.files}
        values = {
            name.lower(): str(text)
            for name, text in rows(primary, "SHOW GLOBAL VARIABLES")
            if name.lower() in followed
        }
        values.pop(SYSTEM_ZONE, None)
        if zone := system_zone(primary):
            values[SYSTEM_ZONE] = zone
        return dict(sorted((values | self.loaded(primary)).items()))

    def loaded(self, primary: Conn) -> dict[str, str]:
        """Return :data:`PLUGINS` → those that the primary has loaded and a node may load; empty if there are none."""
        found = rows(
            primary,
            "SELECT DISTINCT PLUGIN_LIBRARY FROM information_schema.PLUGINS"
            " WHERE PLUGIN_STATUS = 'ACTIVE' AND PLUGIN_LIBRARY IS NOT NULL",
        )
        libraries = sorted({str(name).removesuffix(".so") for (name,) in found} & {*self.plugins})
        return {PLUGINS: ",".join(libraries)} if libraries else {}

    def unknown_authentication(self, primary: Conn) -> list[str]:
        """Return the plugins of authentication that the primary has loaded and that no node loads."""
        found = rows(
            primary,
            "SELECT PLUGIN_NAME, PLUGIN_LIBRARY FROM information_schema.PLUGINS WHERE PLUGIN_STATUS = 'ACTIVE'"
            " AND PLUGIN_TYPE = 'AUTHENTICATION' AND PLUGIN_LIBRARY IS NOT NULL ORDER BY 1",
        )
        return [str(name) for name, library in found if str(library).removesuffix(".so") not in self.plugins]

    def of_rows(self, values: Mapping[str, str]) -> dict[str, str]:
        """Return the values for a data directory that gets the primary's rows, but not its files."""
        return {name: text for name, text in values.items() if name not in self.files}

    def continued(self, base: Mapping[str, str], primary: Mapping[str, str]) -> dict[str, str]:
        """Return the values for a restored base that replicates from the primary.

        :param base: values in the base's manifest; empty if it was made before manifests had them.
        :param primary: the primary's values of now; empty if the primary is not asked.
        :raises NotReplayable: the base was created with another value than the primary has now.
        """
        if not primary:
            return dict(base)
        for name, usual in BIRTH.items():
            was, now = base.get(name, usual), primary.get(name, usual)
            if was != now:
                raise NotReplayable(
                    f"The primary has {name}={now}, and the backup was made with {name}={was}, which no server "
                    "can change later.",
                    evidence={"variable": name, "backup": was, "primary": now},
                )
        files = {name: text for name, text in base.items() if name in self.files}
        return self.of_rows(primary) | files

    def settings(self, values: Mapping[str, str], plugins: Collection[str] | None = None) -> dict[str, str]:
        """Return option names → values with which a server starts as the primary does.

        :param plugins: libraries that the server can load, without ``.so``; None for all.
        """
        listed = [p for p in values.get(PLUGINS, "").split(",") if p in self.plugins]
        able = [p for p in listed if plugins is None or p in plugins]
        found = {}
        # The values may be those of a manifest, which others may have written.
        for name in sorted(values.keys() & {*self.primarys, *self.files} - {ZONE, SYSTEM_ZONE}):
            text = values[name]
            if not (text or name in self.empty):
                continue
            if not self._usable(name, text):
                continue
            if name == _ENGINE and not _can_be_default(text, able):
                continue
            found[name] = text
        # A named zone needs tables that a new data directory does not have.
        if _OFFSET.fullmatch(values.get(ZONE, "")):
            found["default_time_zone"] = values[ZONE]
        return found | ({PLUGINS: ";".join(f"{p}.so" for p in able)} if able else {})

    def options(self, values: Mapping[str, str], plugins: Collection[str]) -> list[str]:
        """Return the options of a node's server for :meth:`settings`."""
        settings = self.settings(values, plugins)
        return [f"--loose-{name.replace('_', '-')}={text}" for name, text in settings.items()]

    def birth_options(self, values: Mapping[str, str]) -> list[str]:
        """Return the options that a data directory is created with."""
        return [
            f"--{name.replace('_', '-')}={values[name]}"
            for name in (*BIRTH, *self.files)
            if values.get(name) and self._usable(name, values[name])
        ]

    def _usable(self, name: str, text: str) -> bool:
        # A copy of files has them in its data directory, wherever the primary has them.
        return text.isprintable() and not (name in self.files and "/" in text)

    def option_file(self, values: Mapping[str, str], *, server: str) -> str:
        """Return the content of an option file for a server on a restored data directory.

        :param server: name of the server's section.
        """
        settings = self.settings(values)
        zone, system = values.get(ZONE, ""), zone_of_system(values)
        if zone != "SYSTEM" and (_OFFSET.fullmatch(zone) or _ZONE_NAME.fullmatch(zone)):
            settings["default_time_zone"] = zone
        lines = [
            "# The primary's settings that the data depend on, as restore-replay recorded them.",
            f"[{server}]",
        ]
        lines += [f"loose_{name}={_quoted(text)}" for name, text in sorted(settings.items())]
        if system:
            lines += [
                f"# The primary's SYSTEM time zone; without mysqld_safe, start the server with TZ={system}.",
                "[mysqld_safe]",
                f"timezone={system}",
            ]
        return "\n".join([*lines, ""])


def because(reason: str, names: str) -> dict[str, str]:
    """Return each of *names* with the *reason*."""
    return dict.fromkeys(names.split(), reason)


#: the value of a server that uses its own list of stopwords is no path
STOPWORD_FILE = Refusal(
    followed=r"\(built-in\)",
    why="a node has no copy of that file, so its full-text indexes of MyISAM and Aria have other words",
    fix="Remove ft_stopword_file from the option file, restart the primary, and REPAIR TABLE … QUICK such tables.",
)


def _can_be_default(engine: str, plugins: Collection[str]) -> bool:
    return engine.upper() in _BUILT_IN or _LIBRARIES.get(engine.upper()) in plugins


def zone_of_system(values: Mapping[str, str]) -> str:
    """Return the name of the zone that the primary calls SYSTEM; empty if it is not known, or is no name of a zone."""
    zone = values.get(SYSTEM_ZONE, "")
    return zone if _ZONE_NAME.fullmatch(zone) else ""


def follow_zone(node: Conn, values: Mapping[str, str]) -> None:
    """Give the node the primary's named time zone, if the node has the tables of time zones."""
    zone = values.get(ZONE, "SYSTEM")
    if zone != "SYSTEM" and not _OFFSET.fullmatch(zone):
        with contextlib.suppress(pymysql.err.MySQLError):
            run(node, "SET GLOBAL time_zone = %s", (zone,))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
