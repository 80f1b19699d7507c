"""The dead-man's switch: called when the backups are fresh, and never the reason for a verdict."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_restore_replay.core.config.cluster import parse_clusters
from airflow_restore_replay.core.errors import ConfigInvalid
from tests.support.pings import Switch, switch_server
from tests.unit.cli.conftest import Shop

TOKEN = "very-secret-0b5f"


@pytest.fixture
def switch() -> Iterator[Switch]:
    with switch_server() as server:
        yield server


@pytest.fixture
def pinging(shop: Shop, switch: Switch, monkeypatch: pytest.MonkeyPatch) -> Shop:
    configure(shop, url_env="SHOP_PING_URL", fail=True, timeout="2s")
    monkeypatch.setenv("SHOP_PING_URL", switch.url(TOKEN))
    return shop


def configure(shop: Shop, **ping: Any) -> None:
    clusters = yaml.safe_load(shop.config.read_text())
    clusters["clusters"]["orders"]["ping"] = ping
    shop.config.write_text(yaml.safe_dump(clusters))


def test_a_fresh_check_pings(pinging: Shop, switch: Switch) -> None:
    pinging.publish()
    assert "OK" in pinging.run("freshness", "--ping").output
    assert switch.calls == [f"/ping/{TOKEN}"]
    assert pinging.json("freshness", "--ping")["ping"] == "sent"


def test_without_the_option_nothing_is_called(pinging: Shop, switch: Switch) -> None:
    pinging.publish()
    assert "ping" not in pinging.json("freshness")
    assert switch.calls == []


def test_a_stale_check_never_pings_as_fresh(pinging: Shop, switch: Switch) -> None:
    pinging.publish(age=timedelta(days=9))
    pinging.run("freshness", "--ping", exit_code=2)
    assert switch.calls == [f"/ping/{TOKEN}/fail"]


def test_an_unknown_age_does_not_ping_and_without_fail_nothing_is_called(
    shop: Shop, switch: Switch, tmp_path: Path
) -> None:
    secret = tmp_path / "url"
    secret.write_text(f"{switch.url(TOKEN)}\n")
    configure(shop, url_file=str(secret))
    assert shop.json("freshness", "--ping", exit_code=2)["ping"] == ""
    assert switch.calls == []
    shop.publish()
    shop.run("freshness", "--ping")
    assert switch.calls == [f"/ping/{TOKEN}"]


@pytest.mark.parametrize(
    ("status", "said"), [(500, "HTTP 500"), (404, "HTTP 404"), (302, "HTTP 302"), (204, "")]
)
def test_a_ping_that_is_refused_is_said_and_changes_no_verdict(
    pinging: Shop, switch: Switch, status: int, said: str
) -> None:
    pinging.publish()
    switch.status = status
    answer = pinging.run("freshness", "--ping")
    assert (f"The ping of orders failed: {said}." in answer.stderr) is bool(said)
    assert TOKEN not in answer.output + answer.stderr
    assert "/elsewhere" not in switch.calls, "a redirect would take the token elsewhere"


def test_an_answer_that_never_ends_does_not_hold_the_check(pinging: Shop, switch: Switch) -> None:
    pinging.publish()
    switch.drip = True
    assert pinging.json("freshness", "--ping")["ping"] == "failed: no answer within 2 s"


@pytest.mark.parametrize("kind", ["closed port", "no url", "no such file", "not a URL", "unset"])
def test_a_ping_that_cannot_be_sent_is_said_without_the_url(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = {
            "closed port": f"http://127.0.0.1:{closed.getsockname()[1]}/{TOKEN}",
            "not a URL": TOKEN,
            "no url": f"https:///{TOKEN}",
        }.get(kind, "")
        configure(
            shop, **({"url_file": str(tmp_path / "none")} if kind == "no such file" else {"url_env": "U"})
        )
        if url:
            monkeypatch.setenv("U", url)
        shop.publish()
        answer = shop.run("freshness", "--ping")
    assert "OK" in answer.stdout
    assert "The ping of orders failed: " in answer.stderr
    assert TOKEN not in answer.output + answer.stderr


@pytest.mark.parametrize(
    "ping",
    [
        {"url_env": "A", "url_file": "/b"},
        {"fail": True},
        {"url_file": "b"},
        {"url_env": "A", "timeout": "1h"},
    ],
)
def test_a_section_that_cannot_work_is_refused(ping: dict[str, Any]) -> None:
    section = {"primary": {}, "repository": {"url": "file:///r"}, "ping": ping}
    with pytest.raises(ConfigInvalid):
        parse_clusters({"clusters": {"orders": section}})
