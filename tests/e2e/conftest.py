"""Real servers, whole cycles. One primary and one first backup are shared; each test has its own repository."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.mariadb import MariaDbPrimary
from tests.support.rig import Rig, copy_repository

SHOP = (
    "CREATE DATABASE shop",
    "USE shop",
    "CREATE TABLE shop.orders (id INT AUTO_INCREMENT PRIMARY KEY, customer VARCHAR(60) NOT NULL, "
    "total DECIMAL(10,2) NOT NULL, note TEXT, KEY (customer)) ENGINE=InnoDB",
    "CREATE TABLE shop.notes (body VARCHAR(100)) ENGINE=InnoDB",
    "CREATE TABLE shop.archive (id INT PRIMARY KEY, body TEXT) ENGINE=Aria",
    "INSERT INTO shop.orders (customer, total, note) SELECT CONCAT('customer-', seq), seq / 7, REPEAT(MD5(seq), 20) "
    "FROM seq_1_to_20000",
    "INSERT INTO shop.notes SELECT CONCAT('note ', seq) FROM seq_1_to_200",
    "INSERT INTO shop.archive SELECT seq, REPEAT('a', 100) FROM seq_1_to_500",
)


@pytest.fixture
def new_primary(tmp_path: Path) -> Iterator[Callable[..., MariaDbPrimary]]:
    """Starts primaries of the test's own."""
    started: list[MariaDbPrimary] = []

    def start(name: str = "primary", **options: Any) -> MariaDbPrimary:
        primary = MariaDbPrimary.start(tmp_path / name, **options)
        started.append(primary)
        primary.create_backup_account()
        primary.execute(*SHOP)
        return primary

    yield start
    for primary in started:
        primary.stop()


@dataclass
class Seeded:
    """A primary and a repository with one full backup of it."""

    primary: MariaDbPrimary
    rig: Rig
    backup_id: str


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeded]:
    root = tmp_path_factory.mktemp("seeded")
    primary = MariaDbPrimary.start(root / "primary")
    try:
        primary.create_backup_account()
        primary.execute(*SHOP)
        rig = Rig(primary, root)
        yield Seeded(primary, rig, rig.full())
    finally:
        primary.stop()


@pytest.fixture
def rig(seeded: Seeded, tmp_path: Path) -> Rig:
    """A repository of the test's own, with the first backup in it, and the shared primary."""
    copy = Rig(seeded.primary, tmp_path)
    copy_repository(seeded.rig, copy)
    return copy


@pytest.fixture
def backup_id(seeded: Seeded) -> str:
    return seeded.backup_id
