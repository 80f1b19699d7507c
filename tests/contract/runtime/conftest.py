"""Every test runs against every runtime: one primary, and one first backup made through each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_restore_replay.core.runtime import remote
from tests.contract.runtime.kits import KITS, RuntimeKit
from tests.support.flavors import KITS as FLAVORS
from tests.support.primary import Primary
from tests.support.rig import Rig


@pytest.fixture(scope="session")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Primary]:
    started = FLAVORS["mariadb"].start(tmp_path_factory.mktemp("runtimes") / "primary")
    yield started
    started.stop()


@pytest.fixture(scope="session", params=KITS)
def kit(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeKit]:
    found = KITS[request.param]()
    with found.running(tmp_path_factory.mktemp(found.name)):
        yield found


@dataclass
class Seeded:
    rig: Rig
    backup_id: str


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory, kit: RuntimeKit, primary: Primary) -> Seeded:
    rig = Rig(primary, tmp_path_factory.mktemp(f"seeded-{kit.name}"), kit.section(), store=kit.store)
    return Seeded(rig, rig.full())


@pytest.fixture
def rig(seeded: Seeded, kit: RuntimeKit, tmp_path: Path) -> Iterator[Rig]:
    """A cluster whose nodes live in this runtime, with one backup; after every test, nothing is left of a node."""
    copy = Rig(seeded.rig.primary, tmp_path, kit.section(), store=kit.store)
    kit.copy_repository(seeded.rig, copy)
    yield copy
    assert kit.left(copy) == []


@pytest.fixture
def nothing_left(kit: RuntimeKit, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No patience with what cannot be reached; and nothing stays of any node."""
    monkeypatch.setattr(remote, "_PAUSES_S", (0.05, 0.05))
    yield
    assert kit.left(None) == []  # type: ignore[arg-type]
