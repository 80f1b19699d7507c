"""Real servers, whole cycles. Tests share a primary and its first backup, or have a copy of both for themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.flavors import KITS, Kit
from tests.support.primary import Primary
from tests.support.rig import Rig, copy_repository
from tests.support.seeding import seeded_copy

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
