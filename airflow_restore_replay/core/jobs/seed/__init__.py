"""Fill a node with a fresh full copy of the primary: over the SQL port, by CLONE, or with a backup program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from airflow_restore_replay.core.config.sections import Seed
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.node_server import NodeServer
from airflow_restore_replay.core.flavor.values import Endpoint, Position


@dataclass(frozen=True)
class SeedInputs:
    """Inputs of every seed method.

    :param policy: the cluster's ``seed`` section.
    :param secrets_dir: private directory for short-lived option files.
    :param progress: called with (bytes so far, estimated total).
    """

    flavor: Flavor
    server: NodeServer
    primary: Endpoint
    policy: Seed
    secrets_dir: Path
    progress: Callable[[int, int], None]
    cancelled: Callable[[], bool]


@dataclass(frozen=True)
class Seeded:
    """A finished seed, on which the node's server runs.

    :param position: exact position of the copy.
    :param method: method that made it, which may be another than the configured one.
    :param notes: details for the manifest.
    """

    position: Position
    method: str
    notes: dict[str, Any] = field(default_factory=dict)


def seed_logically(inputs: SeedInputs) -> Seeded:
    """Seed by a dump over the SQL port."""
    from airflow_restore_replay.core.jobs.seed.logical import seed_logical

    position, notes = seed_logical(
        inputs.flavor,
        inputs.server,
        inputs.primary,
        secrets_dir=inputs.secrets_dir,
        progress=inputs.progress,
        cancelled=inputs.cancelled,
    )
    return Seeded(position, "logical", notes)


def seed_physically(inputs: SeedInputs) -> Seeded:
    """Seed with the server's backup program on the primary's host."""
    from airflow_restore_replay.core.flavor.mariadb.physical_seed import seed_physical

    position = seed_physical(
        inputs.flavor,
        inputs.server,
        inputs.primary,
        prefix=inputs.policy.prefix,
        defaults_file=inputs.policy.defaults_file,
        secrets_dir=inputs.secrets_dir,
        progress=inputs.progress,
        cancelled=inputs.cancelled,
    )
    return Seeded(position, "physical")


def seed_by_clone(inputs: SeedInputs) -> Seeded:
    """Seed by the server's own CLONE, or by a dump if the primary has anything that CLONE leaves out."""
    from airflow_restore_replay.core.flavor.mysql.clone_seed import left_out, seed_clone

    unfit = left_out(inputs.flavor, inputs.primary)
    if unfit:
        seeded = seed_logically(inputs)
        return replace(seeded, notes={"instead_of": "clone", "because": unfit, **seeded.notes})
    position = seed_clone(
        inputs.flavor,
        inputs.server,
        inputs.primary,
        progress=inputs.progress,
        cancelled=inputs.cancelled,
    )
    return Seeded(position, "clone")


#: seed functions by the cluster file's ``seed.method``
SEEDS: dict[str, Callable[[SeedInputs], Seeded]] = {
    "logical": seed_logically,
    "physical": seed_physically,
    "clone": seed_by_clone,
}
