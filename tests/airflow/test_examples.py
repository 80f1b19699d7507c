"""The DAGs that docs/operators.md shows are files that run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import yaml

from airflow_restore_replay.core.cycle.run import run_cycle
from airflow_restore_replay.core.jobs.protocol import Secrets
from airflow_restore_replay.core.repository.format.records import BackupState, Proof
from tests.airflow.support import EXAMPLES, Shipped, dag_bag
from tests.support.mariadb import BACKUP_PASSWORD, MariaDbPrimary
from tests.support.rig import Rig


def test_docs_show_the_files() -> None:
    text = "".join(page.read_text() for page in EXAMPLES.parent.glob("*.md"))
    shown = dict(re.findall(r"<!-- docs/examples/(\S+) -->\n```python\n(.*?)```", text, re.DOTALL))
    assert shown == {path.name: path.read_text() for path in EXAMPLES.glob("*.py")}


def test_examples_parse(cluster_file: object) -> None:
    own = None
    found = set()
    for path in EXAMPLES.glob("*.py"):
        bag = dag_bag(path)
        assert bag.import_errors == {}
        found |= set(bag.dags)
        own = bag.dags["restore_replay_orders"] if path.name == "with_callbacks.py" else own
    drills = {"restore_drill", "weekly_drill"}
    assert found == {*drills, "after_backup", "five_clusters", "restore_replay_orders", "staging_refresh"}
    assert own is not None
    assert {t.retries for t in own.tasks} == {3}
    assert own.get_task("replay.catch_up").deferrable
    assert [c.__name__ for c in own.get_task("quarantine_backup").on_quarantine] == ["tell_the_team"]


def test_restore_drill(cycle: Shipped) -> None:
    (backup,) = cycle.rig.catalog().backups
    ran = cycle.run_dag(example("restore_drill"))
    assert ran.state == "success"
    assert set(ran.states.values()) == {"success"}
    assert ran.results["restore"]["backup_id"] == backup.backup_id
    assert all(check["passed"] for check in ran.results["validate"]["checks"])
    assert len(cycle.rig.catalog().backups) == 1
    cycle.rig.assert_nothing_left()


def test_weekly_drill_needs_no_primary_and_proves_nothing_more(cycle: Shipped) -> None:
    (backup,) = cycle.rig.catalog().backups
    cycle.rig.primary.kill()
    try:
        ran = cycle.run_dag(example("weekly_drill"))
    finally:
        cycle.rig.primary.restart()
    assert set(ran.states.values()) == {"success"}
    assert ran.results["restore"]["backup_id"] == backup.backup_id
    checks = ran.results["validate"]["checks"]
    assert [check["name"] for check in checks] == [
        "error_log",
        "position",
        "cold_pages",
        "check_table",
        "error_log",
    ]
    assert all(check["passed"] for check in checks)
    assert ran.results["validate"]["position"] == backup.manifest.position
    (after,) = cycle.rig.catalog().backups
    assert (after.state, after.proof) == (backup.state, Proof.READ_BACK)
    cycle.rig.assert_nothing_left()


def test_weekly_drill_quarantines_what_is_damaged(cycle: Shipped) -> None:
    (backup,) = cycle.rig.catalog().backups
    cycle.rig.flip_byte(cycle.rig.chunk_of(backup.backup_id, "shop/orders.ibd"))
    ran = cycle.run_dag(example("weekly_drill"))
    assert ran.state == "failed"
    assert ran.of("failed") == {"restore"}
    assert ran.tries["restore"] == 1
    assert cycle.rig.catalog().backup(backup.backup_id).state is BackupState.QUARANTINED
    cycle.rig.assert_nothing_left()


def test_five_clusters_by_mapping(primary: MariaDbPrimary, cycle: Shipped, tmp_path: Path) -> None:
    """Each is named in the grid; one whose backup is damaged fails alone."""
    names = ["orders", "users", "stock", "mails", "search"]
    rigs = {name: Rig(primary, tmp_path / name, overrides={"schedule": None}) for name in names}
    sections = {name: rig.section(primary={"connection": "orders_primary"}) for name, rig in rigs.items()}
    for section in sections.values():
        del section["primary"]["host"], section["primary"]["port"], section["primary"]["user"]
    cycle.cluster_file.write_text(yaml.safe_dump({"clusters": sections}))
    for name, rig in rigs.items():
        ours = msgspec.structs.replace(rig.cluster(), name=name)
        assert run_cycle(ours, secrets=Secrets(primary_password=BACKUP_PASSWORD)).ok
    damage(rigs["stock"])
    ran = cycle.run_dag(example("five_clusters"))
    assert ran.state == "failed"
    good = [name for name in names if name != "stock"]
    assert [ran.mapped[f"cycle.published[{name}]"] for name in good] == ["success"] * 4
    assert ran.mapped["cycle.restore[stock]"] == "failed"
    assert ran.mapped["cycle.release[stock]"] == "success"
    assert "cycle.published[stock]" not in ran.mapped
    for name, rig in rigs.items():
        manifests = list((rig.repository_dir / "manifests").iterdir())
        assert len(manifests) == (1 if name == "stock" else 2), name
        assert not rig.workdir.exists(), name


def damage(rig: Rig) -> None:
    """Flip a byte in every chunk."""
    for path in [*rig.repository_dir.glob("chunks/*/*.0"), *rig.repository_dir.glob("bundles/*/*.0")]:
        rig.flip_byte(path)


def example(dag_id: str) -> Any:
    return dag_bag(EXAMPLES / f"{dag_id}.py").dags[dag_id]
