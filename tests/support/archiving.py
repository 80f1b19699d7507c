"""An archive under test: what archives, and the comparison with the primary's own files."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.archiver import Archiver
from airflow_restore_replay.core.archive.outcome import ArchiveReport
from airflow_restore_replay.core.config.cluster import Cluster, parse_clusters
from airflow_restore_replay.core.flavor.log_file import log_events
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.repository.repository import Repository
from tests.support.primary import BACKUP_PASSWORD, Primary

#: of the format event, which the primary sets while it writes a file
_IN_USE_AT, _IN_USE = 4 + 17, 1


@dataclass
class ArchiveRig:
    """The archive of one cluster.

    :param root: holds repository, spool and cluster file.
    :param section: keys of ``archive``.
    """

    primary: Primary
    root: Path
    section: dict[str, Any] = field(default_factory=dict)
    port: int = 0
    bindir: str = ""
    tls: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    @property
    def repository_dir(self) -> Path:
        return self.root / "repository"

    @property
    def spool(self) -> Path:
        return self.root / "nodes" / "spool" / "orders"

    def yaml(self) -> dict[str, Any]:
        password = self.root / "password"
        password.write_text(BACKUP_PASSWORD)
        section: dict[str, Any] = {
            "flavor": self.primary.flavor,
            "primary": {
                "host": "127.0.0.1",
                "port": self.port or self.primary.port,
                "user": "restore_replay",
                "password_file": str(password),
                **self.tls,
            },
            "repository": {"url": f"file://{self.repository_dir}"},
            "node": {"workdir": str(self.root / "nodes")},
            "archive": {"interval": "1s", **self.section},
        }
        if bindir := self.bindir or self.primary.bindir:
            section["node"]["bindir"] = bindir
        return {"clusters": {"orders": section}}

    def cluster(self) -> Cluster:
        return parse_clusters(self.yaml())["orders"]

    def repository(self) -> Repository:
        return Repository.of_cluster(self.cluster(), write=True)

    def archiver(self) -> Archiver:
        return Archiver(self.cluster(), self.repository(), BACKUP_PASSWORD, say=self.said.append)

    def archive(self) -> ArchiveReport:
        """Archive up to the primary's present position."""
        return self.archiver().run(follow=False)

    @contextlib.contextmanager
    def following(self) -> Iterator[ArchiveReport]:
        """Archive on and on in a thread of this process; its failure fails the test at the end of the context."""
        archiver, stopped = self.archiver(), threading.Event()
        failed: list[BaseException] = []

        def run() -> None:
            try:
                archiver.run(follow=True, stopping=stopped.is_set)
            except BaseException as exc:
                failed.append(exc)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield archiver.report
        finally:
            stopped.set()
            thread.join(60)
        assert not thread.is_alive()
        assert not failed, failed

    def wait_until_caught_up(self, report: ArchiveReport) -> None:
        """Wait until a follower has archived all that the primary has logged."""
        wait_until(lambda: report.position == self.primary_position(), "caught up")

    @contextlib.contextmanager
    def store_down(self) -> Iterator[None]:
        """Let the store answer nothing within the context."""
        aside = self.root / "aside"
        self.repository_dir.rename(aside)
        self.repository_dir.write_text("no directory")
        yield
        self.repository_dir.unlink()
        aside.rename(self.repository_dir)

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start the command line's archiver."""
        path = self.root / "clusters.yaml"
        path.write_text(yaml.safe_dump(self.yaml()))
        command = [sys.executable, "-m", "airflow_restore_replay.cli.main", "archive"]
        return subprocess.Popen(
            [*command, "--config", str(path), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def command(self, *options: str) -> tuple[int, dict[str, Any], str]:
        """Run the command to its end; return exit code, JSON answer and what it printed beside."""
        process = self.start("--json", *options)
        out, err = process.communicate(timeout=120)
        return process.returncode, json.loads(out), err

    def read(self) -> Archive:
        return Archive.read(self.repository())

    def position(self) -> str:
        """Return the position after the last archived transaction."""
        streams = self.read().streams
        return streams[-1].logs[-1].after if streams else ""

    def primary_position(self) -> str:
        flavor = get_flavor(self.primary.flavor)
        with contextlib.closing(flavor.connect(self.primary.endpoint())) as conn:
            return str(flavor.primary_position(conn))

    def assert_complete(self, *, gaps: int = 0, own_files: bool = True) -> Archive:
        """Compare the newest stream with the primary's files: each byte, each position, the number of transactions.

        :param own_files: the primary still has the files of that stream, as it sends them.
        """
        archive = self.read()
        assert len(archive.noted_gaps) == gaps, archive.noted_gaps
        assert archive.unreadable == {}
        stream = archive.streams[-1]
        assert [log.number for log in stream.logs] == list(range(1, len(stream.logs) + 1))
        for log, following in zip(stream.logs, stream.logs[1:], strict=False):
            assert log.whole
            assert log.after == following.before
        assert stream.logs[-1].after == self.primary_position()
        for log in stream.logs:
            data = b"".join(archive.content(log))
            assert len(data) == log.size_bytes
            if own_files:
                assert data == self.sent(log.name)[: len(data)], log.name
            started = sum(
                1
                for found in archive.events(log)
                if get_flavor(self.primary.flavor).log.start_of(found.event) is not None
            )
            assert started == log.transactions
        if own_files:
            # MariaDB logs in the background that an earlier file is not needed any more.
            last = stream.logs[-1]
            rest = io.BytesIO(self.sent(last.name)[last.size_bytes :])
            later = log_events(rest, begin=last.size_bytes, checksum_bytes=4)
            assert [e for e in later if get_flavor(self.primary.flavor).log.start_of(e.event)] == []
        return archive

    def sent(self, name: str) -> bytes:
        """Return a file of the primary as it sends it."""
        data = bytearray((self.primary.datadir / name).read_bytes())
        data[_IN_USE_AT] &= ~_IN_USE
        return bytes(data)

    def assert_nothing_left(self) -> None:
        """No spool, no program, no lease."""
        assert not self.spool.exists()
        assert self.repository().log_lease.holder() is None


def wait_until(true: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"not in {timeout_s} s: {what}"
        time.sleep(0.05)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process without a chance to clean up."""
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
