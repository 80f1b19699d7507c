"""Fill a node with a fresh full copy of the primary: over the SQL port, or with the server's backup program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from airflow_restore_replay.core.cluster import Seed
from airflow_restore_replay.core.flavor.base import Endpoint, Flavor, NodeServer, Position


@dataclass(frozen=True)
class SeedInputs:
    """What both ways of seeding get.

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


def seed_logically(inputs: SeedInputs) -> Position:
    """:returns: the exact position of the copy; the server runs on it."""
    from airflow_restore_replay.core.jobs.seed.logical import seed_logical

    return seed_logical(
        inputs.flavor,
        inputs.server,
        inputs.primary,
        secrets_dir=inputs.secrets_dir,
        progress=inputs.progress,
        cancelled=inputs.cancelled,
    )


def seed_physically(inputs: SeedInputs) -> Position:
    """:returns: the exact position of the copy; the server runs on it."""
    from airflow_restore_replay.core.jobs.seed.physical import seed_physical

    return seed_physical(
        inputs.flavor,
        inputs.server,
        inputs.primary,
        prefix=inputs.policy.prefix,
        defaults_file=inputs.policy.defaults_file,
        secrets_dir=inputs.secrets_dir,
        progress=inputs.progress,
        cancelled=inputs.cancelled,
    )


#: by the cluster file's ``seed.method``
SEEDS: dict[str, Callable[[SeedInputs], Position]] = {
    "logical": seed_logically,
    "physical": seed_physically,
}
