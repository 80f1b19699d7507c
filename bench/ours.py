"""Our side of each comparison: transfers in processes of their own (``bench.worker``)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from bench.worker import Answer, Request


def run(request: Request) -> Answer:
    """Do *request* in a fresh process.

    :raises RuntimeError: it failed; with what it said.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bench.worker"],
        input=msgspec.json.encode(request),
        capture_output=True,
        cwd=Path(__file__).parents[1],
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"bench.worker {request.op}: {done.stderr.decode()[-3000:]}")
    return msgspec.json.decode(done.stdout, type=Answer)


def snapshot(repository: Path, tree: Path, *, node: Path | None = None, prove: bool = True) -> Answer:
    """Snapshot *tree* into a local repository."""
    request = Request(
        op="snapshot", url=repository.as_uri(), tree=str(tree), node=str(node or ""), prove=prove
    )
    return run(request)


def restore(repository: Path, backup_id: str, target: Path, *, node: Path | None = None) -> Answer:
    """Restore from a local repository; *node* remembers what a snapshot of *target* may build on."""
    request = Request(
        op="restore",
        url=repository.as_uri(),
        tree=str(target),
        backup_id=backup_id,
        node=str(node or ""),
    )
    return run(request)
