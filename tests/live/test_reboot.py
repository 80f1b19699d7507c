"""O3, O9: the machine goes down during a cycle; while it is down, another machine notices."""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.live.conftest import SLOW, Live
from tests.live.support import TASKS, Case, holding
from tests.support.processes import command_line, pids, signal_if_there


def add_cases(live: Live) -> None:
    live.case("rebooted_in_restore", **SLOW)
    live.case("rebooted_in_catch_up", **SLOW)


def test_o3_o9_reboot(live: Live) -> None:
    """Everything dies at once: Airflow, the jobs, the nodes' servers. What was restored is not fetched again."""
    restoring, replaying = live["rebooted_in_restore"], live["rebooted_in_catch_up"]
    runs = {case: case.trigger() for case in (restoring, replaying)}
    with holding([(restoring, runs[restoring], "restore"), (replaying, runs[replaying], "catch_up")]):
        live.stack.kill_all()
        for case in runs:
            kill_node_processes(case)
    for max_age, code in (("1s", 2), ("26h", 0)):
        assert freshness(restoring, max_age) == code
    live.stack.start()
    live.stack.wait_for(*live.cases)
    following = replaying.trigger()
    for case, run_id in runs.items():
        ended = case.wait(run_id)
        assert ended.state == "success", ended.of("failed")
    restored = restoring.result(runs[restoring], TASKS["restore"])
    assert 0 < restored["fetched_bytes"] < restored["bytes"]
    assert replaying.wait(following).state == "success"
    for case in runs:
        assert case.rig.verdicts_against() == []
        case.rig.assert_nothing_left()


def kill_node_processes(case: Case) -> None:
    while found := [pid for pid in pids() if str(case.rig.workdir) in command_line(pid)]:
        for pid in found:
            signal_if_there(pid, signal.SIGKILL)


def freshness(case: Case, max_age: str) -> int:
    """Return the exit code of the check that works without Airflow."""
    config = str(case.rig.root / "clusters.yaml")
    arguments = ["freshness", "--config", config, "--cluster", "orders", "--max-age", max_age]
    done = subprocess.run(
        [sys.executable, "-m", "airflow_restore_replay.cli.main", *arguments], capture_output=True, text=True
    )
    assert done.stdout.startswith("RESTORE-REPLAY "), done.stderr
    return done.returncode
