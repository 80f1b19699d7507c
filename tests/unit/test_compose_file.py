"""docker-compose.yaml as Compose itself understands it; no engine is needed."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from airflow_restore_replay.core.flavor.mysql import grants
from tests.support.compose import REPO, Compose

#: they make something and end
ONE_SHOTS = {"secrets", "node-image", "migrate"}


@pytest.fixture(scope="module")
def file() -> Any:
    return Compose("unix:///nowhere").config()


def test_every_image_is_built_from_this_directory_by_one_service(file: Any) -> None:
    services = file["services"]
    built = [s["image"] for s in services.values() if "build" in s]
    assert sorted(built) == sorted({s["image"] for s in services.values()})
    for service in services.values():
        if "build" in service:
            assert (REPO / service["build"]["dockerfile"]).exists()
            assert service["build"]["args"]["BASE_IMAGE"].startswith("debian:")


def test_what_stays_has_a_health_check_and_what_ends_is_waited_for(file: Any) -> None:
    services = file["services"]
    waited = {
        name
        for service in services.values()
        for name, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_completed_successfully"
    }
    assert waited == ONE_SHOTS
    # No service depends on the load.
    assert {name for name, s in services.items() if "healthcheck" not in s} == ONE_SHOTS | {"load"}


def test_nothing_can_do_much(file: Any) -> None:
    for name, service in file["services"].items():
        assert not service.get("privileged"), name
        if name not in ONE_SHOTS:
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
    sockets = [
        name
        for name, service in file["services"].items()
        if any("docker.sock" in volume["target"] for volume in service.get("volumes", []))
    ]
    assert sockets == ["socket-proxy"]
    published = [port for s in file["services"].values() for port in s.get("ports", [])]
    assert [(p["host_ip"], p["target"]) for p in published] == [("127.0.0.1", 8080)]
    assert [name for name, net in file["networks"].items() if not net.get("internal")] == ["front"]


def test_x29_nodes_reach_primary_and_store_and_nothing_else(file: Any) -> None:
    networks = {name: set(service.get("networks") or ()) for name, service in file["services"].items()}
    assert {name for name, joined in networks.items() if "nodes" in joined} == {"primary", "store"}
    cluster = yaml.safe_load((REPO / "docker" / "tour" / "clusters.yaml").read_text())["clusters"]["shop"]
    assert cluster["node"]["network"] == file["networks"]["nodes"]["name"]
    assert file["networks"]["nodes"]["internal"]


def test_x29_each_secret_belongs_to_the_account_of_one_image(file: Any) -> None:
    """The volume is mounted by all of them."""
    found = re.findall(r"^give (\d+) (\S+)$", (REPO / "docker" / "tour" / "secrets").read_text(), re.M)
    owners = {secret: uid for uid, secret in found}
    assert len(owners) == len(set(owners.values())) == 6
    (uid,) = re.findall(r"^USER (\d+):", (REPO / "docker" / "airflow" / "Dockerfile").read_text(), re.M)
    assert owners["airflow.env"] == uid
    for name in ("primary", "archiver"):
        assert file["services"][name]["user"].partition(":")[0] == owners[f"{name}.env"]


def test_no_secret_is_in_the_file(file: Any) -> None:
    text = (REPO / "docker-compose.yaml").read_text() + (
        REPO / "docker" / "tour" / "clusters.yaml"
    ).read_text()
    names = [name for s in file["services"].values() for name in s.get("environment") or {}]
    assert not [
        n
        for n in names
        if n.endswith(("KEY", "SECRET", "PASSWORD", "URL", "CONN"))
        and "BASE_URL" not in n
        and "EXECUTION_API" not in n
    ]
    assert "secret_access_key" not in text


def test_the_primarys_account_has_the_documented_grants() -> None:
    script = (REPO / "docker" / "tour" / "primary").read_text()
    assert all(f"{statement};" in script for statement in grants.statements("restore_replay", "%"))
