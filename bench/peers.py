"""What people use today: ``mariadb-backup`` with zstd, and restic, with their own defaults."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from bench.data import start_copy, tables_of
from bench.measure import Caches, require_same, shell, sync_tree, timed
from tests.support.mariadb import ROOT_PASSWORD


class MariaDbBackup:
    """A running server on a copy of *source*, and its backups.

    :param root: the server's directory.
    """

    def __init__(self, source: Path, root: Path, caches: Caches) -> None:
        self._source, self._root, self._caches = source, root, caches
        self._server = start_copy(source, root)

    def stream(self, archive: Path) -> float:
        """Stream a whole backup through zstd into *archive*, synced.

        :returns: seconds.
        """
        archive.parent.mkdir(parents=True, exist_ok=True)
        options = archive.parent / "client.cnf"
        access = f"user=root\npassword={ROOT_PASSWORD}\nsocket={self._server.socket}"
        options.write_text(f"[mariadb-backup]\n{access}\n")
        scratch = archive.parent / "scratch"
        scratch.mkdir(exist_ok=True)
        backup = f"mariadb-backup --defaults-file={options} --backup --stream=xbstream --target-dir={scratch}"
        self._caches.drop()
        return timed(lambda: shell(f"{backup} | zstd -q -f -1 -T0 -o {archive} && sync {archive}"))

    def restore(self, archive: Path, target: Path) -> float:
        """Extract and prepare *archive*, synced, as a server needs it.

        :returns: seconds.
        :raises WrongBytes: a table differs from the source's.
        """
        target.mkdir()
        prepare = f"mariadb-backup --no-defaults --prepare --use-memory=256M --target-dir={target}"
        self._caches.drop()

        def work() -> None:
            shell(f"zstd -q -dc -T0 {archive} | mbstream --extract --directory={target} && {prepare}")
            sync_tree(target)

        seconds = timed(work)
        require_same(tables_of(self._source), tables_of(target), "mariadb-backup's prepared copy")
        return seconds

    def stop(self) -> None:
        self._server.stop()
        shutil.rmtree(self._root)


class Restic:
    """A restic repository in *root*, encrypted and compressed as restic does unless told."""

    def __init__(self, program: str, root: Path, caches: Caches) -> None:
        self._caches = caches
        self._program = shlex.quote(program)
        self._env = {
            "RESTIC_PASSWORD": "bench",
            "RESTIC_REPOSITORY": str(root / "repository"),
            "RESTIC_CACHE_DIR": str(root / "cache"),
        }
        root.mkdir(parents=True)
        self._run("init")

    def backup(self, tree: Path) -> float:
        """Return seconds for a backup of *tree*; the second one of a tree compares with the first."""
        self._caches.drop()
        return timed(lambda: self._run("backup .", cwd=tree))

    def check(self) -> float:
        """Return seconds for reading all data back."""
        self._caches.drop()
        return timed(lambda: self._run("check --read-data"))

    def restore(self, target: Path) -> float:
        """Return seconds for the newest backup, synced."""
        self._caches.drop()

        def work() -> None:
            self._run(f"restore latest --target {target}")
            sync_tree(target)

        return timed(work)

    def _run(self, arguments: str, *, cwd: Path | None = None) -> None:
        shell(f"{self._program} -q {arguments}", env=self._env, cwd=cwd)
