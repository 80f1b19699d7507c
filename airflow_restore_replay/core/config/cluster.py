"""What a user configures about one protected cluster: the YAML file and its checks.

The file is one mapping ``clusters: {name: {...}}``. Unknown keys, wrong types and values out of range are
refused with the path of the key and what is allowed, before anything starts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta

from airflow_restore_replay.core.config.checks import Validation
from airflow_restore_replay.core.config.explain import explain
from airflow_restore_replay.core.config.sections import (
    CatchUp,
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
from airflow_restore_replay.core.decoding import convert
from airflow_restore_replay.core.errors import ConfigInvalid

ClusterName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]


#: flavor → seed.method that makes sense with it
_SEEDS = {"mariadb": ("logical", "physical"), "mysql": ("logical", "clone")}


class Cluster(Strict, frozen=True, kw_only=True):
    """One protected primary with its repository, schedule and policy.

    :param fallback: what takes the place of a base that turned out to be bad: a fresh full in the same run; the next
        healthy base, and a fresh full only after that; or nothing, so that the run is red.
    :param prove: how far a new backup is proven in the run that makes it: what is stored reads back; or it is also
        restored, on a second node.
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
    timeouts: Timeouts = Timeouts()
    notify: Notify = Notify()
    max_age: Seconds = Seconds("26h")

    def __post_init__(self) -> None:
        allowed = _SEEDS[self.flavor]
        if self.seed.method not in allowed:
            raise ValueError(
                f"seed.method {self.seed.method} is not possible with flavor {self.flavor}; "
                f"allowed: {', '.join(allowed)}"
            )


#: the one in C, where PyYAML has it, is ten times as fast: every task reads the file
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _File(Strict, frozen=True, kw_only=True):
    clusters: dict[ClusterName, Cluster]


def load_clusters(path: str | Path) -> dict[str, Cluster]:
    """Read the cluster file.

    :param path: YAML file.
    :returns: clusters by name, each carrying its name.
    :raises ConfigInvalid: naming the key and what is allowed there.
    """
    try:
        raw = yaml.load(Path(path).read_text(encoding="utf-8"), _LOADER)
    except OSError as exc:
        raise ConfigInvalid(f"Cannot read the cluster file {path}: {exc.strerror}.") from exc
    except yaml.YAMLError as exc:
        raise ConfigInvalid(f"{path} is not YAML: {exc}") from exc
    return parse_clusters(raw, source=str(path))


def parse_clusters(raw: Any, *, source: str = "configuration") -> dict[str, Cluster]:
    """Check a parsed cluster file; see :func:`load_clusters`."""
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
