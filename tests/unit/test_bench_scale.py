"""The simulation of a large cluster, on a small one."""

from __future__ import annotations

from pathlib import Path

from bench.scale import run


def test_a_small_simulation_measures_what_the_large_one_does(tmp_path: Path) -> None:
    build, opened, plan = run(0.02, 4, 0.1, tmp_path)
    assert (build["id"], opened["id"], plan["id"]) == ("build", "open", "plan")
    assert opened["ok"]
    assert plan["ok"]
    # 19 files of 256 chunks, of which each backup changes one: the older two backups go, with a version of two files.
    assert opened["what"] == f"open a backup of {19 * 256} chunks"
    assert plan["what"].startswith("plan a prune: keep 2, delete 2, condemn ")
