"""Start a job's process: detached, in a session of its own, so that it outlives whoever submitted it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from airflow_restore_replay.core.jobs.node import NodeDir
from airflow_restore_replay.core.system.processes import NODE


def launch(node: NodeDir, log_path: Path, payload: bytes, *, attempt_no: int) -> None:
    """Start ``agent run`` on the node; return as soon as its process has the request.

    :param log_path: gets what the process prints.
    :param payload: the request, which travels on standard input: it holds secrets.
    :param attempt_no: which submission of the key this is.
    """
    argv = [sys.executable, "-m", "airflow_restore_replay.core.agent", "run", str(node.path), str(attempt_no)]
    # util-linux' setsid --fork returns at once and leaves the job without a parent that could take it along.
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
    """:returns: the job's environment: ours, the node's mark, and a path to this package from wherever it came."""
    import airflow_restore_replay

    root = str(Path(airflow_restore_replay.__file__).parent.parent)
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, NODE: str(node.path), "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
