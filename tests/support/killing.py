"""Kill a command at a chosen one of the calls by which it changes files and starts programs."""

from __future__ import annotations

import subprocess
import sys

_SCRIPT = """
import os, signal, sys
limit, calls, spawned = int(sys.argv.pop(1)), 0, False
def hook(event, arguments):
    global calls, spawned
    if event == "os.posix_spawn":
        spawned = True
    elif limit < 0 and spawned and event != "os.kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.posix_spawn"):
        calls += 1
        if calls == limit:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
from airflow_restore_replay.cli.main import cli
try:
    cli(sys.argv[1:])
finally:
    print(calls, file=sys.stderr)
"""


def restore_killed_at(call: int, *words: object) -> subprocess.CompletedProcess[str]:
    """Run ``restore`` and end it with SIGKILL before its call of that number.

    :param call: 0 for none; the last word on stderr is then the number of calls. -1 for the first event after the
        server was started.
    """
    argv = [sys.executable, "-c", _SCRIPT, str(call), "restore", *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def moments(calls: int, number: int) -> list[int]:
    """Return *number* of the calls, spread over all of them."""
    return sorted({max(1, round((n + 0.5) * calls / number)) for n in range(number)})
