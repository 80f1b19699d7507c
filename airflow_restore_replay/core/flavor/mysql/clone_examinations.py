"""The examinations of a primary that CLONE is to copy.

Source: MySQL manual, "Remote Cloning Prerequisites".
"""

from __future__ import annotations

from airflow_restore_replay.core.errors import PreflightFailed, ReleaseRefused
from airflow_restore_replay.core.flavor import primary_examinations as common
from airflow_restore_replay.core.flavor.examination import Examination, Observation, Observe, PrimaryFacts
from airflow_restore_replay.core.flavor.mysql import grants
from airflow_restore_replay.core.flavor.mysql.identity import release_of
from airflow_restore_replay.core.flavor.mysql.options import SAFE_PLUGINS
from airflow_restore_replay.core.flavor.sql import rows, value

PLUGIN = "mysql_clone.so"
_SEED = ("clone",)
_SAME_SERIES_SINCE = (8, 0, 37)
_MIN_PACKET_BYTES = 2 * 2**20


def _releases(facts: PrimaryFacts) -> Observation | None:
    theirs, ours = release_of(facts.variables["version"]), facts.wanted.node_release
    if not ours:
        return None
    return Observation(
        _alike(theirs, ours),
        f"{theirs}, and {ours} on the node",
        "releases of one series, and before 8.0.37 equal ones",
        f"Install MySQL {theirs} on the node, or set seed.method: logical.",
    )


def _alike(one: str, other: str) -> bool:
    a, b = (tuple(int(part) for part in text.split(".")[:3]) for text in (one, other))
    return a == b or (a[:2] == b[:2] and min(a, b) >= _SAME_SERIES_SINCE)


def _plugin(facts: PrimaryFacts) -> Observation:
    state = value(
        facts.conn, "SELECT PLUGIN_STATUS FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'clone'"
    )
    fix = f"INSTALL PLUGIN clone SONAME '{PLUGIN}';"
    return Observation(
        state == "ACTIVE",
        "ACTIVE" if state == "ACTIVE" else f"not active: {state or 'not installed'}",
        "ACTIVE",
        fix,
    )


def _packet(facts: PrimaryFacts) -> Observation:
    size = int(facts.variables["max_allowed_packet"])
    return Observation(
        size >= _MIN_PACKET_BYTES,
        str(size),
        f"at least {_MIN_PACKET_BYTES}",
        f"SET PERSIST max_allowed_packet={_MIN_PACKET_BYTES};",
    )


def _loaded_plugins(facts: PrimaryFacts) -> Observation:
    loaded = rows(
        facts.conn,
        "SELECT PLUGIN_NAME, PLUGIN_LIBRARY FROM information_schema.PLUGINS"
        " WHERE PLUGIN_STATUS = 'ACTIVE' AND PLUGIN_LIBRARY IS NOT NULL ORDER BY 1",
    )
    foreign = [f"{name} ({library})" for name, library in loaded if library not in SAFE_PLUGINS]
    return Observation(
        not foreign,
        common.named(foreign),
        "none that a node does not load: CLONE needs the primary's plugins on the node",
        "Set seed.method: logical.",
    )


def _as_on_nodes(name: str, value: str) -> Examination:
    """Return the examination of a setting that CLONE compares with the node's, which is *value*."""

    def observe(facts: PrimaryFacts) -> Observation:
        observed = facts.variables[name]
        expected = f"{value}, as on nodes: CLONE refuses another one"
        return Observation(observed == value, observed, expected, "Set seed.method: logical.")

    return _for_clone(name, observe)


def _for_clone(name: str, observe: Observe, error: type[Exception] = PreflightFailed) -> Examination:
    return Examination(name=name, observe=observe, seeds=_SEED, for_seed=True, error=error.__name__)


#: what CLONE needs of a primary in addition to replay
CLONE_EXAMINATIONS = (
    _for_clone("release for CLONE", _releases, ReleaseRefused),
    _for_clone("plugin clone", _plugin),
    common.grant("BACKUP_ADMIN", grants.OPTIONAL["BACKUP_ADMIN"], seeds=_SEED, for_seed=True),
    _for_clone("max_allowed_packet", _packet),
    _for_clone("plugins", _loaded_plugins),
    *(
        _as_on_nodes(name, value)
        for name, value in (
            ("character_set_server", "utf8mb4"),
            ("collation_server", "utf8mb4_0900_ai_ci"),
            ("character_set_filesystem", "binary"),
        )
    ),
)
