"""A real repository in a directory, with backups of a small tree, and the command line on it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from airflow_restore_replay.cli.main import cli
from airflow_restore_replay.core.archive.pieces import PieceStore
from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.errors import ChunkCorrupt
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.repository.format.records import (
    BaseRef,
    LogPiece,
    Manifest,
    Outcome,
    Verdict,
    new_id,
    utc_now,
)
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.transfer.snapshot import snapshot_tree
from tests.support.archives import piece_of

CLUSTER = "orders"


@dataclass
class Shop:
    """A repository with backups and its cluster file.

    :param config: cluster file.
    :param source: the tree that backups are made of."""

    config: Path
    source: Path
    store: Path
    repository: Repository

    def publish(
        self,
        *,
        age: timedelta = timedelta(hours=1),
        events: dict[str, str] | None = None,
        position: str = "0-1-42",
        base: str = "",
        as_of: datetime | None = None,
    ) -> Manifest:
        """Publish a backup of :attr:`source` whose position was read *age* ago.

        :param base: id of the backup that it continues.
        """
        run = f"cli/{new_id()}"
        epoch = self.repository.lease.acquire(run, 600)
        # One thread: equal trees then give equal bundles.
        files, sizes = snapshot_tree(self.repository.chunks, self.source, threads=1)
        created = utc_now()
        manifest = Manifest(
            backup_id=new_id(created - age),
            cluster=CLUSTER,
            flavor="mariadb",
            server_release="10.11.19",
            created_at=created,
            run=run,
            lease_epoch=epoch,
            base=BaseRef(kind="backup", backup_id=base) if base else BaseRef(kind="seed", method="logical"),
            position=position,
            as_of=as_of,
            goal="0-1-40",
            goal_read_at=created - age,
            chunk_size_bytes=self.repository.chunk_size_bytes,
            file_list="",
            sizes=sizes,
            event_states=events or {},
        )
        published = self.repository.publish(manifest, files)
        self.repository.lease.release(run, epoch)
        return published

    def archive(self, *, current: timedelta | None, after: str = "0-1-50", lease_epoch: int = 0) -> LogPiece:
        """Archive what the backups lack, as one piece; *current* ago, the primary had logged nothing else."""
        at = utc_now()
        store = PieceStore(self.repository)
        piece = piece_of(
            CLUSTER,
            "mariadb",
            0,
            10,
            parts=[store.put(b"0123456789")],
            key_id=store.key_id,
            lease_epoch=lease_epoch,
            before="0-1-40",
            after=after,
            last_at=at - timedelta(minutes=1),
            current_at=None if current is None else at - current,
        )
        store.write(piece)
        return piece

    def quarantine(self, backup_id: str) -> Verdict:
        failure = Failure.of(ChunkCorrupt(f"Chunk 9f3a of backup {backup_id} is corrupt."))
        verdict = self.repository.new_verdict(
            Outcome.QUARANTINED, "dag/run", backup_id=backup_id, step="restore", failure=failure
        )
        self.repository.record(verdict)
        return verdict

    def run(self, *arguments: str | Path, exit_code: int = 0) -> Result:
        """Run a command with the cluster file; check how it ends."""
        result = CliRunner().invoke(cli, [*map(str, arguments), "--config", str(self.config)])
        assert result.exit_code == exit_code, result.output
        return result

    def json(self, *arguments: str | Path, exit_code: int = 0) -> Any:
        return msgspec.json.decode(self.run(*arguments, "--json", exit_code=exit_code).stdout)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    store = tmp_path / "repository"
    source = tmp_path / "source"
    (source / "db").mkdir(parents=True)
    (source / "ibdata1").write_bytes(b"system" * 1000)
    (source / "db" / "t.ibd").write_bytes(os.urandom(100_000) + bytes(9_000_000))
    config = tmp_path / "clusters.yaml"
    config.write_text(cluster_file([CLUSTER], store))
    repository = Repository.open(RepositorySpec(url=f"file://{store}"), cluster=CLUSTER, write=True)
    return Shop(config, source, store, repository)


def in_terminal(columns: int, *arguments: str | Path) -> str:
    """Run the command line in a terminal of that width.

    :returns: what the terminal was sent.
    """
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")} | {"TERM": "xterm"}
    program = [sys.executable, "-m", "airflow_restore_replay.cli.main"]
    child = subprocess.Popen(
        [*program, *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    sent = b""
    # The kernel answers EIO when the last writer is gone.
    with contextlib.suppress(OSError):
        while part := os.read(ours, 65536):
            sent += part
    os.close(ours)
    assert child.wait() == 0, sent
    return sent.decode().replace("\r\n", "\n")


def cluster_file(names: Sequence[str], store: Path) -> str:
    """Return YAML of clusters; the first one's repository is *store*."""
    lines = ["clusters:"]
    for number, name in enumerate(names):
        url = f"file://{store}" if number == 0 else f"file://{store}-{name}"
        lines += [f"  {name}:", "    primary: {host: 127.0.0.1}", f"    repository: {{url: '{url}'}}"]
    return "\n".join(lines) + "\n"
