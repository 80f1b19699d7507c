"""Where nodes live and backups lie: on this host in directories, or in containers and an object store."""

from __future__ import annotations

import json
import os
import socket
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from demo.screen import say
from demo.stock import Stock
from tests.support.dockerd import Dockerd, provide_nodes
from tests.support.stores.s3 import CREDENTIALS
from tests.support.stores.seaweedfs import SeaweedFs

_STORE_CONNECTION = "backups"


class Place(ABC):
    """Where the nodes and the repository of the demo live.

    :ivar connections: what Airflow needs to know beyond the primary, as JSON by connection id."""

    connections: dict[str, str] = {}

    @abstractmethod
    def start(self, stock: Stock) -> None: ...

    @abstractmethod
    def stop(self) -> None:
        """End and remove what was started; idempotent."""

    def seeds(self, stock: Stock) -> tuple[str, ...]:
        """Return the ways to fill a node from the primary that work here."""
        return stock.seeds

    @abstractmethod
    def node(self, bindir: str | None) -> dict[str, Any]:
        """Return the ``node`` section of clusters."""

    @abstractmethod
    def repository(self, cluster: str) -> dict[str, Any]:
        """Return the ``repository`` section of one."""

    @abstractmethod
    def read(self, cluster: str, name: str) -> bytes:
        """Return an object as it is stored, past this package."""

    @abstractmethod
    def write(self, cluster: str, name: str, content: bytes) -> None: ...


class ThisHost(Place):
    """Everything on this host.

    :param root: for everything."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def start(self, stock: Stock) -> None:
        pass

    def stop(self) -> None:
        pass

    def node(self, bindir: str | None) -> dict[str, Any]:
        return {"workdir": str(self._root / "nodes"), **({"bindir": bindir} if bindir else {})}

    def repository(self, cluster: str) -> dict[str, Any]:
        return {"url": f"file://{self._root / 'repository' / cluster}"}

    def read(self, cluster: str, name: str) -> bytes:
        return (self._root / "repository" / cluster / name).read_bytes()

    def write(self, cluster: str, name: str, content: bytes) -> None:
        (self._root / "repository" / cluster / name).write_bytes(content)


class Containers(Place):
    """Nodes in the Docker engine of this host, or in one of its own where there is none; backups in S3, over HTTP.

    Containers share the host's network, where primary and store are.
    """

    def __init__(self) -> None:
        self._engine: Dockerd | None = None
        self._s3: SeaweedFs | None = None
        self._buckets: dict[str, str] = {}

    def start(self, stock: Stock) -> None:
        url = None
        if _works_here():
            say("  Nodes are containers of this host's Docker engine; their images stay there.")
        else:
            if os.geteuid() != 0:
                sys.exit("No Docker engine of this host answers, and only root can start one.")
            self._engine = Dockerd()
            url = self._engine.url
            say("  No Docker engine of this host answers: the demo has its own, until it ends.")
        names = provide_nodes(url, stock.name)
        say(f"  Image of nodes: {names[0]}.")
        self._s3 = SeaweedFs()
        # The command line takes them from there, Airflow from a connection, nodes from what each job is given.
        os.environ.update({f"AWS_{name.upper()}": value for name, value in CREDENTIALS.items()})
        fields = {
            "conn_type": "restore_replay_repository",
            "login": CREDENTIALS["access_key_id"],
            "password": CREDENTIALS["secret_access_key"],
        }
        self.connections = {_STORE_CONNECTION: json.dumps(fields)}

    def stop(self) -> None:
        if self._s3:
            self._s3.stop()
        if self._engine:
            self._engine.stop()
        self._s3 = self._engine = None

    def seeds(self, stock: Stock) -> tuple[str, ...]:
        # mariadb-backup reads the primary's files, which a container does not see; CLONE comes over the network.
        return stock.seeds if "clone" in stock.seeds else stock.seeds[:1]

    def node(self, bindir: str | None) -> dict[str, Any]:
        # Not above: on this host the demo runs where there is no package docker.
        from airflow_restore_replay.core.runtime.docker import MOUNT_POINT

        # The image's programs are on its PATH.
        section = {
            "runtime": "docker",
            "image": "restore-replay-node-{flavor}:{series}",
            "network": "host",
            "memory": "1GiB",
            "workdir": MOUNT_POINT,
            "project": "restore-replay-demo",
        }
        return {**section, "engine": self._engine.url} if self._engine else section

    def repository(self, cluster: str) -> dict[str, Any]:
        bucket = self._buckets.setdefault(cluster, self._store.new_bucket())
        spec = self._store.spec(bucket)
        return {"url": spec.url, "options": spec.options.given(), "connection": _STORE_CONNECTION}

    def read(self, cluster: str, name: str) -> bytes:
        return self._store.read(self._path(cluster, name))

    def write(self, cluster: str, name: str, content: bytes) -> None:
        self._store.write(self._path(cluster, name), content)

    def _path(self, cluster: str, name: str) -> str:
        return f"{self.repository(cluster)['url'].removeprefix('s3://')}/{name}"

    @property
    def _store(self) -> SeaweedFs:
        assert self._s3 is not None, "it is started first"
        return self._s3


def _works_here() -> bool:
    """Return whether the engine of the environment answers, and its containers can have this host's network."""
    import docker
    import docker.errors
    import requests

    try:
        told = docker.from_env(timeout=10).info()
    except (docker.errors.DockerException, requests.RequestException):
        return False
    return told["Name"] == socket.gethostname() and "name=rootless" not in (told["SecurityOptions"] or [])


def chosen(root: Path) -> Place:
    """Return the place that ``RUNTIME`` names, by default this host.

    :param root: for everything that is a file.
    """
    name = os.environ.get("RUNTIME", "process")
    places = {"process": lambda: ThisHost(root), "docker": Containers}
    if name not in places:
        sys.exit(f"RUNTIME={name} is not known; it is one of: {', '.join(places)}.")
    return places[name]()
