"""The guard of a restore to a moment, which ends the servers of a killed call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from airflow_restore_replay.core.recovery.moment.guard import end_servers
from airflow_restore_replay.core.system.processes import NODE, started_for
from tests.support.rig import processes_in

_CALL = """
import sys, time
from pathlib import Path
from airflow_restore_replay.core.recovery.moment.guard import guarded
with guarded(Path(sys.argv[1])):
    print("guarded", flush=True)
    time.sleep(600)
"""


def test_a40_the_next_call_ends_the_guard_of_a_killed_one(tmp_path: Path) -> None:
    """It would end the servers of the next call as well, and remove files at the same time."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    call = subprocess.Popen([sys.executable, "-c", _CALL, str(scratch)], stdout=subprocess.PIPE)
    try:
        assert call.stdout is not None
        assert call.stdout.readline() == b"guarded\n"
        (guard,) = [pid for pid in pids_in(scratch) if pid != call.pid]
        os.kill(guard, signal.SIGSTOP)
        call.kill()
        call.communicate()
        end_servers(scratch)
        assert processes_in(scratch) == []
    finally:
        for pid in pids_in(scratch):
            os.kill(pid, signal.SIGKILL)


def test_a40_the_guard_is_not_of_the_node_whose_job_restores(tmp_path: Path) -> None:
    """The agent ends what was started for the node, after its job was killed: the guard ends the servers then."""
    scratch, node = tmp_path / "target" / "scratch", tmp_path / "node"
    scratch.mkdir(parents=True)
    call = subprocess.Popen(
        [sys.executable, "-c", _CALL, str(scratch)],
        stdout=subprocess.PIPE,
        env={**os.environ, NODE: str(node)},
    )
    try:
        assert call.stdout is not None
        assert call.stdout.readline() == b"guarded\n"
        (guard,) = [pid for pid in pids_in(scratch) if pid != call.pid]
        assert [process.pid for process in started_for(node)] == [call.pid]
        assert guard in [process.pid for process in started_for(scratch)]
    finally:
        call.kill()
        call.communicate()
        for pid in pids_in(scratch):
            os.kill(pid, signal.SIGKILL)


def pids_in(directory: Path) -> list[int]:
    """Return the live processes whose arguments name *directory*."""
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            words = (proc / "cmdline").read_bytes()
        except OSError:
            continue
        if str(directory).encode() in words and int(proc.name) != os.getpid():
            found.append(int(proc.name))
    return found
