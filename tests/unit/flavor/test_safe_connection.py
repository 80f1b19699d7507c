"""Fault X11: a server, or who stands in for it, asks for the password in a readable form."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from airflow_restore_replay.core.errors import PrimaryUnreachable
from airflow_restore_replay.core.flavor.mysql import dump
from airflow_restore_replay.core.flavor.optionfile import option_file
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.values import Endpoint
from tests.support.impostor import ASKED, PASSWORD, USER, impostor
from tests.support.mysql import programs
from tests.support.tls import make_authority
from tests.support.unpacked import without


@pytest.mark.parametrize("flavor", ["mariadb", "mysql"])
def test_x11_a_server_that_offers_no_tls_learns_nothing_where_a_ca_asks_for_it(
    flavor: str, tmp_path: Path
) -> None:
    ca = str(make_authority(tmp_path).ca)
    with impostor("clear") as server:
        endpoint = Endpoint(port=server.port, user=USER, password=PASSWORD, ssl_ca=ca)
        with pytest.raises(PrimaryUnreachable) as caught:
            get_flavor(flavor).connect(endpoint)
    assert server.received == []
    assert f"offers no TLS, and ssl_ca {ca} asks for it" in str(caught.value)


@pytest.mark.parametrize("flavor", ["mariadb", "mysql"])
@pytest.mark.parametrize("asked", ASKED)
def test_x11_without_tls_the_password_is_given_in_no_readable_form(flavor: str, asked: str) -> None:
    with impostor(asked) as server:
        endpoint = Endpoint(port=server.port, user=USER, password=PASSWORD)
        with pytest.raises(PrimaryUnreachable) as caught:
            get_flavor(flavor).connect(endpoint)
    assert USER.encode() in server.received[0]
    assert server.learnt == []
    assert "without TLS this is refused" in str(caught.value)
    assert "Enable TLS on the primary" in (caught.value.hint or "")


@pytest.mark.skipif(without("mysql"), reason="RR_WITHOUT=mysql")
@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("certificate", [False, True])
def test_x11_without_tls_mysqldump_says_nothing_about_the_account(
    asked: str, certificate: bool, tmp_path: Path
) -> None:
    files = make_authority(tmp_path) if certificate else None
    shown = {"ssl_cert": str(files.client_cert), "ssl_key": str(files.client_key)} if files else {}
    with impostor(asked) as server:
        endpoint = Endpoint(port=server.port, user=USER, password=PASSWORD, **shown)
        with option_file(endpoint, tmp_path, dump.tls_options) as options:
            argv = dump.dump_command(f"{programs()}/mysqldump", options, ["shop"])
            assert subprocess.run(argv, capture_output=True, check=False).returncode
    assert server.received == []
