"""``python -m airflow_restore_replay.core.agent COMMAND DIRECTORY [ATTEMPT]``: JSON in, JSON out."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from airflow_restore_replay.core.decoding import decode
from airflow_restore_replay.core.jobs.node import NodeDir
from airflow_restore_replay.core.jobs.protocol import JobRequest, JobStatus
from airflow_restore_replay.core.system.processes import protect_memory


def main(argv: list[str]) -> int:
    protect_memory()
    os.umask(0o077)
    command, directory = argv[0], Path(argv[1]).absolute()
    payload = sys.stdin.buffer.read()
    if command == "run":
        return _run(NodeDir(directory), payload, attempt_no=int(argv[2]))
    from airflow_restore_replay.core.agent.dispatch import answer

    sys.stdout.buffer.write(answer(command, directory, payload))
    return 0


def _run(node: NodeDir, payload: bytes, *, attempt_no: int) -> int:
    from airflow_restore_replay.core.agent.runner import JobRunner
    from airflow_restore_replay.core.system.malloc import give_large_blocks_back
    from airflow_restore_replay.core.system.printable import PrintableFormatter

    give_large_blocks_back()
    log = logging.StreamHandler()
    log.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[log])
    request = decode(payload, JobRequest)
    state = JobRunner(node, request, attempt_no=attempt_no).run()
    return 0 if state.status is JobStatus.SUCCEEDED else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
