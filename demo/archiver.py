"""The archiver: it stores the primary's binary logs while everything else goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from demo.shop import Shop
from demo.workspace import Workspace


class DemoArchiver:
    """``restore-replay archive --follow`` for one cluster, which has a cluster file of its own.

    That of Airflow names the primary by a connection, which the command line cannot resolve.

    :ivar cluster_file: of the command line.
    """

    def __init__(self, space: Workspace, shop: Shop, name: str, repository: dict[str, Any]) -> None:
        account = shop.primary.endpoint("restore_replay")
        password = space.secret_file("archiver.password", account.password)
        node = {"bindir": shop.primary.bindir} if shop.primary.bindir else {}
        section = {
            "flavor": shop.stock.name,
            "primary": {
                "host": account.host,
                "port": account.port,
                "user": account.user,
                "password_file": str(password),
            },
            # A connection of Airflow's, too; the environment has the credentials.
            "repository": {key: value for key, value in repository.items() if key != "connection"},
            "node": {"workdir": str(space.root / "nodes"), **node},
            "archive": {"interval": "2s", "spool": str(space.root / "spool")},
            "schedule": None,
        }
        self._log_path = space.logs / "archiver.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.cluster_file = space.secret_file("archiver.yaml", yaml.safe_dump({"clusters": {name: section}}))

    def start(self) -> None:
        program = Path(sys.executable).with_name("restore-replay")
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "archive", "--follow", "--config", self.cluster_file],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        """Store what has arrived, and end; idempotent."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)
        self._process = None
