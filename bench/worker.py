"""One transfer of ours in a process of its own: ``python -m bench.worker``, a request on stdin, an answer on stdout.

So each reading has its own peak of memory and its own count of bytes read, and starts with nothing in memory. The
clock runs from opening the repository to the published manifest, or to the synced target.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.config.store_options import StoreOptions
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.transfer.restore import restore_tree
from airflow_restore_replay.core.repository.transfer.restored_state import RestoredState
from airflow_restore_replay.core.repository.transfer.snapshot import snapshot_tree
from airflow_restore_replay.core.system.malloc import give_large_blocks_back
from bench.upload_only import without_read_back
from tests.support.backups import manifest_for

RUN = "bench/run"


class Request(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One operation to measure.

    :param op: ``snapshot`` of *tree* or ``restore`` of *backup_id* into *tree*.
    :param node: directory that remembers, from a restore to the snapshot after it, what a replay node does.
    :param prove: read back what is stored; otherwise only the upload is measured.
    """

    op: str
    url: str
    tree: str
    options: dict[str, str] = {}
    credentials: dict[str, str] = {}
    backup_id: str = ""
    node: str = ""
    prove: bool = True
    threads: int = 4


class Answer(msgspec.Struct, kw_only=True):
    """Measurements of an operation.

    :param read_bytes: bytes that were read meanwhile, by calls or past them.
    :param peak_bytes: peak memory."""

    seconds: float
    backup_id: str = ""
    read_bytes: int = 0
    peak_bytes: int = 0
    sizes: dict[str, int] = {}


def main() -> None:
    give_large_blocks_back()
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    begun, read_before = time.monotonic(), _read_bytes()
    answer = _OPS[request.op](request)
    answer.seconds = time.monotonic() - begun
    answer.read_bytes = max(count - read_before[name] for name, count in _read_bytes().items())
    answer.peak_bytes = _peak_bytes()
    sys.stdout.buffer.write(msgspec.json.encode(answer))


def _snapshot(request: Request) -> Answer:
    repository = _open(request, write=True)
    if not request.prove:
        without_read_back()
    epoch = repository.lease.acquire(RUN, ttl_s=3600)
    flavor, base = get_flavor("mariadb"), _remembered(request)
    files, sizes = snapshot_tree(
        repository.chunks,
        Path(request.tree),
        excluded=flavor.excluded_files,
        base=base,
        skippable=flavor.skippable_files,
        threads=request.threads,
    )
    manifest = manifest_for(repository, run=RUN, epoch=epoch, sizes=sizes)
    manifest = repository.publish(manifest, files, known_lists=base.lists)
    repository.lease.release(RUN, epoch)
    return Answer(seconds=0, backup_id=manifest.backup_id, sizes=msgspec.to_builtins(sizes))


def _restore(request: Request) -> Answer:
    repository = _open(request, write=False)
    manifest = repository.load_manifest(request.backup_id)
    node = Path(request.node)
    if request.node:
        node.mkdir(parents=True, exist_ok=True)
    result = restore_tree(
        repository.chunks,
        repository.load_files(manifest),
        Path(request.tree),
        chunk_size_bytes=manifest.chunk_size_bytes,
        pages=node / "pages" if request.node else None,
        threads=request.threads,
    )
    if request.node:
        result.base.save(node / "base.json")
    return Answer(seconds=0, backup_id=manifest.backup_id)


_OPS: dict[str, Callable[[Request], Answer]] = {"snapshot": _snapshot, "restore": _restore}


def _open(request: Request, *, write: bool) -> Repository:
    options = msgspec.convert(request.options, StoreOptions)
    spec = RepositorySpec(url=request.url, options=options)
    return Repository.open(spec, cluster="orders", credentials=request.credentials, write=write)


def _remembered(request: Request) -> RestoredState:
    return (
        RestoredState.load(Path(request.node) / "base.json", Path(request.node) / "pages")
        if request.node
        else RestoredState()
    )


def _read_bytes() -> dict[str, int]:
    """Return bytes read so far, by calls and from the disk (``/proc/self/io``)."""
    lines = (line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return {name: int(count) for name, count in lines if name in ("rchar", "read_bytes")}


def _peak_bytes() -> int:
    text = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return int(text.split()[1]) * 1024


if __name__ == "__main__":
    main()
