"""Many nodes, one triggerer; ``bench/triggerer_load.py`` measures how little it suffers."""

from __future__ import annotations

from bench.triggerer_load import measure


def test_fifty_watches_in_one_loop_all_see_their_jobs_end() -> None:
    measured = measure(nodes=50, seconds=1.0)
    assert (measured.nodes, measured.completed) == (50, 50)
