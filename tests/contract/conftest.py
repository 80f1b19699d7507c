"""Every contract runs against a local directory and against S3 over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest

from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.base import ObjectStore
from airflow_restore_replay.core.repository.store.opening import open_store
from airflow_restore_replay.core.sections import RepositorySpec
from tests.support.backups import make_tree
from tests.support.proxy import FaultyProxy
from tests.support.s3 import CREDENTIALS, S3Server


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
class S3Damage:
    server: S3Server
    bucket: str

    def read(self, path: str) -> bytes:
        return self.server.raw("GET", f"/{self.bucket}/orders/{path}")

    def write(self, path: str, data: bytes) -> None:
        self.server.raw("PUT", f"/{self.bucket}/orders/{path}", data)

    def remove(self, path: str) -> None:
        self.server.raw("DELETE", f"/{self.bucket}/orders/{path}")


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
def s3_server() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture(params=["file", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "file":
        root = tmp_path / "repository with spaces"
        return Place(RepositorySpec(url=root.as_uri()), LocalDamage(root))
    server: S3Server = request.getfixturevalue("s3_server")
    bucket = server.new_bucket()
    return Place(server.spec(bucket), S3Damage(server, bucket), CREDENTIALS)


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultyProxy]:
    with FaultyProxy(s3_server.port) as proxy:
        yield proxy


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "data")
