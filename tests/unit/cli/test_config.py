"""``config check`` and ``config schema``, groups in ``freshness``, and connections without Airflow."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

import airflow_restore_replay
from airflow_restore_replay.cli.main import cli
from airflow_restore_replay.core.config.reading import parse_fleet
from airflow_restore_replay.core.config.schema import cluster_file_schema
from tests.unit.cli.conftest import Shop, cluster_file

ROOT = Path(__file__).parents[3]


def configured(shop: Shop, names: list[str], groups: dict[str, list[str]], **sections: Any) -> None:
    """Write the file: the first cluster has the shop's repository, the others have none yet."""
    raw = yaml.safe_load(cluster_file(names, shop.store))
    for name, section in sections.items():
        raw["clusters"][name] |= section
    raw["groups"] = {name: {"clusters": clusters} for name, clusters in groups.items()}
    shop.config.write_text(yaml.safe_dump(raw))


def test_check_shows_all_mistakes_of_all_clusters(shop: Shop) -> None:
    configured(
        shop, ["orders", "bb", "cc"], {}, bb={"retention": {"dayly": 1}, "nod": {}}, cc={"max_age": "x"}
    )
    out = shop.run("config", "check", exit_code=2).stdout
    assert "clusters.bb.retention.dayly; allowed here" in out
    assert "Did you mean clusters.bb.retention.daily?" in out
    assert "clusters.bb.nod" in out
    assert "clusters.cc.max_age" in out
    assert f"1 of 3 clusters are right; 3 mistakes in {shop.config}." in out
    answer = shop.json("config", "check", exit_code=2)
    assert answer["clusters"] == {"bb": False, "cc": False, "orders": True}
    assert {m["path"] for m in answer["mistakes"]} == {
        "clusters.bb.retention.dayly",
        "clusters.bb.nod",
        "clusters.cc.max_age",
    }
    assert all(m["file"] == str(shop.config) and m["line"] for m in answer["mistakes"])
    configured(shop, ["orders"], {})
    assert "1 of 1 clusters are right; 0 mistakes" in shop.run("config", "check").stdout


def test_p2_a_mistake_in_one_cluster_stops_no_command_of_another(shop: Shop) -> None:
    configured(shop, ["orders", "bb"], {}, bb={"retention": {"dayly": 1}})
    shop.publish()
    for command in ("list", "freshness", "verify"):
        shop.run(command, "--cluster", "orders")
    assert (
        "unknown key clusters.bb.retention.dayly"
        in shop.run("freshness", "--cluster", "bb", exit_code=3).stdout
    )
    assert "clusters.bb.retention.dayly" in shop.run("list", "--cluster", "bb", exit_code=2).stderr
    assert "Did you mean orders?" in shop.run("list", "--cluster", "order", exit_code=2).stderr
    assert "bb, orders" in shop.run("list", exit_code=2).stderr
    reported = shop.run("report", exit_code=2)
    assert "orders" in reported.stdout
    assert "clusters.bb.retention.dayly" in reported.stderr


def test_freshness_of_a_group_is_that_of_the_worst(shop: Shop, tmp_path: Path) -> None:
    configured(shop, ["orders", "users"], {"shop": ["orders", "users"], "one": ["orders"]})
    fresh = shop.publish().backup_id
    line = shop.run("freshness", "--group", "one").stdout
    assert line.startswith(f"RESTORE-REPLAY OK - one: 1 of 1 are fresh; orders: backup {fresh} (read_back)")
    assert "| orders_age=36" in line
    line = shop.run("freshness", "--group", "shop", exit_code=2).stdout
    assert "CRITICAL - shop: 1 of 2 are fresh; users: the age of the newest backup is unknown" in line
    assert "users_age=U" in line
    assert line.count("|") == 1
    answer = shop.json("freshness", "--group", "shop", exit_code=2)
    assert answer["status"] == "CRITICAL"
    assert {c["cluster"]: c["status"] for c in answer["clusters"]} == {"orders": "OK", "users": "CRITICAL"}
    shop.run("freshness", "--group", "one", "--max-age", "5m", exit_code=2)


def test_a_shard_without_a_healthy_backup_or_that_the_file_lacks_is_an_alarm(shop: Shop) -> None:
    configured(shop, ["orders", "bb"], {"shop": ["orders", "user", "bb"]}, bb={"nod": {}})
    backup = shop.publish(age=timedelta(hours=2))
    line = shop.run("freshness", "--group", "shop", exit_code=2).stdout
    assert "CRITICAL - shop: 1 of 3 are fresh; user: " in line
    assert "has no cluster 'user'" in line
    assert "unknown key clusters.bb.nod" in line
    shop.quarantine(backup.backup_id)
    configured(shop, ["orders"], {"shop": ["orders"]})
    assert "orders: no healthy backup" in shop.run("freshness", "--group", "shop", exit_code=2).stdout


def test_a_group_is_named_rightly_or_refused(shop: Shop, tmp_path: Path) -> None:
    configured(shop, ["orders"], {"shop": ["orders", "gone"]})
    shop.publish()
    assert "Did you mean shop?" in shop.run("freshness", "--group", "shp", exit_code=3).stdout
    both = shop.run("freshness", "--group", "shop", "--cluster", "orders", exit_code=3)
    assert "exclude each other" in both.stderr
    to = ["--to", str(tmp_path / "x")]
    refused = shop.run("restore", "--group", "shop", *to, "--at", "1 minute ago", exit_code=2).stderr
    assert "The group shop is not complete: gone:" in refused
    assert "--group needs --at and --to" in shop.run("restore", "--group", "shop", *to, exit_code=2).stderr
    wrong = ("restore", "--group", "shop", *to, "--at", "1 minute ago", "--start", "--as", "x")
    assert "without --as, --start" in shop.run(*wrong, exit_code=2).stderr
    assert not (tmp_path / "x").exists()


def test_connections_need_airflow_and_both_ways_out_are_named(shop: Shop) -> None:
    """Where Airflow is not installed: a base install, here by a finder that does not find it."""
    configured(shop, ["orders"], {}, orders={"primary": {"connection": "orders_primary"}})
    shop.publish()
    without = (
        "import sys, importlib.abc\n"
        "import importlib.util as u; found = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name.split('.')[0] == 'airflow' else found(name, *a)\n"
        "from airflow_restore_replay.cli.main import main; main()"
    )

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", without, *arguments, "--config", str(shop.config)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    for command in ("doctor", "cycle", "archive"):
        done = run(command)
        assert done.returncode == 2
        assert "clusters.orders.primary.connection: only Airflow can resolve the connection" in done.stderr
        assert (
            "Run the command where Airflow is installed, or give primary.host, port, user and" in done.stderr
        )
    assert run("list").returncode == 0, "the primary's connection is not asked for"


def schema_accepts(raw: Any) -> bool:
    validator = jsonschema.Draft202012Validator(cluster_file_schema())
    return not list(validator.iter_errors(raw))


def section(**more: Any) -> dict[str, Any]:
    return {"primary": {"host": "x"}, "repository": {"url": "file:///b"}, **more}


@pytest.mark.parametrize(
    "raw",
    [
        {"clusters": {"orders": section()}},
        {"clusters": {"orders": section(max_age="2d", jitter="20m", schedule=None, retention={"daily": 3})}},
        {"clusters": {"orders": section(transfer={"rate_limit": 10**8}, node={"buffer_pool": "1GiB"})}},
        {
            "clusters": {
                "orders": section(validate={"assertions": [{"name": "a", "query": "q", "expect": 1}]})
            }
        },
        {
            "defaults": {"primary": {"host": "x"}},
            "clusters": {"orders": {"repository": {"url": "file:///b"}}},
        },
        {"clusters": {"a": section()}, "groups": {"g": {"clusters": ["a"]}}},
        {"clusters": {"orders": {"primary": {}}}},
        {"clusters": {"orders": section(retention={"dayly": 3})}},
        {"clusters": {"orders": section(max_age="soon")}},
        {"clusters": {"orders": section(max_age=0)}},
        {"clusters": {"orders": section(seed={"method": "copy"})}},
        {"clusters": {"orders": section(primary={"port": 70000})}},
        {"clusters": {"orders": section(name="x")}},
        {"clusters": {"orders": section(validate={"assertions": [{"query": "q", "expect": 1}]})}},
        {"defaults": {"retention": {"dayly": 1}}, "clusters": {"orders": section()}},
        {"clusters": {"a b": section()}},
        {"clusters": {}, "grups": {}},
        {"clusters": {"a": section()}, "groups": {"g": {"clusters": []}}},
        {"clusters": []},
        [],
    ],
)
def test_the_schema_accepts_and_refuses_what_the_parser_does(raw: Any) -> None:
    assert schema_accepts(raw) == (not parse_fleet(raw, "c.yaml").mistakes)


def test_the_published_schema_is_current() -> None:
    jsonschema.Draft202012Validator.check_schema(cluster_file_schema())
    package = Path(airflow_restore_replay.__file__).parent
    printed = json.loads(CliRunner().invoke(cli, ["config", "schema"]).stdout)
    for path in (package / "clusters.schema.json", ROOT / "docs" / "clusters.schema.json"):
        assert json.loads(path.read_text()) == printed, (
            "run: restore-replay config schema > clusters.schema.json"
        )


def test_a_directory_is_a_configuration(shop: Shop, tmp_path: Path) -> None:
    directory = tmp_path / "clusters.d"
    directory.mkdir()
    shutil.copy(shop.config, directory / "a.yaml")
    (directory / "b.yaml").write_text("clusters: [")
    shop.publish()
    shop.config = directory
    shop.run("list", "--cluster", "orders")
    assert "b.yaml is not YAML" in shop.run("config", "check", exit_code=2).stdout
