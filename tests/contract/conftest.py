"""Contracts run against a local directory and S3; that of object stores also against Azure and Google Cloud Storage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest

from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.base import ObjectStore
from airflow_restore_replay.core.repository.store.opening import open_store
from tests.support.backups import make_tree
from tests.support.proxy import FaultyProxy
from tests.support.stores.azurite import Azurite
from tests.support.stores.base import Store
from tests.support.stores.gcs import FakeGcs
from tests.support.stores.moto import Moto
from tests.support.stores.s3 import signed
from tests.support.stores.seaweedfs import SeaweedFs

#: for ``pytest.mark.parametrize("place", EVERYWHERE, indirect=True)``
EVERYWHERE = ("file", "s3", "az", "gs")


class Damage(Protocol):
    """Changes objects behind the repository's back."""

    def read(self, path: str) -> bytes: ...

    def write(self, path: str, data: bytes) -> None: ...

    def remove(self, path: str) -> None: ...


@dataclass
class LocalDamage:
    root: Path

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def write(self, path: str, data: bytes) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(data)

    def remove(self, path: str) -> None:
        (self.root / path).unlink()


@dataclass
class RemoteDamage:
    server: Store
    bucket: str

    def read(self, path: str) -> bytes:
        return self.server.read(f"{self.bucket}/orders/{path}")

    def write(self, path: str, data: bytes) -> None:
        self.server.write(f"{self.bucket}/orders/{path}", data)

    def remove(self, path: str) -> None:
        self.server.remove(f"{self.bucket}/orders/{path}")


@dataclass
class Place:
    """Where a test's repository is."""

    spec: RepositorySpec
    damage: Damage
    credentials: Mapping[str, str] = field(default_factory=dict)

    def open(self, *keys: str, write: bool = True, cluster: str = "orders") -> Repository:
        return Repository.open(
            self.spec, cluster=cluster, credentials=self.credentials, keys=keys, write=write
        )

    def store(self) -> ObjectStore:
        return open_store(self.spec, self.credentials)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[SeaweedFs]:
    with SeaweedFs() as server:
        yield server


@pytest.fixture(scope="session")
def az_server() -> Iterator[Azurite]:
    with Azurite() as server:
        yield server


@pytest.fixture(scope="session")
def gs_server() -> Iterator[FakeGcs]:
    with FakeGcs() as server:
        yield server


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    with Moto() as server:
        yield server


@pytest.fixture(params=["file", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "file":
        root = tmp_path / "repository with spaces"
        return Place(RepositorySpec(url=root.as_uri()), LocalDamage(root))
    server: Store = request.getfixturevalue(f"{request.param}_server")
    folder = server.new_folder()
    return Place(server.spec(folder), RemoteDamage(server, folder), server.credentials)


@pytest.fixture
def proxy(s3_server: SeaweedFs) -> Iterator[FaultyProxy]:
    with FaultyProxy(s3_server.port, sign=signed) as proxy:
        yield proxy


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "data")
