"""TLS to real primaries with a CA of their own: what verifies, what is refused, and whom that blames.

Every way to a primary is asked: our own connections, replication, the dump's client, and CLONE.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pymysql
import pytest

from airflow_restore_replay.core.errors import (
    Blame,
    PreflightFailed,
    PrimaryUnreachable,
    ReplicationDenied,
    RestoreReplayError,
)
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.mariadb import dump as mariadb_dump
from airflow_restore_replay.core.flavor.mysql import clone
from airflow_restore_replay.core.flavor.mysql import dump as mysql_dump
from airflow_restore_replay.core.flavor.node_server import NodeServer
from airflow_restore_replay.core.flavor.optionfile import option_file
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.sql import rows
from airflow_restore_replay.core.flavor.values import Endpoint
from tests.contract.flavor import conftest
from tests.support import mysql_node
from tests.support.impostor import PASSWORD, USER, impostor
from tests.support.mariadb import MariaDbPrimary
from tests.support.mysql import MySqlPrimary
from tests.support.primary import Primary
from tests.support.tls import Authority, make_authority
from tests.support.unpacked import without


@dataclass
class Site:
    """A primary whose account needs a certificate, and a running node.

    :param right: how to reach it. :param foreign: a CA that signed nothing of it.
    """

    flavor: Flavor
    primary: Primary
    node: NodeServer
    right: Endpoint
    foreign: Authority
    scratch: Path

    def connects(self, endpoint: Endpoint) -> str:
        """Return the cipher of a connection of ours."""
        with self.flavor.connect(endpoint) as conn:
            return str(dict(rows(conn, "SHOW SESSION STATUS LIKE 'Ssl_cipher'"))["Ssl_cipher"])

    def replicates(self, endpoint: Endpoint) -> None:
        """Replicate one new schema; raise what stopped replication."""
        name = f"s{time.monotonic_ns()}"
        with self.primary.connect() as conn:
            start = self.flavor.primary_position(conn)
        self.primary.execute(f"CREATE DATABASE {name}")
        with self.primary.connect() as conn:
            goal = self.flavor.primary_position(conn)
        with self.node.connect() as node:
            self.flavor.set_executed(node, start)
            try:
                self.flavor.start_replication(node, endpoint, until=goal, appliers=1)
                deadline = time.monotonic() + 20
                while not (status := self.flavor.replication_status(node)).applied.contains(goal):
                    if status.error:
                        raise status.error
                    assert time.monotonic() < deadline, status
                    time.sleep(0.05)
                assert rows(node, f"SHOW DATABASES LIKE '{name}'") == [(name,)]
            finally:
                self.flavor.stop_replication(node)
                self.flavor.forget_replication(node)

    def dumps(self, endpoint: Endpoint) -> None:
        """Run the dump's client; raise what its failure means."""
        mariadb = self.flavor.name == "mariadb"
        program = self.node.program("mariadb-dump" if mariadb else "mysqldump")
        tls_options = mariadb_dump.tls_options if mariadb else mysql_dump.tls_options
        with option_file(endpoint, self.scratch, tls_options) as options:
            if mariadb:
                argv = mariadb_dump.dump_command(program, options, ["only_here"], history=True)
            else:
                argv = mysql_dump.dump_command(program, options, ["only_here"])
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise self.flavor.dump_tools().dump_error(done.returncode, done.stderr)
        assert "only_here" in done.stdout

    def clones(self, endpoint: Endpoint) -> None:
        """Have MySQL's node cloned; raise what the failure means."""
        with self.node.connect() as node:
            clone.prepare_recipient(node, endpoint)
            try:
                clone.clone_instance(node, endpoint)
            except pymysql.err.MySQLError as exc:
                raise clone.clone_error(exc.args[0], str(exc.args[1])) from exc

    @property
    def ways(self) -> list[Callable[[Endpoint], object]]:
        ways: list[Callable[[Endpoint], object]] = [self.connects, self.replicates, self.dumps]
        return [*ways, self.clones] if self.flavor.name == "mysql" else ways


def _node(flavor: str, root: Path, *, readable: Path) -> NodeServer:
    if flavor == "mysql":
        return mysql_node.initialized(root, readable=(readable,))
    server = get_flavor(flavor).server(conftest.layout_at(root, readable=(readable,)))
    server.initialize()
    return server


@pytest.fixture(
    scope="module",
    params=[
        "mariadb",
        pytest.param("mysql", marks=pytest.mark.skipif(without("mysql"), reason="RR_WITHOUT=mysql")),
    ],
)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("tls")
    own, foreign = make_authority(root / "own"), make_authority(root / "foreign")
    kind = {"mariadb": MariaDbPrimary, "mysql": MySqlPrimary}[request.param]
    primary = kind.start(root / "primary", options=own.server_options)
    # Like primary.ssl_ca, ssl_cert and ssl_key of a cluster, which a confined server may read.
    node = _node(request.param, root / "node", readable=root)
    try:
        account = primary.create_backup_account()
        primary.execute("CREATE DATABASE only_here", "ALTER USER restore_replay@'%' REQUIRE X509")
        right = msgspec.structs.replace(
            account, ssl_ca=str(own.ca), ssl_cert=str(own.client_cert), ssl_key=str(own.client_key)
        )
        node.start(replaying=True)
        yield Site(get_flavor(request.param), primary, node, right, foreign, root / "secrets")
    finally:
        node.kill()
        primary.stop()


def failures(site: Site, endpoint: Endpoint) -> list[RestoreReplayError]:
    """Return how each way to the primary fails; the test fails if one of them works."""
    found = []
    for way in site.ways:
        with pytest.raises(RestoreReplayError) as caught:
            way(endpoint)
        found.append(caught.value)
    return found


def test_with_ca_and_certificate_every_way_is_open(site: Site) -> None:
    """The account REQUIREs X509: whatever gets in is encrypted, and has shown our certificate."""
    assert site.connects(site.right)
    site.replicates(site.right)
    site.dumps(site.right)


def test_a_certificate_that_the_ca_did_not_sign(site: Site) -> None:
    for error in failures(site, msgspec.structs.replace(site.right, ssl_ca=str(site.foreign.ca))):
        assert isinstance(error, PrimaryUnreachable), error
        assert error.blame is Blame.ENVIRONMENT
        assert "SSL" in error.message
        assert "primary.ssl_ca" in error.hint


def test_a_certificate_for_another_host(site: Site) -> None:
    elsewhere = msgspec.structs.replace(site.right, host="localhost")
    for way in site.ways[:3]:
        with pytest.raises(PrimaryUnreachable) as caught:
            way(elsewhere)
        assert "primary.host" in caught.value.hint, caught.value


def test_an_account_that_requires_a_certificate_and_gets_none(site: Site) -> None:
    for error in failures(site, msgspec.structs.replace(site.right, ssl_cert=None, ssl_key=None)):
        assert isinstance(error, ReplicationDenied), error
        assert error.blame is Blame.ENVIRONMENT
        assert "primary.ssl_cert" in error.hint


def test_files_that_are_not_there(site: Site) -> None:
    missing = msgspec.structs.replace(site.right, ssl_ca="/nowhere/ca.pem")
    with pytest.raises(PreflightFailed, match=r"No such file.*/nowhere/ca\.pem"):
        site.connects(missing)


def test_x11_clone_refuses_a_server_without_tls(site: Site) -> None:
    for way in site.ways[3:]:
        with impostor("full caching_sha2") as server:
            endpoint = Endpoint(port=server.port, user=USER, password=PASSWORD)
            with pytest.raises(PrimaryUnreachable, match="SSL"):
                way(endpoint)
        assert server.received == []
