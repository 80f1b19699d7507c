"""A server that has no data and serves archived binary logs as its own, so that a restored node replicates from it.

A server of each flavor takes over the files that its index lists when it starts, and serves them as a primary does. So
replay needs neither the primary nor a reader of binary logs of this package.
"""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from airflow_restore_replay.core.flavor import server_record
from airflow_restore_replay.core.flavor.node_server import NodeServer
from airflow_restore_replay.core.flavor.server_process import NodeProcess
from airflow_restore_replay.core.flavor.values import Endpoint, ServerLayout

_ACCOUNT_HOST = "127.0.0.1"
#: beginning of the names of the served files, and of the one that the server itself begins
ARCHIVED, _OWN = "archived", "served"


@dataclass(frozen=True)
class Service:
    """How the archive is served.

    :param port: on loopback.
    :param ca, cert, key: files of TLS, without which the server accepts no connection.
    :param user: the account of the node that replicates, which has no other right.
    """

    port: int
    ca: Path
    cert: Path
    key: Path
    user: str = field(default_factory=lambda: f"replay_{secrets.token_hex(6)}")


class ServingProcess(NodeProcess):
    """Common part of the servers of archived logs; the flavor's own is before it in the order of classes.

    It is only ever killed: it has no data that could be lost.
    """

    service: Service

    def __init__(self, layout: ServerLayout, service: Service) -> None:
        super().__init__(layout)
        self.service = service

    def serve(self, logs: list[Path]) -> None:
        """Start on *logs*, in their order, instead of those that were served before.

        :param logs: files on the same file system, which are moved into the server's directory.
        """
        self.kill()
        for old in (*self.layout.datadir.glob(f"{_OWN}.*"), *self.layout.datadir.glob(f"{ARCHIVED}.*")):
            old.unlink()
        names = [f"{ARCHIVED}.{number:06d}" for number in range(1, len(logs) + 1)]
        for log, name in zip(logs, names, strict=True):
            log.rename(self.layout.datadir / name)
        index = "".join(f"./{name}\n" for name in names)
        (self.layout.datadir / f"{_OWN}.index").write_text(index, encoding="ascii")
        self.start(replaying=False)

    def forget(self) -> None:
        """End, and begin again without what the server keeps of the files that it has served.

        MySQL keeps their GTIDs in a table. It would tell a node that those of another stream were purged.
        """
        self.kill()
        shutil.rmtree(self.layout.datadir)
        self.initialize()

    def endpoint(self) -> Endpoint:
        """Return the endpoint that a node replicates from."""
        password = server_record.password_file(self.layout.run_dir).read_text(encoding="utf-8")
        return Endpoint(
            host=_ACCOUNT_HOST,
            port=self.service.port,
            user=self.service.user,
            password=password,
            ssl_ca=str(self.service.ca),
        )

    def _account(self, password: str) -> list[str]:
        who = f"'{self.service.user}'@'{_ACCOUNT_HOST}'"
        return [
            # The server's own binary log would be served, too.
            "SET SESSION sql_log_bin = 0",
            f"DROP USER IF EXISTS {who}",
            f"CREATE USER {who} IDENTIFIED {self._identified(password)}",
            f"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {who}",
        ]

    def _service_options(self) -> list[str]:
        """Return the options that follow a node's and take the place of some of them."""
        service = self.service
        return [
            "--skip-networking=OFF",
            f"--bind-address={_ACCOUNT_HOST}",
            f"--port={service.port}",
            f"--ssl-ca={service.ca}",
            f"--ssl-cert={service.cert}",
            f"--ssl-key={service.key}",
            "--require-secure-transport=ON",
            f"--log-bin={self.layout.datadir / _OWN}",
            f"--log-bin-index={self.layout.datadir / _OWN}.index",
            "--sync-binlog=0",
            # Old files must not be purged when the server starts.
            "--loose-expire-logs-days=0",
            "--loose-binlog-expire-logs-seconds=0",
            "--loose-binlog-expire-logs-auto-purge=OFF",
            "--loose-encrypt-binlog=OFF",
            "--loose-binlog-encryption=OFF",
            "--innodb-flush-log-at-trx-commit=0",
            "--performance-schema=OFF",
        ]


class ArchiveServer(NodeServer, Protocol):
    """The interface of such a server."""

    service: Service

    def serve(self, logs: list[Path]) -> None:
        """See :meth:`ServingProcess.serve`."""
        ...

    def forget(self) -> None:
        """See :meth:`ServingProcess.forget`."""
        ...
