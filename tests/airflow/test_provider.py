"""What Airflow discovers, and what importing it costs."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import airflow
import jsonschema
import pytest

from airflow_restore_replay.provider_info import get_provider_info
from bench.dag_parse import measure
from tests.airflow.conftest import REPO

PUBLIC = {
    "operators": {
        "AcquireLeaseOperator",
        "ChooseBaseOperator",
        "CreateReplayNodeOperator",
        "DestroyReplayNodeOperator",
        "DiagnoseCycleOperator",
        "PublishedOperator",
        "QuarantineBackupOperator",
        "ReleaseLeaseOperator",
        "RestoreBackupOperator",
        "SeedNodeOperator",
        "SnapshotOperator",
        "ValidateReplicaOperator",
    },
    "sensors": {"BackupFreshnessSensor", "BinlogCatchupSensor"},
    "hooks": {
        "ReplayNodeConnectionHook",
        "ReplayNodeHook",
        "RepositoryConnectionHook",
        "RepositoryHook",
    },
}


def test_provider_info_matches_airflows_schema() -> None:
    path = Path(airflow.__path__[0]) / "provider_info.schema.json"
    jsonschema.validate(get_provider_info(), json.loads(path.read_text()))


def test_every_module_of_the_provider_info_exists_and_holds_the_public_names() -> None:
    for kind, names in PUBLIC.items():
        modules = [importlib.import_module(m) for m in get_provider_info()[kind][0]["python-modules"]]
        package = importlib.import_module(f"airflow_restore_replay.{kind}")
        for name in names:
            assert any(getattr(m, name, None) is getattr(package, name) for m in modules), name
    with pytest.raises(AttributeError):
        _ = importlib.import_module("airflow_restore_replay.operators").NoSuchOperator


def test_operators_have_templates_docs_and_colours() -> None:
    for kind in ("operators", "sensors"):
        package = importlib.import_module(f"airflow_restore_replay.{kind}")
        for name in PUBLIC[kind]:
            operator = getattr(package, name)
            assert {"cluster", "config"} <= set(operator.template_fields), name
            assert operator.__doc__, name
            assert operator.ui_color.startswith("#"), name


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_core_and_cli_import_no_airflow() -> None:
    """Every module of both, in a process where importing Airflow fails."""
    code = """
import importlib, pkgutil, sys
class NoAirflow:
    def find_spec(self, name, path=None, target=None):
        if name == "airflow" or name.startswith("airflow."):
            raise ImportError(f"{name} was imported")
sys.meta_path.insert(0, NoAirflow())
seen = 0
for root in ("airflow_restore_replay.core", "airflow_restore_replay.cli"):
    package = importlib.import_module(root)
    for module in pkgutil.walk_packages(package.__path__, root + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
            seen += 1
print(seen)
"""
    assert int(run_python(code)) > 20


def test_parsing_the_dag_is_cheap(cluster_file: Path) -> None:
    """Beyond Airflow itself: no driver, no object store client, and well under half a second of imports."""
    code = """
import sys, time
import airflow.sdk, airflow.triggers.base
import airflow.providers.standard.operators.branch
from airflow.sdk import DAG, Asset, BaseHook, BaseOperator, BaseSensorOperator, TaskGroup
try:
    from airflow.sdk import CronDataIntervalTimetable
except ImportError:  # Airflow < 3.2, where the first operator of any DAG loads the other module, too
    import airflow.serialization.serialized_objects, airflow.timetables.interval
before = set(sys.modules)
started = time.process_time()
from airflow_restore_replay.dag import build_configured_dags
spent = time.process_time() - started
new = set(sys.modules) - before
heavy = {"pymysql", "obstore", "zstandard", "blake3", "rich", "click"}
print(spent, sorted(heavy & new), len(build_configured_dags()))
"""
    spent, rest = run_python(code).strip().splitlines()[-1].split(" ", 1)
    assert rest == "[] 1"
    assert float(spent) < 0.5


def test_bench_of_parsing_runs() -> None:
    """Twenty clusters with Slack; the limit is in the bench itself."""
    result = measure(clusters=20, rounds=1)
    assert (result["dags"], result["forbidden"]) == (20, [])
    assert result["own_modules"] < 75


def test_links_and_notifications_exist() -> None:
    info = get_provider_info()
    for path in (*info["extra-links"], *info["notifications"]):
        module, _, name = path.rpartition(".")
        assert getattr(importlib.import_module(module), name).__doc__, path


def test_plugin_is_light() -> None:
    code = """
import sys
import airflow.plugins_manager
before = set(sys.modules)
from airflow_restore_replay.plugin import RestoreReplayPlugin
print(RestoreReplayPlugin.name, sorted(m for m in set(sys.modules) - before))
"""
    name, modules = run_python(code).strip().splitlines()[-1].split(" ", 1)
    assert name == "restore_replay"
    # Airflow itself may have imported the package before, to read its entry points.
    loaded = set(ast.literal_eval(modules)) - {"airflow_restore_replay"}
    assert loaded == {"airflow_restore_replay.plugin"}
