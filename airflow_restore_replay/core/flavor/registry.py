"""Flavors by name; a flavor's modules are imported only when it is requested."""

from __future__ import annotations

from importlib import import_module

from airflow_restore_replay.core.errors import ConfigInvalid
from airflow_restore_replay.core.flavor.base import Flavor

_FLAVORS = {
    "mariadb": "airflow_restore_replay.core.flavor.mariadb.flavor:MariaDbFlavor",
    "mysql": "airflow_restore_replay.core.flavor.mysql.flavor:MySqlFlavor",
}


def flavors() -> list[Flavor]:
    """Return all flavors."""
    return [get_flavor(name) for name in _FLAVORS]


def get_flavor(name: str) -> Flavor:
    """Return the flavor of that name.

    :raises ConfigInvalid: there is no such flavor.
    """
    if name not in _FLAVORS:
        raise ConfigInvalid(f"Unknown flavor {name!r}; known: {', '.join(sorted(_FLAVORS))}.")
    module, _, attribute = _FLAVORS[name].partition(":")
    flavor: Flavor = getattr(import_module(module), attribute)()
    return flavor
