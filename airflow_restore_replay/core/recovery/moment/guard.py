"""A process that outlives a restore that is killed, and ends the servers that the restore had started."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from airflow_restore_replay.core.flavor.server_record import PREFIX, SHORT_DIRECTORY, kill_recorded
from airflow_restore_replay.core.recovery.serving.service import remove_server
from airflow_restore_replay.core.system.files import is_own_directory
from airflow_restore_replay.core.system.processes import (
    NODE,
    ProcessId,
    end,
    identify,
    running,
    spawn,
    started_for,
)

_POLL_S = 0.5
#: directories below that of the restore
SERVING, NODES, LOGS = "serving", "nodes", "logs"


@contextlib.contextmanager
def guarded(scratch: Path) -> Iterator[None]:
    """End the servers of the restore in *scratch* when the context ends, and also if this process is killed in it.

    They are found by their records, and by the mark that their environment has.
    """
    end_servers(scratch)
    own = identify(os.getpid())
    argv = [sys.executable, "-m", __name__, str(scratch), str(own.pid), str(own.started)]
    # The guard has the mark of this restore, and not that of the agent's node, which this process may have. So it
    # survives when the agent ends what was started for the node, and the next call ends it with the servers.
    marked = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), NODE: str(scratch)}
    guard = spawn(argv, scratch / "guard.log", environment=marked)
    before = os.environ.get(NODE)
    os.environ[NODE] = str(scratch)
    try:
        yield
    finally:
        if before is None:
            del os.environ[NODE]
        else:
            os.environ[NODE] = before
        end(guard, grace_s=5.0)
        if scratch.exists():
            end_servers(scratch)


def end_servers(scratch: Path) -> None:
    """Kill every process of the restore in *scratch*, and remove what was served; idempotent."""
    for node in sorted((scratch / NODES).glob("*/run")):
        kill_recorded(node)
    for process in started_for(scratch):
        end(process, grace_s=5.0)
    remove_server(scratch / SERVING)
    for directory in links_into(scratch):
        shutil.rmtree(directory, ignore_errors=True)


def links_into(scratch: Path) -> list[Path]:
    """Return the directories with links into *scratch* that a killed installer of a data directory left."""
    found = []
    for directory in SHORT_DIRECTORY.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # it is another account's, or gone
            links = [entry for entry in directory.iterdir() if entry.is_symlink()]
            if is_own_directory(directory) and any(
                Path(os.readlink(link)).is_relative_to(scratch) for link in links
            ):
                found.append(directory)
    return found


def _main(scratch: Path, owner: ProcessId) -> None:
    while running(owner):
        time.sleep(_POLL_S)
    end_servers(scratch)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), ProcessId(int(sys.argv[2]), int(sys.argv[3])))
