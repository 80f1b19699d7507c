"""The cluster file: the YAML configuration of the protected clusters, and its validation.

The file is one mapping ``clusters: {name: {...}}``. Unknown keys, wrong types and values out of range are rejected
before anything starts, with the path of the key and the allowed values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta

from airflow_restore_replay.core.config.archiving import Archiving
from airflow_restore_replay.core.config.checks import Validation
from airflow_restore_replay.core.config.explain import explain
from airflow_restore_replay.core.config.schedule import refuse_invalid_schedule
from airflow_restore_replay.core.config.sections import (
    CatchUp,
    Drill,
    FullEvery,
    LeasePolicy,
    NodeSpec,
    Notify,
    Primary,
    RepositorySpec,
    Retention,
    Seed,
    Timeouts,
    Transfer,
)
from airflow_restore_replay.core.config.strict import Strict
from airflow_restore_replay.core.config.units import Seconds
from airflow_restore_replay.core.config.watching import Ping, Watch
from airflow_restore_replay.core.decoding import convert
from airflow_restore_replay.core.errors import ConfigInvalid

#: environment variable that names the cluster file
CONFIG_VARIABLE = "RESTORE_REPLAY_CONFIG"

ClusterName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]


#: flavor → the values of seed.method that it supports
_SEEDS = {"mariadb": ("logical", "physical"), "mysql": ("logical", "clone")}


class Cluster(Strict, frozen=True, kw_only=True):
    """One protected primary with its repository, schedule and policy.

    :param fallback: what a run does after its base failed: ``full`` makes a fresh full in the same run; ``older_base``
        tries the next healthy base first, and a fresh full after that; ``none`` fails the run.
    :param prove: how far a run proves its own backup: ``read_back`` reads the stored bytes back; ``restored`` also
        restores the backup on a second node.
    """

    name: str = ""
    flavor: Literal["mariadb", "mysql"] = "mariadb"
    primary: Primary
    repository: RepositorySpec
    node: NodeSpec = NodeSpec()
    schedule: str | None = "0 3 * * *"
    timezone: str = "UTC"
    seed: Seed = Seed()
    full_every: FullEvery = FullEvery()
    fallback: Literal["full", "older_base", "none"] = "full"
    prove: Literal["read_back", "restored"] = "read_back"
    catch_up: CatchUp = CatchUp()
    transfer: Transfer = Transfer()
    validate: Validation = Validation()
    lease: LeasePolicy = LeasePolicy()
    retention: Retention = Retention()
    archive: Archiving = Archiving()
    drill: Drill = Drill()
    timeouts: Timeouts = Timeouts()
    notify: Notify = Notify()
    freshness: Watch = Watch()
    ping: Ping = Ping()
    max_age: Seconds = Seconds("26h")

    def __post_init__(self) -> None:
        allowed = _SEEDS[self.flavor]
        if self.seed.method not in allowed:
            raise ValueError(
                f"seed.method {self.seed.method} is not possible with flavor {self.flavor}; "
                f"allowed: {', '.join(allowed)}"
            )
        for schedule in filter(None, (self.schedule, self.drill.schedule, self.freshness.schedule)):
            refuse_invalid_schedule(schedule)


#: PyYAML's loader in C, where available, is ten times as fast, and every task reads the file
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _File(Strict, frozen=True, kw_only=True):
    clusters: dict[ClusterName, Cluster]


def load_clusters(path: str | Path) -> dict[str, Cluster]:
    """Read the cluster file.

    :param path: YAML file.
    :returns: clusters by name, with ``name`` set in each.
    :raises ConfigInvalid: the file is not valid; the message names the key and what is allowed there.
    """
    try:
        raw = yaml.load(Path(path).read_text(encoding="utf-8"), _LOADER)
    except OSError as exc:
        raise ConfigInvalid(f"Cannot read the cluster file {path}: {exc.strerror}.") from exc
    # Of a date that no calendar has, PyYAML raises ValueError.
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise ConfigInvalid(f"{path} is not YAML: {exc}") from exc
    return parse_clusters(raw, source=str(path))


def parse_clusters(raw: Any, *, source: str = "configuration") -> dict[str, Cluster]:
    """Validate a parsed cluster file; see :func:`load_clusters`."""
    try:
        parsed = convert(raw, _File)
    except msgspec.ValidationError as exc:
        raise ConfigInvalid(f"{source}: {explain(exc, raw, _File, Cluster)}") from exc
    clusters = {name: msgspec.structs.replace(c, name=name) for name, c in parsed.clusters.items()}
    _refuse_shared_repositories(clusters, source)
    return clusters


def _refuse_shared_repositories(clusters: dict[str, Cluster], source: str) -> None:
    seen: dict[str, str] = {}
    for name, cluster in clusters.items():
        url = cluster.repository.url.rstrip("/")
        if not url:
            continue
        if url in seen:
            raise ConfigInvalid(
                f"{source}: clusters.{seen[url]} and clusters.{name} share the repository {url}.",
                hint="Give each cluster a prefix of its own.",
            )
        seen[url] = name
