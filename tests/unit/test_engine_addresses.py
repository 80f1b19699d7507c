"""Fault X27: a Docker engine of another host, without TLS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_restore_replay.core.config.sections import NodeSpec
from airflow_restore_replay.core.errors import ConfigInvalid, NodeUnreachable
from airflow_restore_replay.core.runtime.engine import Engine


def spec(**fields: Any) -> NodeSpec:
    return NodeSpec(runtime="docker", image="node", **fields)


@pytest.fixture(autouse=True)
def no_engine_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "address", ["tcp://docker1.invalid:2375", "http://docker1.invalid:2375", "docker1.invalid:2375"]
)
def test_x27_an_engine_of_another_host_without_tls_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    by_environment = Engine(spec())
    configured = [Engine(spec(engine=address))] if address.startswith("tcp:") else []
    for engine in (by_environment, *configured):
        with pytest.raises(ConfigInvalid, match="without verified TLS") as caught:
            _ = engine.client
        assert "node.engine_insecure: true" in (caught.value.hint or "")


def test_x27_certificates_that_are_not_verified_do_not_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / f"{name}.pem").touch()
    monkeypatch.setenv("DOCKER_HOST", "tcp://docker1.invalid:2376")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    with pytest.raises(ConfigInvalid, match="without verified TLS"):
        _ = Engine(spec()).client


@pytest.mark.parametrize(
    "fields",
    [
        {"engine": "tcp://127.0.0.1:1"},
        {"engine": "tcp://[::1]:1"},
        {"engine": "tcp://localhost:1"},
        {"engine": "unix:///nowhere/docker.sock"},
        {"engine": "tcp://docker1.invalid:2375", "engine_insecure": True},
    ],
)
def test_x27_what_crosses_no_network_is_tried(fields: dict[str, Any]) -> None:
    with pytest.raises(NodeUnreachable):
        _ = Engine(spec(**fields)).client


def test_x27_the_option_is_for_containers_only() -> None:
    with pytest.raises(ValueError, match="engine_insecure only with runtime docker"):
        NodeSpec(engine_insecure=True)
