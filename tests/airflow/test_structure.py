"""The shipped DAG has the tasks, edges and trigger rules of docs/architecture.md, "The cycle as a DAG"."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.exceptions import ParamValidationError

from airflow_restore_replay.compat import AirflowFailException
from airflow_restore_replay.core.config.schedule import staggered
from airflow_restore_replay.core.decisions.attempts import ATTEMPTS
from tests.airflow.support import dag_bag, shipped_dag

#: each of the shipped files reads the cluster file
SHIPPED = {"restore_replay.py", "restore_drill.py", "restore_replay_mistakes.py", "backup_freshness.py"}
#: task → (trigger rule, downstream tasks)
EXPECTED = {
    "acquire_lease": ("all_success", {"choose_base", "release_lease"}),
    "choose_base": ("all_success", {"replay.create_node", "diagnose"}),
    "replay.create_node": ("all_success", {"replay.restore_backup", "replay.destroy_node"}),
    "replay.restore_backup": ("all_success", {"replay.catch_up"}),
    "replay.catch_up": ("all_success", {"replay.validate"}),
    "replay.validate": ("all_success", {"replay.snapshot"}),
    "replay.snapshot": ("all_success", {"replay.destroy_node", "diagnose"}),
    "replay.destroy_node": ("all_done_setup_success", {"release_lease"}),
    "diagnose": ("all_done", {"published", "quarantine_backup", "full.create_node"}),
    "quarantine_backup": ("all_success", {"full.create_node"}),
    "full.create_node": ("none_failed_min_one_success", {"full.seed", "full.destroy_node"}),
    "full.seed": ("all_success", {"full.catch_up"}),
    "full.catch_up": ("all_success", {"full.validate"}),
    "full.validate": ("all_success", {"full.snapshot"}),
    "full.snapshot": ("all_success", {"full.destroy_node", "published"}),
    "full.destroy_node": ("all_done_setup_success", {"release_lease"}),
    "published": ("none_failed_min_one_success", {"prune"}),
    "prune": ("all_success", {"release_lease"}),
    "release_lease": ("all_done_setup_success", set()),
}


def test_tasks_edges_and_trigger_rules(cluster_file: Path) -> None:
    dag = shipped_dag()
    found = {t.task_id: (str(t.trigger_rule.value), set(t.downstream_task_ids)) for t in dag.tasks}
    assert found == EXPECTED


#: what ``fallback: older_base`` puts between the replay attempt and the fresh full
OLDER = {
    "diagnose": ("all_done", {"published", "quarantine_backup", "choose_older", "full.create_node"}),
    "quarantine_backup": ("all_success", {"choose_older"}),
    "choose_older": ("none_failed_min_one_success", {"older.create_node", "diagnose_older"}),
    "older.create_node": ("all_success", {"older.restore_backup", "older.destroy_node"}),
    "older.restore_backup": ("all_success", {"older.catch_up"}),
    "older.catch_up": ("all_success", {"older.validate"}),
    "older.validate": ("all_success", {"older.snapshot"}),
    "older.snapshot": ("all_success", {"older.destroy_node", "diagnose_older"}),
    "older.destroy_node": ("all_done_setup_success", {"release_lease"}),
    "diagnose_older": ("all_done", {"published", "quarantine_backup_older", "full.create_node"}),
    "quarantine_backup_older": ("all_success", {"full.create_node"}),
}


def test_a_node_that_restores_a_backup_gets_that_backups_release(cluster_file: Path) -> None:
    """Each attempt that restores names its backup when the node is made: its image is chosen by that."""
    clusters = yaml.safe_load(cluster_file.read_text())
    clusters["clusters"]["orders"] |= {"fallback": "older_base", "prove": "restored"}
    cluster_file.write_text(yaml.safe_dump(clusters))
    dag = shipped_dag()
    for name, attempt in ATTEMPTS.items():
        create: Any = dag.get_task(f"{name}.create_node")
        restore: Any = dag.task_dict.get(f"{name}.restore_backup")
        assert (restore is not None) == attempt.restores
        assert vars(create.backup_id) == vars(restore.backup_id) if restore else create.backup_id is None, (
            name
        )


def test_an_older_base_comes_before_the_fresh_full(cluster_file: Path) -> None:
    clusters = yaml.safe_load(cluster_file.read_text())
    clusters["clusters"]["orders"]["fallback"] = "older_base"
    cluster_file.write_text(yaml.safe_dump(clusters))
    found = {t.task_id: (str(t.trigger_rule.value), set(t.downstream_task_ids)) for t in shipped_dag().tasks}
    assert found == EXPECTED | OLDER


#: what ``prove: restored`` puts between publishing and pruning
PROVE = {
    "published": ("none_failed_min_one_success", {"prove.create_node"}),
    "prove.create_node": ("all_success", {"prove.restore_backup", "prove.destroy_node"}),
    "prove.restore_backup": ("all_success", {"prove.validate", "quarantine_backup_prove"}),
    "prove.validate": ("all_success", {"prove.destroy_node", "quarantine_backup_prove", "proven"}),
    "prove.destroy_node": ("all_done_setup_success", {"release_lease"}),
    "quarantine_backup_prove": ("one_failed", {"release_lease"}),
    "proven": ("none_failed_min_one_success", {"prune"}),
}


def test_a_proof_comes_between_publishing_and_all_who_wait_for_it(cluster_file: Path) -> None:
    clusters = yaml.safe_load(cluster_file.read_text())
    clusters["clusters"]["orders"]["prove"] = "restored"
    cluster_file.write_text(yaml.safe_dump(clusters))
    dag = shipped_dag()
    found = {t.task_id: (str(t.trigger_rule.value), set(t.downstream_task_ids)) for t in dag.tasks}
    assert found == EXPECTED | PROVE
    assert dag.get_task("prove.create_node").is_setup
    assert dag.get_task("prove.destroy_node").is_teardown
    assert dag.get_task("published").outlets == []
    assert [a.name for a in dag.get_task("proven").outlets] == ["restore_replay_orders"]
    assert dag.get_task("prove.restore_backup").standalone
    assert dag.get_task("prove.validate").standalone
    hours = {t.task_id: t.execution_timeout.total_seconds() / 3600 for t in dag.tasks}
    assert hours["prove.restore_backup"] == hours["prove.validate"] == 24


def test_setups_and_teardowns(cluster_file: Path) -> None:
    dag = shipped_dag()
    assert {t.task_id for t in dag.tasks if t.is_setup} == {
        "acquire_lease",
        "replay.create_node",
        "full.create_node",
    }
    assert {t.task_id for t in dag.tasks if t.is_teardown} == {
        "release_lease",
        "replay.destroy_node",
        "full.destroy_node",
    }
    assert not any(t.on_failure_fail_dagrun for t in dag.tasks if t.is_teardown)


def test_settings_of_the_dag(cluster_file: Path) -> None:
    dag = shipped_dag()
    assert dag.catchup is False
    assert dag.max_active_runs == 1
    assert dag.dagrun_timeout is None
    assert {t.pool for t in dag.tasks} == {"default_pool"}
    assert {t.queue for t in dag.tasks} == {"db1"}
    assert {t.retries for t in dag.tasks} == {2}
    assert type(dag.timetable).__name__ == "CronDataIntervalTimetable"
    assert set(dag.params) == {"force_full", "base_backup_id", "as_of"}
    assert dag.params["as_of"] is None
    assert dag.tags == {"restore-replay", "flavor:mariadb", "cluster:orders"}
    assert dag.params["force_full"] is False
    assert dag.params["base_backup_id"] is None
    assert "orders" in dag.doc_md
    assert "quarantine_backup" in dag.doc_md
    # Airflow's page shows a diagram of characters as one line.
    assert not set("─│▶▼◀```") & set(dag.doc_md.replace("`", ""))


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("base_backup_id", "20261121T030000Z-1f3a9c2e", "the newest"),
        ("as_of", "2026-08-21T03:00:00Z", "yesterday"),
    ],
)
def test_a_parameter_takes_what_its_form_says(cluster_file: Path, name: str, right: str, wrong: str) -> None:
    param = shipped_dag().params.get_param(name)
    assert (param.resolve(None), param.resolve(right)) == (None, right)
    with pytest.raises(ParamValidationError):
        param.resolve(wrong)


def test_every_task_has_a_timeout_beyond_what_ends_its_work_from_within(cluster_file: Path) -> None:
    dag = shipped_dag()
    hours = {t.task_id: t.execution_timeout.total_seconds() / 3600 for t in dag.tasks}
    assert hours["acquire_lease"] == pytest.approx(0.5 + 1 / 3600), "lease.wait is 1s here"
    assert hours["replay.catch_up"] == hours["full.catch_up"] == 12 + 48
    assert hours["replay.restore_backup"] == hours["replay.validate"] == hours["full.snapshot"] == 24
    assert hours["full.seed"] == 48
    assert hours["prune"] == 6
    short = {"choose_base", "diagnose", "quarantine_backup", "published", "release_lease"}
    short |= {f"{group}.{name}" for group in ("replay", "full") for name in ("create_node", "destroy_node")}
    assert {task_id for task_id, h in hours.items() if h == 0.5} == short


def test_timeouts_come_from_the_cluster_and_from_ones_own_arguments(cluster_file: Path) -> None:
    from airflow_restore_replay.dag import build_configured_dags

    clusters = yaml.safe_load(cluster_file.read_text())
    clusters["clusters"]["orders"] |= {"timeouts": {"restore": "3h"}, "catch_up": {"deadline": "1h"}}
    cluster_file.write_text(yaml.safe_dump(clusters))
    dag = shipped_dag()
    assert dag.get_task("replay.restore_backup").execution_timeout == timedelta(hours=3)
    assert dag.get_task("replay.catch_up").execution_timeout == timedelta(hours=49)
    own = build_configured_dags(default_args={"execution_timeout": timedelta(hours=7)})
    tasks = own["restore_replay_orders"].tasks
    assert {t.execution_timeout for t in tasks} == {timedelta(hours=7)}


def test_a_task_builds_only_its_own_dag(cluster_file: Path) -> None:
    """Each task reads the DAG file; with 1 000 clusters that must not take a minute of CPU."""
    from airflow.sdk.definitions._internal.dag_parsing_context import _airflow_parsing_context_manager

    from airflow_restore_replay.dag import build_configured_dags

    orders = yaml.safe_load(cluster_file.read_text())["clusters"]["orders"]
    others = {f"other_{n}": {**orders, "repository": {"url": f"s3://other/{n}"}} for n in range(3)}
    cluster_file.write_text(yaml.safe_dump({"clusters": {"orders": orders, **others}}))
    assert len(build_configured_dags()) == 4
    with _airflow_parsing_context_manager(dag_id="restore_replay_other_1", task_id="published"):
        assert list(build_configured_dags()) == ["restore_replay_other_1"]
    with _airflow_parsing_context_manager(dag_id="a_dag_that_uses_them", task_id="t"):
        assert len(build_configured_dags()) == 4


def test_who_is_told_of_what(cluster_file: Path) -> None:
    from airflow_restore_replay.dag import build_configured_dags
    from airflow_restore_replay.notifications import Announcer

    def mine(context: object) -> None:
        return None

    everything, runs = Announcer(mine), Announcer(lambda context: None, on=["run_failure"])
    dags = build_configured_dags(
        notifiers=[everything, runs], on_failure_callback=mine, on_run_failure_callback=mine
    )
    dag: Any = dags["restore_replay_orders"]
    told = {t.task_id: [getattr(c, "notifier", c) for c in t.on_failure_callback] for t in dag.tasks}
    assert told.pop("diagnose") == [mine], "the run says it"
    assert set(map(tuple, told.values())) == {(mine, mine)}
    assert [getattr(c, "notifier", c) for c in dag.on_failure_callback] == [mine, mine, runs.notifier]
    assert [c.notifier for c in dag.get_task("quarantine_backup").on_quarantine] == [mine]
    assert [c.notifier for c in dag.get_task("published").on_recovery] == [mine]
    assert [c.notifier for c in dag.get_task("published").on_gap] == [mine]


def test_nobody_is_told_unless_configured(cluster_file: Path) -> None:
    dag = shipped_dag()
    assert not dag.on_failure_callback
    assert not any(t.on_failure_callback for t in dag.tasks)


def test_published_updates_the_clusters_asset(cluster_file: Path) -> None:
    outlets = shipped_dag().get_task("published").outlets
    assert [(a.name, a.uri) for a in outlets] == [("restore_replay_orders", "restore-replay://orders/backup")]


def test_one_dag_per_cluster(cluster_file: Path) -> None:
    clusters = yaml.safe_load(cluster_file.read_text())
    second = dict(clusters["clusters"]["orders"], repository={"url": "s3://bucket/users"}, schedule=None)
    clusters["clusters"]["users"] = second
    cluster_file.write_text(yaml.safe_dump(clusters))
    bag = dag_bag()
    assert bag.import_errors == {}
    assert set(bag.dags) == {"restore_replay_orders", "restore_replay_users"}


def test_branches_stay_inside_a_task_group_of_ones_own(cluster_file: Path) -> None:
    from airflow.sdk import DAG

    from airflow_restore_replay.dag.cycle_tasks import restore_replay_task_group
    from airflow_restore_replay.hooks.clusters import find_cluster

    with DAG("mine", schedule=None) as dag:
        group = restore_replay_task_group(find_cluster("orders"), group_id="backup")
    assert set(dag.task_dict) == {f"backup.{task_id}" for task_id in EXPECTED}
    assert group.published.task_id == "backup.published"
    diagnose: Any = dag.get_task("backup.diagnose")
    followed = {diagnose.published_task_id, diagnose.quarantine_task_id, diagnose.full_task_id}
    assert followed == set(diagnose.downstream_task_ids)
    assert diagnose.choice.task_id == "backup.choose_base"
    choose: Any = dag.get_task("backup.choose_base")
    assert {choose.replay_task_id, choose.no_base_task_id} == set(choose.downstream_task_ids)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"retention": {"min_count": 0}}, "min_count"),
        ({"lease": {"wiat": "1h"}}, "clusters.orders.lease.wiat"),
        ({"max_age": "-3h"}, "max_age"),
    ],
)
def test_p2_wrong_cluster_file_is_an_import_error_that_names_the_key(
    cluster_file: Path, change: dict[str, object], named: str
) -> None:
    clusters = yaml.safe_load(cluster_file.read_text())
    clusters["clusters"]["orders"] |= change
    cluster_file.write_text(yaml.safe_dump(clusters))
    errors = dag_bag().import_errors
    assert {Path(file).name for file in errors} == SHIPPED
    assert all(named in error and "ConfigInvalid" in error for error in errors.values())


def test_p2_a_mistake_in_one_cluster_stops_no_dag_of_another(cluster_file: Path) -> None:
    """An import error makes all DAGs of its file stale, so it is that of another file."""
    raw = yaml.safe_load(cluster_file.read_text())
    orders = raw["clusters"]["orders"]
    url = {"repository": {"url": "s3://bucket/bb"}}
    raw["clusters"]["bb"] = {**orders, **url, "retention": {"dayly": 3}}
    cluster_file.write_text(yaml.safe_dump(raw))
    bag = dag_bag()
    assert {Path(file).name for file in bag.import_errors} == {"restore_replay_mistakes.py"}
    (error,) = bag.import_errors.values()
    assert "unknown key clusters.bb.retention.dayly" in error
    assert "Did you mean clusters.bb.retention.daily?" in error
    assert set(bag.dags) == {"restore_replay_orders", "restore_replay_bb"}
    assert set(bag.dags["restore_replay_orders"].task_dict) == set(EXPECTED)
    stopped = bag.dags["restore_replay_bb"]
    assert "misconfigured" in stopped.tags
    assert "clusters.bb.retention.dayly" in stopped.doc_md
    (task,) = stopped.tasks
    with pytest.raises(AirflowFailException, match=r"unknown key clusters\.bb\.retention\.dayly"):
        task.execute({})


def test_clusters_of_one_schedule_start_one_after_the_other_with_jitter(cluster_file: Path) -> None:
    raw = yaml.safe_load(cluster_file.read_text())
    orders = raw["clusters"]["orders"] | {"schedule": "0 3 * * *"}
    names = [f"shop{n}" for n in range(8)]
    raw["defaults"] = {"jitter": "20m"}
    raw["clusters"] = {name: orders | {"repository": {"url": f"s3://bucket/{name}"}} for name in names}
    cluster_file.write_text(yaml.safe_dump(raw))
    dags = dag_bag().dags
    tables = [dags[f"restore_replay_{name}"].timetable for name in names]
    # It has another name since Airflow 3.2.
    starts = [getattr(table, "expression", None) or table._expression for table in tables]
    assert starts == [staggered("0 3 * * *", name, 1200) for name in names]
    assert len(set(starts)) > 4


def test_no_cluster_file_is_an_import_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESTORE_REPLAY_CONFIG", raising=False)
    errors = dag_bag().import_errors
    assert {Path(file).name for file in errors} == SHIPPED
    assert all("Set RESTORE_REPLAY_CONFIG" in error for error in errors.values())


def test_the_dag_survives_serialization_unchanged(cluster_file: Path) -> None:
    """The same file gives the same DAG, or each parse would be a new version."""
    from airflow.serialization import serialized_objects

    # It has another name since Airflow 3.2.
    names: Any = vars(serialized_objects)
    found = names.get("DagSerialization") or names["SerializedDAG"]
    first, second = (found.to_dict(shipped_dag()) for _ in range(2))
    assert first == second
