"""``restore-replay restore`` as a person calls it, and the servers that it leaves running."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymysql
import yaml

from airflow_restore_replay.core.system.processes import identify, terminate
from tests.support.primary import ROOT_PASSWORD
from tests.support.rig import Rig


class Restores:
    """Calls of the command for a cluster; ends the servers that it left running.

    :param root: for restored copies.
    """

    def __init__(self, rig: Rig, root: Path) -> None:
        self.rig = rig
        self.root = root
        self._pids: list[int] = []

    def call(self, *words: str | Path, stdin: str = "", **overrides: Any) -> subprocess.CompletedProcess[str]:
        config = self.root / "clusters.yaml"
        config.write_text(yaml.safe_dump({"clusters": {"orders": self.rig.section(**overrides)}}))
        argv = [sys.executable, "-m", "airflow_restore_replay.cli.main", "restore", *map(str, words)]
        done = subprocess.run(
            [*argv, "--config", str(config)], input=stdin, capture_output=True, text=True, check=False
        )
        assert ROOT_PASSWORD not in done.stdout + done.stderr
        return done

    def json(self, *words: str | Path, stdin: str = "", exit_code: int = 0, **overrides: Any) -> Any:
        done = self.call(*words, "--json", stdin=stdin, **overrides)
        assert done.returncode == exit_code, done.stdout + done.stderr
        answer = json.loads(done.stdout)
        if running := answer.get("running"):
            self._pids.append(running["pid"])
        return answer

    def refused(self, *words: str | Path, **options: Any) -> str:
        """Return the message of a refused call."""
        answer = self.json(*words, exit_code=2, **options)
        return f"{answer['error']['message']} {answer['error']['hint']}"

    def end(self) -> None:
        for pid in self._pids:
            terminate(identify(pid), sig=signal.SIGKILL, timeout_s=30)


def wait_for(what: Callable[[], Any]) -> Any:
    """Return the first true value of *what*."""
    deadline = time.monotonic() + 60
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def stopped(pid: int, command: str) -> None:
    """Stop a server by the command that was printed for that."""
    subprocess.run(command, shell=True, check=True)
    wait_for(lambda: not alive(pid))


def query(command: str, sql: str, *, password: str = "") -> list[list[str]]:
    """Return the rows of *sql*, by the client command that was printed."""
    words = shlex.split(command)
    if "--password" in words:
        words[words.index("--password")] = f"--password={password}"
    done = subprocess.run(
        [*words, "--batch", "--skip-column-names", f"--execute={sql}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


@contextlib.contextmanager
def started_by_hand(commands: dict[str, str]) -> Iterator[None]:
    """Run the printed start command as it stands, until the printed stop command has stopped it."""
    server = subprocess.Popen(commands["start"], shell=True, start_new_session=True)
    try:
        wait_for(lambda: server.poll() is not None or _answers(commands["connect"]))
        assert server.poll() is None
        yield
        subprocess.run(commands["stop"], shell=True, check=True)
        assert server.wait(60) == 0
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(60)


def _answers(command: str) -> bool:
    socket = next(w.partition("=")[2] for w in shlex.split(command) if w.startswith("--socket="))
    with contextlib.suppress(pymysql.err.MySQLError):
        conn = pymysql.connect(unix_socket=socket, user="root", password=ROOT_PASSWORD)
        conn.close()
        return True
    return False
