"""A simulated large cluster: time and memory to open a backup, and to plan a prune of many.

``python -m bench.scale [--terabytes 10] [--backups 100] [--json]``

Contents are never read for either, so none is stored: the store holds records and lists, and its listing makes the
names of chunks up. Each backup differs from the one before in a share of its files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from airflow_restore_replay.core.config.sections import RepositorySpec, Retention
from airflow_restore_replay.core.repository.format.records import (
    BaseRef,
    FileEntry,
    Manifest,
    Sizes,
    new_id,
    utc_now,
)
from airflow_restore_replay.core.repository.objects.chunks import CHUNK_SIZE_BYTES
from airflow_restore_replay.core.repository.objects.lists import read_entries, write_file_list
from airflow_restore_replay.core.repository.objects.record_store import write_record
from airflow_restore_replay.core.repository.pruning.plan import plan_prune
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.base import AlreadyExists, ObjectInfo
from airflow_restore_replay.core.repository.store.local import LocalStore

_FILE_CHUNKS = 256
_NAME_BYTES = 32
_OPEN_S, _OPEN_BYTES, _PLAN_S = 5.0, 10**9, 60.0
_START = datetime(2026, 1, 1, tzinfo=UTC)


def _name(file: int, version: int, chunk: int) -> str:
    return hashlib.blake2b(b"%d %d %d" % (file, version, chunk), digest_size=_NAME_BYTES).hexdigest()


class Simulated(LocalStore):
    """Lists chunks that are not there, from a file of their names."""

    names: Path

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        if prefix != "chunks/":
            yield from super().list(prefix)
            return
        with open(self.names, "rb") as file:
            while name := file.read(_NAME_BYTES).hex():
                yield ObjectInfo(f"chunks/{name[:2]}/{name}.0", 2_000_000, _START)


def _entry(file: int, version: int) -> FileEntry:
    return FileEntry(
        path=f"db/t{file:06}.ibd",
        size_bytes=_FILE_CHUNKS * CHUNK_SIZE_BYTES,
        chunks=[_name(file, version, chunk) for chunk in range(_FILE_CHUNKS)],
    )


def _manifest(repository: Repository, number: int, chunks: int) -> Manifest:
    at = _START + timedelta(days=number)
    total_bytes = chunks * CHUNK_SIZE_BYTES
    return Manifest(
        backup_id=new_id(at),
        cluster=repository.cluster,
        flavor="mariadb",
        server_release="10.11.14",
        created_at=at,
        run=f"run-{number}",
        lease_epoch=number + 1,
        base=BaseRef(kind="seed", method="logical"),
        position="0-1-100",
        goal="0-1-90",
        goal_read_at=at,
        chunk_size_bytes=CHUNK_SIZE_BYTES,
        file_list="",
        sizes=Sizes(
            total_bytes=total_bytes,
            new_bytes=total_bytes,
            reused_bytes=0,
            zero_bytes=0,
            stored_bytes=0,
            files=chunks // _FILE_CHUNKS,
            new_chunks=chunks,
        ),
    )


class _Unsynced(LocalStore):
    """Building the simulation need not survive a crash."""

    def put_new(self, path: str, data: bytes) -> None:
        final = self._resolve(path)
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(final, "xb") as file:
                file.write(data)
        except FileExistsError:
            raise AlreadyExists(path) from None

    def get_uncached(self, path: str, *, max_bytes: int | None = None) -> bytes:
        return self.get(path, max_bytes=max_bytes)


def _build(root: Path, files: int, backups: int, change: float, names: Path) -> int:
    """Build the repository; return the number of chunks.

    :param names: file for the names of all chunks.
    """
    repository = Repository.open(RepositorySpec(url=root.as_uri()), cluster="large", write=True)
    store = _Unsynced(root)
    versions = [1] * files
    changing = max(1, int(files * change))
    changed = list(range(files))
    entries: dict[int, FileEntry] = {}
    for number in range(backups):
        if number:
            changed = sorted({(number * changing + step) % files for step in range(changing)})
        for file in changed:
            versions[file] += bool(number)
        part = write_file_list(store, repository.codec, [_entry(f, versions[f] - 1) for f in changed])
        entries |= zip(changed, read_entries(store, repository.codec, part), strict=True)
        whole = [entries[file] for file in range(files)]
        file_list = write_file_list(store, repository.codec, whole)
        manifest = _manifest(repository, number, files * _FILE_CHUNKS)
        write_record(repository.store, _with_list(manifest, file_list))
    with open(names, "wb") as written:
        for number, count in enumerate(versions):
            for version in range(count):
                written.write(b"".join(bytes.fromhex(_name(number, version, c)) for c in range(_FILE_CHUNKS)))
    return sum(versions) * _FILE_CHUNKS


def _with_list(manifest: Manifest, file_list: str) -> Manifest:
    return msgspec.structs.replace(manifest, file_list=file_list)


def _measured(what: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """Return result, and seconds, seconds of processor time, the process's peak memory so far."""
    started, cpu = time.monotonic(), time.process_time()
    result = what()
    return result, {
        "seconds": round(time.monotonic() - started, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _open_newest(repository: Repository) -> int:
    manifest = max(repository.catalog().manifests, key=lambda m: m.created_at)
    return sum(len(entry.chunks) for entry in repository.load_files(manifest))


def run(terabytes: float, backups: int, change: float, root: Path) -> list[dict[str, Any]]:
    """Return the rows of the table."""
    files = max(1, round(terabytes * 10**12 / (_FILE_CHUNKS * CHUNK_SIZE_BYTES)))
    listed, built = _in_child(lambda: _build(root / "r", files, backups, change, root / "names"))
    store = Simulated(root / "r")
    store.names = root / "names"

    def opened() -> Repository:
        repository = Repository.open(RepositorySpec(url=(root / "r").as_uri()), cluster="large", write=False)
        repository.store = store
        return repository

    chunks, opening = _in_child(lambda: _open_newest(opened()))
    policy = Retention(last=backups // 2, min_count=1, most_deleted=backups)
    now = utc_now() + timedelta(days=3)
    (kept, gone, condemned), planning = _in_child(
        lambda: _counts(plan_prune(opened(), policy, timezone="UTC", now=now))
    )
    return [
        {
            "id": "build",
            "what": f"{backups} backups of {files} files, {listed} chunks in all",
            **built,
        },
        {
            "id": "open",
            "what": f"open a backup of {chunks} chunks",
            **opening,
            "ok": opening["seconds"] <= _OPEN_S and opening["peak_bytes"] <= _OPEN_BYTES,
        },
        {
            "id": "plan",
            "what": f"plan a prune: keep {kept}, delete {gone}, condemn {condemned} objects",
            **planning,
            "ok": planning["seconds"] <= _PLAN_S,
        },
    ]


def _counts(plan: Any) -> tuple[int, int, int]:
    if plan.withheld:
        raise SystemExit(f"nothing could be planned: {plan.withheld}")
    return len(plan.keep), len(plan.delete), len(plan.condemn)


def _in_child(what: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """Measure in a process of its own: peak memory never falls."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 1
        try:
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(_measured(what), pipe)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    if os.waitpid(child, 0)[1]:
        raise SystemExit("a measurement failed")
    found: tuple[Any, dict[str, Any]] = pickle.loads(data)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--terabytes", type=float, default=10.0)
    parser.add_argument("--backups", type=int, default=100)
    parser.add_argument("--change", type=float, default=0.01, help="share of files that each backup changes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="restore-replay-scale-") as root:
        rows = run(options.terabytes, options.backups, options.change, Path(root))
        _show(rows, as_json=options.json)
    return 0 if all(row.get("ok", True) for row in rows) else 1


def _show(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        json.dump(rows, sys.stdout)
        return
    for row in rows:
        print(
            f"{row['what']:75} {row['seconds']:8.2f} s {row['cpu_seconds']:8.2f} s CPU "
            f"{row['peak_bytes'] / 10**6:8.0f} MB  {'' if row.get('ok', True) else 'OVER THE BAR'}"
        )


if __name__ == "__main__":
    sys.exit(main())
