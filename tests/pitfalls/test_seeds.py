"""Pitfalls of logical seeds that people reported, one file a case below ``cases``.

A case has: ``flavor``; ``about``; ``before``: SQL that root runs on the primary before the seed, in one session;
``directories``: made in the primary's data directory; ``after``: SQL to replicate; ``same``: queries with the same
answer on both sides, after the seed and after the replay; ``left_out``: what the copy may lack, and must list.
A case with ``options`` of the primary, or with ``alone``, has a primary of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.copies import Copy, answers, catch_up, differences, primary_of, seeded, undefined
from tests.support.primary import Primary
from tests.support.unpacked import without

CASES: dict[str, dict[str, Any]] = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parent / "cases").glob("*.yaml"))
}
SHARED = [name for name, case in CASES.items() if not case.get("alone") and not case.get("options")]
ALONE = [name for name in CASES if name not in SHARED]


@dataclass
class Seen:
    """What was found of a primary and its copy: after the seed, and after the replay.

    :param answers: of the primary, and of the copy.
    """

    copy: Copy
    differences: list[list[str]] = field(default_factory=list)
    undefined: list[list[str]] = field(default_factory=list)
    answers: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)

    def look(self, primary: Primary, queries: list[str]) -> None:
        self.differences.append(differences(primary, self.copy))
        self.undefined.append(undefined(primary, self.copy))
        with primary.connect() as there, self.copy.server.connect() as here:
            self.answers.append((answers(there, queries), answers(here, queries)))


def _run(names: list[str], root: Path) -> Seen:
    """Seed a primary with the cases *names*, and replay."""
    cases = [CASES[name] for name in names]
    primary = primary_of(cases[0]["flavor"], root / "primary", options=cases[0].get("options", ()))
    try:
        for case in cases:
            for directory in case.get("directories", ()):
                (primary.datadir / directory).mkdir()
            primary.execute(*case["before"])
        queries = [query for case in cases for query in case.get("same", ())]
        with seeded(primary, root / "node") as copy:
            seen = Seen(copy)
            seen.look(primary, queries)
            for case in cases:
                primary.execute(*case.get("after", ["SELECT 1"]))
            catch_up(copy, primary)
            seen.look(primary, queries)
            return seen
    finally:
        primary.discard()


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Seen]:
    if without(request.param):
        pytest.skip(f"RR_WITHOUT={request.param}")
    names = [name for name in SHARED if CASES[name]["flavor"] == request.param]
    return request.param, _run(names, tmp_path_factory.mktemp(f"pitfalls-{request.param}"))


def test_cases_that_share_a_primary(shared: tuple[str, Seen]) -> None:
    flavor, seen = shared
    _assert_same([name for name in SHARED if CASES[name]["flavor"] == flavor], seen)


@pytest.mark.parametrize("name", ALONE)
def test_case_with_a_primary_of_its_own(name: str, tmp_path: Path) -> None:
    if without(CASES[name]["flavor"]):
        pytest.skip(f"RR_WITHOUT={CASES[name]['flavor']}")
    _assert_same([name], _run([name], tmp_path))


def _assert_same(names: list[str], seen: Seen) -> None:
    lacking = sorted(key for name in names for key in CASES[name].get("left_out", ()))
    assert sorted(seen.copy.left_out) == lacking
    assert seen.differences == [[], []]
    assert seen.undefined == [[], []]
    for there, here in seen.answers:
        assert here == there
