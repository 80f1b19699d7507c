"""Real servers, whole cycles. Tests share a primary and its first backup, or have a copy of both for themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import templates
from tests.support.flavors import KITS, Kit
from tests.support.primary import Primary
from tests.support.rig import Rig, copy_repository

OwnRig = Callable[..., Rig]


@pytest.fixture(scope="session")
def kit(request: pytest.FixtureRequest) -> Kit:
    """The flavor: MariaDB, unless the test is ``on_both``."""
    return KITS[getattr(request, "param", "mariadb")]


@pytest.fixture
def new_primary(tmp_path: Path, kit: Kit) -> Iterator[Callable[..., Primary]]:
    """Starts primaries of the test's own."""
    started: list[Primary] = []

    def start(name: str = "primary", *, replica_of: Primary | None = None, **options: Any) -> Primary:
        root = tmp_path / name
        primary = kit.start_replica(root, replica_of) if replica_of else kit.start(root, **options)
        started.append(primary)
        return primary

    yield start
    for primary in started:
        primary.discard()


@dataclass
class Seeded:
    """A primary and a repository with one full backup of it."""

    primary: Primary
    rig: Rig
    backup_id: str


def seed(kit: Kit) -> Path:
    """:returns: a stopped primary and the repository with its first full backup, made once in a run of the tests."""

    def make(root: Path) -> None:
        primary = kit.start(root)
        try:
            Rig(primary, root).full()
        finally:
            primary.stop()

    return templates.of_this_run(f"seeded-{kit.name}", make)


def seeded_copy(kit: Kit, root: Path, overrides: dict[str, Any], **options: Any) -> Rig:
    """:param overrides: of the cluster. :param options: of the primary.
    :returns: a copy of :func:`seed`, with its primary running.
    """
    template = seed(kit)
    templates.copy_tree(template / "data", root / "primary" / "data")
    templates.copy_tree(template / "repository", root / "repository")
    return Rig(kit.primary.start(root / "primary", **options), root, overrides)


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory, kit: Kit) -> Iterator[Seeded]:
    """Shared by the tests of a module, which replay what those before them wrote."""
    rig = seeded_copy(kit, tmp_path_factory.mktemp("seeded"), {})
    try:
        yield Seeded(rig.primary, rig, rig.newest)
    finally:
        rig.primary.discard()


@pytest.fixture
def own_rig(tmp_path: Path, kit: Kit) -> Iterator[OwnRig]:
    """Makes a cluster with a primary of the test's own and a first full backup."""
    made: list[Rig] = []

    def make(*, overrides: dict[str, Any] | None = None, **options: Any) -> Rig:
        made.append(seeded_copy(kit, tmp_path, overrides or {}, **options))
        return made[-1]

    yield make
    for rig in made:
        rig.primary.discard()


@pytest.fixture
def rig(seeded: Seeded, tmp_path: Path) -> Rig:
    """A repository of the test's own, with the first backup in it, and the shared primary."""
    copy = Rig(seeded.primary, tmp_path)
    copy_repository(seeded.rig, copy)
    return copy


@pytest.fixture
def backup_id(seeded: Seeded) -> str:
    return seeded.backup_id
