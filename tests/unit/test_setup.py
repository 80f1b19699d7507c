"""What ``tools/setup`` would install for which target, and how its steps run; nothing is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EVERYTHING = "airflow slack ssh docker images store docs dev"
SWITCHES = ("FLAVOR", "RUNTIME", "RR_WITHOUT", "SKIP_APT", "PYTHON")


def run(*argv: str, **switches: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    return subprocess.run(
        argv, cwd=ROOT, env={**env, **switches}, capture_output=True, text=True, check=False
    )


def plan(*names: str, **switches: str) -> tuple[list[str], str]:
    """Return steps in their order, and the extras of ``.venv``."""
    done = run("tools/setup", "--dry-run", *names, **switches)
    assert done.returncode == 0, done.stderr
    steps = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    return list(steps), steps.get("venv", "").rpartition(", with ")[2]


@pytest.mark.parametrize(
    ("target", "switches", "steps", "extras"),
    [
        ("unit", {}, "compiler venv", EVERYTHING),
        ("lint", {}, "compiler venv", EVERYTHING),
        ("docs", {}, "compiler venv", "docs"),
        ("demo", {}, "compiler mariadb venv", "airflow"),
        ("up", {}, "compiler mariadb postgres venv", "airflow postgres"),
        ("demo", {"FLAVOR": "mysql"}, "compiler venv mysql", "airflow"),
        (
            "demo",
            {"RUNTIME": "docker"},
            "compiler mariadb docker venv base-bookworm",
            "airflow docker images store",
        ),
        (
            "demo",
            {"FLAVOR": "mysql", "RUNTIME": "docker"},
            "compiler docker venv mysql base-sid",
            "airflow docker images store",
        ),
        ("images", {}, "compiler docker venv base-bookworm base-sid", "images"),
        ("live", {}, "compiler mariadb programs chromium venv mysql", EVERYTHING),
        ("bench", {}, "compiler mariadb programs chromium peers venv mysql newest-restic", EVERYTHING),
    ],
)
def test_a_target_gets_what_it_needs_and_nothing_else(
    target: str, switches: dict[str, str], steps: str, extras: str
) -> None:
    assert plan(target, **switches) == (steps.split(), extras)


def test_the_tests_and_setup_without_more_get_everything_but_the_benchmarks_peers() -> None:
    steps, extras = plan("test")
    assert (steps, extras) == plan()
    everything = set(plan("test", "bench", "demo", "images")[0])
    assert everything - set(steps) == {"peers", "newest-restic"}


def test_parts_can_be_left_out() -> None:
    steps, _ = plan("test", RR_WITHOUT="docker")
    assert not {"docker", "docker-compose", "base-bookworm", "base-sid"} & set(steps)
    steps, _ = plan("test", RR_WITHOUT="mysql,mariadb-11.8")
    assert not {"mysql", "mariadb-11.8", "base-sid"} & set(steps)
    assert {"docker", "base-bookworm"} <= set(steps)
    assert plan("demo", SKIP_APT="1")[0] == ["venv"]


def test_a_step_brings_what_it_comes_after() -> None:
    assert plan("base-sid")[0] == ["docker", "base-sid"]


@pytest.mark.parametrize(
    ("names", "switches", "message"),
    [
        (["nonsense"], {}, r"no target or step nonsense.*Targets: demo up .*Steps: compiler mariadb "),
        (["--fast"], {}, "unknown option --fast"),
        (
            ["test"],
            {"RR_WITHOUT": "mysq"},
            "RR_WITHOUT=mysq: there is no such part; there are: .*docker .*mysql",
        ),
        (["demo"], {"FLAVOR": "oracle"}, "one of: mariadb, mysql"),
        (["demo"], {"RUNTIME": "vm"}, "one of: process, docker"),
        (
            ["demo"],
            {"FLAVOR": "mysql", "RR_WITHOUT": "mysql"},
            "needs mysql, which RR_WITHOUT=mysql leaves out",
        ),
    ],
)
def test_what_is_not_known_is_refused_with_what_is(
    names: list[str], switches: dict[str, str], message: str
) -> None:
    done = run("tools/setup", "--dry-run", *names, **switches)
    assert done.returncode == 1
    assert re.search(message, done.stderr), done.stderr


def test_each_target_that_the_makefile_readies_is_known() -> None:
    wanted = re.findall(r"\bready-(\w+)", (ROOT / "Makefile").read_text())
    assert len(wanted) > 6
    plan(*wanted)


def made_up(table: str) -> str:
    """Return a script that runs a table of steps of our own, all of them."""
    script = """
        set -euo pipefail
        dir=$1
        say() { echo "setup: $*"; }
        die() { echo "setup: $*" >&2; exit 1; }
        for file in table debian venv run; do source "tools/setup.d/$file"; done
        """
    return textwrap.dedent(script) + textwrap.dedent(table) + '\nplan=("${all_steps[@]}")\nrun_plan these\n'


def test_a_step_waits_for_what_it_comes_after_and_others_run_beside_it(tmp_path: Path) -> None:
    script = made_up(
        """
        slow() { echo "being slow" >&2; until [ -e "$dir/other" ]; do sleep 0.05; done; : >"$dir/slow"; }
        later() { echo "it is there: $(ls "$dir/slow")" >&2; }
        step slow "…" slow
        step later "…" after=slow later
        step other "…" touch $dir/other
        """
    )
    done = run("bash", "-c", script, "setup", str(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = [re.sub(r"\d+ (s|of)\b", r"N \1", line) for line in done.stdout.splitlines()]
    assert lines[0] == "setup: slow: being slow"
    assert lines[1] == "setup: slow: done in N s (N of 3)"
    assert lines[2].startswith("setup: later: it is there: /")
    assert lines[3:] == [
        "setup: later: done in N s (N of 3)",
        "setup: there already: other",
        "setup: ready for these after N s",
    ]
    assert all(len(line) <= 80 for line in lines)


def test_a_failed_step_ends_the_others_and_says_why_and_what_next(tmp_path: Path) -> None:
    script = made_up(
        """
        endless() { echo $BASHPID >"$dir/pid"; (while :; do sleep 1; done); }
        whole() { until [ -e "$dir/failing" ]; do sleep 0.05; done; sleep 0.5; : >"$dir/whole"; }
        failing() {
            until [ -e "$dir/pid" ]; do sleep 0.05; done
            : >"$dir/failing"
            echo "no route" >&2
            false
            : >"$dir/on"
        }
        step endless "…" endless
        step whole "…" whole=yes whole
        step mysql "…" part=mysql failing
        step never "…" after=mysql touch $dir/never
        """
    )
    done = run("bash", "-c", script, "setup", str(tmp_path))
    assert done.returncode == 1
    assert "mysql FAILED" in done.stderr
    assert "  | no route\n" in done.stderr
    assert "run the same command again. RR_WITHOUT=mysql does without it." in done.stderr
    assert "waiting for whole, which must not be broken off" in done.stdout
    group = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)
    assert {path.name for path in tmp_path.iterdir()} == {"pid", "failing", "whole"}


def test_an_interruption_ends_every_step(tmp_path: Path) -> None:
    script = made_up(
        """
        endless() { echo $BASHPID >"$dir/new"; mv "$dir/new" "$dir/pid"; (while :; do sleep 1; done); }
        step endless "…" endless
        """
    )
    with subprocess.Popen(["bash", "-c", script, "setup", str(tmp_path)], cwd=ROOT) as setup:
        try:
            while not (tmp_path / "pid").exists():
                time.sleep(0.02)
            # Not SIGINT: where the tests run in the background it is ignored, and bash cannot change that.
            setup.terminate()
            assert setup.wait(timeout=60) == 130
        finally:
            setup.kill()
    with pytest.raises(ProcessLookupError):
        os.killpg(int((tmp_path / "pid").read_text()), 0)


def test_packages_are_installed_by_one_step_at_a_time(tmp_path: Path) -> None:
    script = made_up(
        """
        alone() { mkdir "$dir/lock"; sleep 0.2; rmdir "$dir/lock"; }
        for name in one two three; do step $name "…" apt=yes alone; done
        """
    )
    done = run("bash", "-c", script, "setup", str(tmp_path))
    assert done.returncode == 0, done.stderr


def test_the_demo_on_this_host_does_without_the_extras_that_it_does_not_get() -> None:
    others = ("docker", "moto", "paramiko", "playwright", "pytest", "slack_sdk")
    block = f"import sys; sys.modules.update(dict.fromkeys({others!r})); import demo.__main__"
    done = run(sys.executable, "-c", block)
    assert done.returncode == 0, done.stderr
