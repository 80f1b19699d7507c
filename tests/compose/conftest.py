"""The tour, as ``docker compose up`` starts it, on an engine of its own; once for all of these tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.compose import Compose, TourApi
from tests.support.dockerd import Dockerd
from tests.support.unpacked import without


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(
                pytest.mark.sweep(guards="the tour of docs/tour.md, as `docker compose up` starts it")
            )
            item.add_marker(pytest.mark.timeout(2400))


@dataclass
class Tour:
    engine: Dockerd
    compose: Compose
    api: TourApi


def end(compose: Compose) -> None:
    """As docs/tour.md says, during a cycle or not."""
    compose("stop", "--timeout", "5", "scheduler", "triggerer", "worker-1", "worker-2")
    reap = ("restore-replay", "node", "reap", "--all", "--cluster", "shop")
    compose("run", "--rm", "-T", "--no-deps", "worker-1", *reap)
    compose("down", "--volumes", "--timeout", "20")


@pytest.fixture(scope="session")
def tour() -> Iterator[Tour]:
    if without("docker") or without("mysql"):
        pytest.skip("RR_WITHOUT=docker or mysql")
    with Dockerd() as engine:
        compose = Compose(engine.url)
        compose.build()
        try:
            compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "900")
            yield Tour(engine, compose, TourApi(compose))
        finally:
            end(compose)
