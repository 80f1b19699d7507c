"""Nothing is blamed where nothing is wrong: a few cycles of the hunt; docs/validation.md describes longer ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.flavors import Kit, on_both
from tests.support.hunt import hunt


@pytest.mark.sweep(
    guards="no backup and no primary is blamed under random load, or under the servers' own tests"
)
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("load", "cycles"), [("mixed", 3), ("hostile", 10), ("regression", 10)])
@on_both
def test_a_few_cycles_under_random_load_blame_nobody(
    kit: Kit, tmp_path: Path, load: str, cycles: int
) -> None:
    hunted = list(hunt(tmp_path, kit.flavor, seed=7, cycles=cycles, load=load))
    assert [cycle.wrong for cycle in hunted] == [""] * cycles, "\n".join(str(cycle) for cycle in hunted)
    assert all(cycle.statements for cycle in hunted)
    assert any(cycle.rows for cycle in hunted)
