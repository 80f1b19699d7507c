"""Start a job's process: detached, in a session of its own, so that it outlives the process that submitted it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from airflow_restore_replay.core.jobs.node import NodeDir
from airflow_restore_replay.core.system.processes import AGENT_MODULE, NODE


def launch(node: NodeDir, log_path: Path, payload: bytes, *, attempt_no: int) -> None:
    """Start ``agent run`` on the node; return as soon as its process has the request.

    :param log_path: receives the output of the process.
    :param payload: the request, which travels on standard input because it contains secrets.
    :param attempt_no: number of this submission of the key.
    """
    argv = [sys.executable, "-m", AGENT_MODULE, "run", str(node.path), str(attempt_no)]
    # setsid --fork of util-linux returns at once, and leaves the job without a parent whose end could end the job.
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            ["setsid", "--fork", *argv],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=node.path,
            env=environment(node),
        )
        process.communicate(payload)


def environment(node: NodeDir) -> dict[str, str]:
    """Return the job's environment: the agent's own, the node's mark, and the path that this package came from."""
    import airflow_restore_replay

    root = str(Path(airflow_restore_replay.__file__).parent.parent)
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, NODE: str(node.path), "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
