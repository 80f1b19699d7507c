"""S3 over HTTP, by a server that shares the cores: against a raw client for the same objects, and the local store.

Whatever moves bytes over HTTP pays for the client's and the server's work, and whatever makes objects pays for that. So
the limit is one after the other: 1 / (1 / raw client + 1 / local store).
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from bench import ours
from bench.measure import alternate, digests, files_of, require_same, size_of, timed
from bench.rows import Row, speed
from bench.settings import Bench
from bench.worker import Answer, Request
from tests.support.stores.moto import Moto
from tests.support.stores.s3 import CREDENTIALS

IDS = ("s3/put", "s3/get")
_BAR = 0.8
_HEADERS = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/s3/aws4_request, SignedHeaders=host,"
    " Signature=0"
}


def rows(bench: Bench) -> list[Row]:
    """Snapshot to and restore from an S3 server; a new server for each reading."""
    source = bench.data.large()
    size, expected = size_of(source), digests(source)
    repository = bench.new_dir("repository")
    backup_id = ours.snapshot(repository, source).backup_id
    gets: dict[str, list[float]] = {"raw GET": [], "S3 restore": []}
    measures: dict[str, Callable[[], float]] = {
        "raw PUT": lambda: _raw(bench, repository, gets["raw GET"]),
        "local snapshot": lambda: _local_snapshot(bench, source),
        "local restore": lambda: _local_restore(bench, repository, backup_id),
        "S3 snapshot": lambda: _s3(bench, source, expected, gets["S3 restore"]),
    }
    found = bench.keep("S3", {**alternate(measures, repeat=bench.repeat), **gets})
    bench.discard(repository)
    limits = found["raw PUT"] + found["local snapshot"], found["raw GET"] + found["local restore"]
    return [
        speed("s3/put", size, found["S3 snapshot"], limits[0], _BAR),
        speed("s3/get", size, found["S3 restore"], limits[1], _BAR),
    ]


def _local_snapshot(bench: Bench, source: Path) -> float:
    repository = bench.new_dir("repository")
    bench.caches.drop()
    seconds = ours.snapshot(repository, source, prove=False).seconds
    bench.discard(repository)
    return seconds


def _local_restore(bench: Bench, repository: Path, backup_id: str) -> float:
    target = bench.new_dir("restored")
    bench.caches.drop()
    seconds = ours.restore(repository, backup_id, target).seconds
    bench.discard(target)
    return seconds


def _s3(bench: Bench, source: Path, expected: dict[str, str], restores: list[float]) -> float:
    target = bench.new_dir("restored")
    with Moto() as server:
        spec = server.spec(server.new_bucket())

        def run(op: str, tree: Path, backup_id: str = "") -> Answer:
            bench.caches.drop()
            request = Request(
                op=op,
                url=spec.url,
                options=spec.options.given(),
                credentials=CREDENTIALS,
                tree=str(tree),
                backup_id=backup_id,
                prove=False,
            )
            return ours.run(request)

        taken = run("snapshot", source)
        restores.append(run("restore", target, taken.backup_id).seconds)
    require_same(expected, digests(target), "our copy restored from S3")
    bench.discard(target)
    return taken.seconds


def _raw(bench: Bench, repository: Path, gets: list[float]) -> float:
    """Return seconds to PUT the repository's objects, by a client that does nothing else."""
    with Moto() as server:
        url = f"{server.endpoint}/{server.new_bucket()}"
        client = [sys.executable, "-m", "bench.remote", url, str(repository), str(bench.threads)]
        cwd = Path(__file__).parents[1]
        bench.caches.drop()
        put = subprocess.run([*client, "PUT"], cwd=cwd, capture_output=True, text=True, check=True)
        bench.caches.drop()
        get = subprocess.run([*client, "GET"], cwd=cwd, capture_output=True, text=True, check=True)
    gets.append(float(get.stdout))
    return float(put.stdout)


def transfer(url: str, repository: Path, threads: int, method: str) -> float:
    """PUT every file below *repository*, or GET them all.

    :returns: seconds.
    """
    parts = urlsplit(url)
    local = threading.local()

    def one(path: Path) -> None:
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        body = path.read_bytes() if method == "PUT" else None
        target = f"{parts.path}/{path.relative_to(repository).as_posix()}"
        local.connection.request(method, target, body, _HEADERS)
        answer = local.connection.getresponse()
        data = answer.read()
        if answer.status != 200 or (method == "GET" and len(data) != path.stat().st_size):
            raise RuntimeError(f"{method} {target}: {answer.status}, {len(data)} bytes")

    def work() -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, files_of(repository)))

    return timed(work)


if __name__ == "__main__":
    print(transfer(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
