"""Binary logs of real primaries, which the tests archive into repositories of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.registry import get_flavor
from tests.support.archives import ReadLog, logs_of, some_transactions
from tests.support.flavors import KITS
from tests.support.unpacked import without


@dataclass(frozen=True)
class Shelf:
    """Binary log files of a primary, the last of which was still open."""

    flavor: Flavor
    logs: list[ReadLog]


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(name, marks=pytest.mark.skipif(without(name), reason=f"RR_WITHOUT={name}"))
        for name in ("mariadb", "mysql")
    ],
)
def shelf(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    kit = KITS[request.param]
    flavor = get_flavor(kit.flavor)
    primary = kit.primary.start(tmp_path_factory.mktemp("shelf"))
    try:
        some_transactions(primary)
        # Before the first of them there are others, as before every archive.
        yield Shelf(flavor, logs_of(primary, flavor)[-3:])
    finally:
        primary.discard()
