"""A cluster under test: its configuration, its cycles, and what must be true after each of them."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow_restore_replay.core.config.cluster import Cluster, parse_clusters
from airflow_restore_replay.core.config.encryption_keys import read_keys
from airflow_restore_replay.core.cycle.report import CycleReport
from airflow_restore_replay.core.cycle.run import run_cycle
from airflow_restore_replay.core.jobs.protocol import JobState, JobStatus, Secrets
from airflow_restore_replay.core.recovery.restore import restore_backup
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import FileEntry, Outcome, Verdict
from airflow_restore_replay.core.repository.format.refs import PageDelta, Piece, leaves, object_of
from airflow_restore_replay.core.repository.repository import Repository
from tests.support.primary import BACKUP_PASSWORD, ROOT_PASSWORD, Primary

SECRETS = (BACKUP_PASSWORD, ROOT_PASSWORD)

_KEEP_LOGS_S = 1.0

#: called with the step and its state while a cycle runs
Watcher = Callable[[str, JobState | None], None]


def _nobody(step: str, state: JobState | None) -> None:
    return None


@dataclass(frozen=True)
class StoredBytes:
    """A chunk of its own, or a piece within a bundle, as it lies in a local repository.

    :param name: what messages call it.
    """

    path: Path
    name: str
    offset: int = 0
    size_bytes: int = -1

    @classmethod
    def of(cls, root: Path, ref: str | Piece | PageDelta) -> StoredBytes:
        leaf = leaves(ref)[-1]
        path = root / object_of(leaf)
        if isinstance(leaf, str):
            return cls(path, path.name)
        return cls(path, leaf.name, leaf.offset, leaf.stored_bytes)

    def read_bytes(self) -> bytes:
        data = self.path.read_bytes()
        return data if self.size_bytes < 0 else data[self.offset : self.offset + self.size_bytes]

    def write_bytes(self, data: bytes | bytearray) -> None:
        """Replace the bytes; in a bundle, what is missing becomes zero, so that others stay where they are."""
        if self.size_bytes >= 0:
            whole = bytearray(self.path.read_bytes())
            whole[self.offset : self.offset + self.size_bytes] = bytes(data).ljust(self.size_bytes, b"\0")
            data = whole
        self.path.write_bytes(data)

    def unlink(self) -> None:
        self.path.unlink()


@dataclass
class Rig:
    """A cluster on a primary, with repository and nodes of its own.

    :param root: holds repository and nodes; removed by the test's tmp_path.
    :param overrides: keys of the cluster's YAML section.
    :param secrets: what must not be in any log, state or record.
    :param store: credentials of the object store, where *overrides* put the repository into one.
    """

    primary: Primary
    root: Path
    overrides: dict[str, Any] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = SECRETS
    store: dict[str, str] = field(default_factory=dict)
    _kept_at: float = 0.0

    @property
    def repository_dir(self) -> Path:
        return self.root / "repository"

    @property
    def workdir(self) -> Path:
        return self.root / "nodes"

    def section(self, **overrides: Any) -> dict[str, Any]:
        """Return the cluster's section of the YAML file."""
        base: dict[str, Any] = {
            "primary": {"host": "127.0.0.1", "port": self.primary.port, "user": "restore_replay"},
            "repository": {"url": f"file://{self.repository_dir}"},
            "node": {"workdir": str(self.workdir), "buffer_pool": "64MiB"},
            "catch_up": {"stall_timeout": "30s"},
            "lease": {"wait": "1s", "ttl": "1m"},
        }
        if self.primary.flavor != "mariadb":
            base["flavor"] = self.primary.flavor
        if self.primary.bindir:
            base["node"]["bindir"] = self.primary.bindir
        for name, value in {**self.overrides, **overrides}.items():
            merge = isinstance(value, dict) and isinstance(base.get(name), dict)
            base[name] = {**base[name], **value} if merge else value
        return base

    def cluster(self, **overrides: Any) -> Cluster:
        return parse_clusters({"clusters": {"orders": self.section(**overrides)}})["orders"]

    def cycle(
        self,
        *,
        watch: Watcher = _nobody,
        force_full: bool = False,
        base: str | None = None,
        as_of: datetime | None = None,
        retries: int = 1,
        password: str = BACKUP_PASSWORD,
        run: str | None = None,
        **overrides: Any,
    ) -> CycleReport:
        """Run one cycle and check what holds after every run, good or bad."""

        def report(step: str, state: JobState | None) -> None:
            self._keep_logs(of_all=state is None or state.status is not JobStatus.RUNNING)
            watch(step, state)

        result = run_cycle(
            self.cluster(**overrides),
            force_full=force_full,
            base_backup_id=base,
            as_of=as_of,
            report=report,
            retries=retries,
            run=run,
            secrets=Secrets(
                primary_password=password,
                store=self.store,
                keys=read_keys(self.cluster(**overrides).repository.encryption),
            ),
        )
        self.assert_nothing_left()
        return result

    def full(self, **options: Any) -> str:
        """Return id of a fresh full backup."""
        return self.published(self.cycle(force_full=True, **options))

    def published(self, report: CycleReport) -> str:
        """Return the id that *report* published; the test fails if the run failed."""
        assert report.failure is None, f"{report.failure}\n{self.tail()}"
        assert report.published_id
        return report.published_id

    def repository(self, *, write: bool = True) -> Repository:
        spec = self.cluster().repository
        return Repository.open(
            spec, cluster="orders", credentials=self.store, keys=read_keys(spec.encryption), write=write
        )

    def catalog(self) -> Catalog:
        return self.repository().catalog()

    @property
    def newest(self) -> str:
        """Return id of the newest backup."""
        return self.catalog().backups[-1].backup_id

    def against(self, backup_id: str) -> list[Verdict]:
        return self.catalog().backup(backup_id).against

    def verdicts_against(self) -> list[Verdict]:
        """Return every verdict ever recorded against any backup."""
        bad = (Outcome.QUARANTINED, Outcome.STRANDED)
        return [v for v in self.catalog().verdicts if v.outcome in bad]

    def files(self, backup_id: str) -> list[FileEntry]:
        repository = self.repository()
        return repository.load_files(repository.load_manifest(backup_id))

    def chunk_of(self, backup_id: str, path: str, index: int = -1) -> StoredBytes:
        """Return the stored bytes of one chunk of a file; of a delta, those of its pages."""
        entry = next(f for f in self.files(backup_id) if f.path == path)
        refs = [r for r in entry.chunks if r is not None]
        return StoredBytes.of(self.repository_dir, refs[index])

    def flip_byte(self, stored: Path | StoredBytes) -> None:
        raw = bytearray(stored.read_bytes())
        raw[len(raw) // 2] ^= 0x40
        stored.write_bytes(raw)

    def restores(self, backup_id: str, target: Path | None = None) -> Path:
        """Return directory into which the backup was restored, every byte checked."""
        target = target or self.root / f"restored-{backup_id}"
        repository = self.repository(write=False)
        manifest = repository.load_manifest(backup_id)
        restore_backup(repository, manifest, target, transfer=self.cluster().transfer)
        return target

    def assert_nothing_left(self) -> None:
        """After every run: no node, no process, no lease, no temporary file, no secret, a readable catalog."""
        left = [p.name for p in self.workdir.iterdir()] if self.workdir.exists() else []
        assert left == [], f"nodes left: {left}"
        assert processes_in(self.workdir) == []
        if self.store or self.repository_dir.exists():
            assert self.repository(write=False).lease.holder() is None
        assert [p for p in self.repository_dir.rglob("*") if ".tmp" in p.name] == []
        self.assert_no_secret()

    def assert_no_secret(self) -> None:
        texts = dict(self.logs)
        for pattern in ("manifests/*", "verdicts/*", "leases/*/*", "keys/*", "repository.json"):
            for path in self.repository_dir.glob(pattern):
                texts[str(path)] = path.read_text(encoding="utf-8", errors="replace")
        leaks = [name for name, text in texts.items() if any(s in text for s in self.secrets)]
        assert leaks == []

    def tail(self) -> str:
        """Return the ends of the nodes' logs, for a failed assertion."""
        return "\n".join(f"--- {name}\n{text[-1500:]}" for name, text in self.logs.items())

    def _keep_logs(self, *, of_all: bool) -> None:
        """Keep what nodes have logged; while a job runs, now and then."""
        if not of_all and time.monotonic() - self._kept_at < _KEEP_LOGS_S:
            return
        self._kept_at = time.monotonic()
        for pattern in ("*/jobs/*", "*/log/*", "*/node.json"):
            for path in self.workdir.glob(pattern):
                try:
                    self.logs[str(path)] = path.read_text(encoding="utf-8", errors="replace")
                except FileNotFoundError:
                    continue


def processes_in(directory: Path) -> list[str]:
    """Return command lines of live processes that mention *directory*."""
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            words = (proc / "cmdline").read_bytes().split(b"\0")
            state = (proc / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        line = b" ".join(words).decode(errors="replace")
        if str(directory) in line and state != "Z" and int(proc.name) != os.getpid():
            found.append(line)
    return found


@dataclass
class Once:
    """A watcher that acts once, when a step reaches a phase.

    :param when: substring of the progress phase; ``""`` is the step's first report.
    """

    step: str
    when: str
    act: Callable[[], None]
    done: bool = False

    def __call__(self, step: str, state: JobState | None) -> None:
        if self.done or step != self.step or state is None or self.when not in state.progress.phase:
            return
        try:
            self.act()
        except (ValueError, ProcessLookupError):
            return  # the process it is about has just ended: the next report may find another
        self.done = True


def later(seconds: float, act: Callable[[], None]) -> threading.Thread:
    """Do something in a while; join the result."""

    def wait() -> None:
        time.sleep(seconds)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def copy_repository(source: Rig, target: Rig) -> None:
    shutil.copytree(source.repository_dir, target.repository_dir)
