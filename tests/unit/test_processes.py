from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from airflow_restore_replay.core.system.processes import (
    AGENT_MODULE,
    NODE,
    ProcessId,
    end,
    identify,
    running,
    spawn,
    started_for,
    terminate,
)


def test_a_process_is_watched_and_ended_by_anybody(tmp_path: Path) -> None:
    process = spawn(["/bin/sh", "-c", "echo begun; sleep 60"], tmp_path / "log")
    while not (tmp_path / "log").read_text():
        time.sleep(0.01)
    assert running(process)
    assert identify(process.pid) == process
    end(process, grace_s=5)
    assert not running(process)
    assert (tmp_path / "log").read_text() == "begun\n"


def test_one_that_ignores_the_request_is_made_to_end(tmp_path: Path) -> None:
    process = spawn(
        ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"], tmp_path / "log"
    )
    while "ready" not in (tmp_path / "log").read_text():
        time.sleep(0.01)
    assert not terminate(process, sig=signal.SIGTERM, timeout_s=0.1)
    end(process, grace_s=0.1)
    assert not running(process)


def test_another_process_with_the_pid_is_left_alone(tmp_path: Path) -> None:
    process = spawn(["/bin/sleep", "60"], tmp_path / "log")
    earlier = ProcessId(process.pid, process.started - 1)
    assert not running(earlier)
    end(earlier, grace_s=0.1)
    assert running(process)
    end(process, grace_s=5)


def test_secrets_of_the_caller_do_not_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RR_TEST_SECRET", "hidden-51aa")
    process = spawn(["/usr/bin/env"], tmp_path / "log")
    while running(process):
        time.sleep(0.01)
    assert "PATH=" in (tmp_path / "log").read_text()
    assert "hidden-51aa" not in (tmp_path / "log").read_text()


def test_whatever_was_started_for_a_node_is_found_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NODE, str(tmp_path / "node"))
    ours = spawn(["/bin/sleep", "60"], tmp_path / "log")
    monkeypatch.setenv(NODE, str(tmp_path / "node2"))
    other = spawn(["/bin/sleep", "60"], tmp_path / "log")
    assert started_for(tmp_path / "node") == [ours]
    end(ours, grace_s=5)
    assert started_for(tmp_path / "node") == []
    assert running(other)
    end(other, grace_s=5)


def test_x28_a_job_that_hides_its_memory_is_found_by_its_arguments(tmp_path: Path) -> None:
    """It waits for its request; nothing in its environment names the node."""
    argv = [sys.executable, "-m", AGENT_MODULE, "run", str(tmp_path / "node"), "1"]
    environment = {name: text for name, text in os.environ.items() if name != NODE}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, env=environment, stderr=subprocess.DEVNULL) as job:
        (found,) = started_for(tmp_path / "node")
        assert found == identify(job.pid)
        assert started_for(tmp_path / "nod") == []
        end(found, grace_s=5)


def test_x28_no_other_process_can_read_the_memory_of_an_agent(tmp_path: Path) -> None:
    """Source: prctl(2), PR_GET_DUMPABLE; proc(5) about who may read /proc/<pid>/mem."""
    code = (
        "import ctypes, sys; from airflow_restore_replay.core.agent.__main__ import main;"
        "main(['nodes', sys.argv[1]]); print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), file=sys.stderr)"
    )
    asked = [sys.executable, "-c", code, str(tmp_path / "nodes")]
    done = subprocess.run(asked, input=b"{}", capture_output=True, check=True)
    assert done.stdout.startswith(b"{")
    assert done.stderr.split()[-1] == b"0"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another account")
def test_x28_a_process_of_another_account_is_not_taken_for_the_nodes(tmp_path: Path) -> None:
    environment = {NODE: str(tmp_path / "node"), "PATH": os.environ["PATH"]}
    with subprocess.Popen(["/bin/sleep", "60"], user=65534, env=environment) as other:
        assert started_for(tmp_path / "node") == []
        other.kill()
