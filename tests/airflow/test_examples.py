"""The DAGs that docs/operators.md shows are files that run."""

from __future__ import annotations

import re

from tests.airflow.support import EXAMPLES, Shipped, dag_bag


def test_docs_show_the_files() -> None:
    text = (EXAMPLES.parent / "operators.md").read_text()
    shown = dict(re.findall(r"<!-- docs/examples/(\S+) -->\n```python\n(.*?)```", text, re.DOTALL))
    assert shown == {path.name: path.read_text() for path in EXAMPLES.glob("*.py")}


def test_examples_parse(cluster_file: object) -> None:
    bag = dag_bag(EXAMPLES)
    assert bag.import_errors == {}
    assert set(bag.dags) == {"restore_drill", "after_backup", "restore_replay_orders"}
    own = bag.dags["restore_replay_orders"]
    assert {t.retries for t in own.tasks} == {3}
    assert own.get_task("replay.catch_up").deferrable
    assert own.get_task("quarantine_backup").on_quarantine.__name__ == "tell_the_team"


def test_restore_drill(cycle: Shipped) -> None:
    (backup,) = cycle.rig.catalog().backups
    ran = cycle.run_dag(dag_bag(EXAMPLES).dags["restore_drill"])
    assert ran.state == "success"
    assert set(ran.states.values()) == {"success"}
    assert ran.results["restore"]["backup_id"] == backup.backup_id
    assert all(check["passed"] for check in ran.results["validate"]["checks"])
    assert len(cycle.rig.catalog().backups) == 1
    cycle.rig.assert_nothing_left()
