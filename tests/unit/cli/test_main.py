"""What all commands share: choosing the cluster, errors, exit codes."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from airflow_restore_replay.cli.exit_codes import Exit, exit_code
from airflow_restore_replay.cli.main import cli
from airflow_restore_replay.core import errors
from airflow_restore_replay.core.errors.failure import Failure
from tests.unit.cli.conftest import Shop, cluster_file


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.StoreFailed("x"), Exit.ENVIRONMENT),
        (errors.ConfigInvalid("x"), Exit.REFUSED),
        (errors.SourceCorrupt("x"), Exit.SOURCE),
        (errors.ChunkMissing("x"), Exit.BACKUP),
        (errors.BinlogPurged("x"), Exit.STRANDED),
        (ValueError("x"), Exit.INTERNAL),
    ],
)
def test_exit_codes_say_whom_an_error_blames(error: Exception, code: Exit) -> None:
    assert exit_code(Failure.of(error)) == code


def test_a_wrong_key_is_named_and_refused(shop: Shop) -> None:
    shop.config.write_text(shop.config.read_text() + "    shedule: daily\n")
    result = shop.run("list", exit_code=2)
    assert "clusters.orders.shedule" in result.stderr.replace("\n", "")


def test_of_several_clusters_one_must_be_named(shop: Shop) -> None:
    shop.config.write_text(cluster_file(["orders", "billing"], shop.store))
    assert "billing, orders" in shop.run("list", exit_code=2).stderr
    assert shop.json("list", "--cluster", "orders")["cluster"] == "orders"


def test_the_file_may_come_from_the_environment(shop: Shop) -> None:
    result = CliRunner(env={"RESTORE_REPLAY_CONFIG": str(shop.config)}).invoke(cli, ["list", "--json"])
    assert result.exit_code == 0


def test_debug_shows_the_exception(shop: Shop) -> None:
    result = CliRunner().invoke(cli, ["--debug", "show", "nothing", "--config", str(shop.config)])
    assert isinstance(result.exception, errors.NoSuchBackup)


def test_every_command_explains_itself() -> None:
    listed = CliRunner().invoke(cli, ["--help"]).output
    for name in ("cycle", "list", "show", "restore", "freshness", "release", "node", "key"):
        assert f"\n  {name} " in listed
        assert CliRunner().invoke(cli, [name, "--help"]).exit_code == 0


def test_the_command_line_loads_no_airflow(tmp_path: Path) -> None:
    (tmp_path / "airflow.py").write_text("raise AssertionError('imported')")
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + (
        "from airflow_restore_replay.cli.main import cli\n"
        "for name in cli.list_commands(None): cli.get_command(None, name)\n"
        "assert 'airflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_cycle_as_of_a_past_time_says_what_is_missing(shop: Shop) -> None:
    backup = shop.publish(age=timedelta(hours=1))
    result = shop.json("cycle", "--as-of", "2020-02-29T03:00:00+05:45", exit_code=2)
    assert result["as_of"] == "2020-02-28T21:15:00Z"
    assert f"the oldest healthy backup, {backup.backup_id}, is from" in result["failure"]["message"]
    assert (result["ok"], result["steps"]) == (False, {})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--as-of", "2020-02-29T03:00:00"], "has no time zone"),
        (["--as-of", "yesterday"], "is not a time"),
        (["--as-of", "2020-02-29T03:00:00Z", "--full"], "today's data"),
    ],
)
def test_a_past_time_must_be_one(shop: Shop, options: list[str], told: str) -> None:
    assert told in " ".join(shop.run("cycle", *options, exit_code=2).stderr.split())
