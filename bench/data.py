"""What is measured on: real InnoDB data directories, made once and kept in ``BENCH_DIR``."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from airflow_restore_replay.core.flavor.mariadb.flavor import MariaDbFlavor
from airflow_restore_replay.core.flavor.mariadb.options import REDO_AT_REST_BYTES
from airflow_restore_replay.core.repository.transfer.snapshot import matches
from bench.measure import digests, files_of, say, size_of
from tests.support.mariadb import ROOT_PASSWORD, MariaDbPrimary
from tests.support.primary import Primary

PAGE = 16 * 1024
_CHUNK = 4 * 2**20
_TABLES = 8
#: bytes of a row of sysbench's table with its secondary index, as InnoDB stores them after a load
ROW_BYTES = 310
#: as a node's server leaves it
_REDO_BYTES = REDO_AT_REST_BYTES
#: no binary log, no performance schema: the files are those of the tables
_OPTIONS = (
    "--skip-log-bin",
    "--skip-log-slave-updates",
    "--innodb-buffer-pool-size=1G",
    "--innodb-log-file-size=512M",
    f"--innodb-log-buffer-size={REDO_AT_REST_BYTES}",
    "--innodb-doublewrite=0",
    "--max-prepared-stmt-count=100000",
)


#: while tables are filled: undo logs apart, so that they do not swell the system tablespace
_FILLING = (*_OPTIONS, "--innodb-undo-tablespaces=2")


def sysbench(primary: Primary, *arguments: str, schema: str = "sbtest") -> str:
    """Run sysbench against *primary*.

    :returns: what it printed.
    """
    access = [f"--mysql-socket={primary.socket}", "--mysql-user=root", f"--mysql-password={ROOT_PASSWORD}"]
    done = subprocess.run(
        ["sysbench", *arguments[:1], *access, f"--mysql-db={schema}", *arguments[1:]],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"sysbench {arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


class Data:
    """Data sets of the measurements.

    :param root: where they are kept.
    :param size_bytes: approximate size of the large one."""

    def __init__(self, root: Path, size_bytes: int) -> None:
        self.root, self.size_bytes = root, size_bytes

    def large(self) -> Path:
        """Return a cleanly stopped server's data directory with sysbench's tables."""
        return self._made(f"large-{self.size_bytes}", self._make_large)

    def larger(self, factor: int) -> Path:
        """Return *factor* times :meth:`large`: copies of its tables, every chunk of which differs."""
        return self._made(f"large-{self.size_bytes}-x{factor}", lambda path: self._multiply(path, factor))

    def small_tables(self, count: int) -> Path:
        """Return a cleanly stopped server's data directory with *count* tables of about 100 KB."""
        return self._made(f"small-{count}", lambda path: _make_small(path, count))

    def joined(self, source: Path) -> Path:
        """Return the bytes of *source*'s files, one after another, in files of at most 1 GiB."""
        return self._made(f"{source.name}-joined", lambda path: _join(source, path))

    def _made(self, name: str, make: Callable[[Path], None]) -> Path:
        final = self.root / name
        if not final.exists():
            say(f"making the data set {name}")
            unfinished = self.root / f".{name}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            make(unfinished)
            os.sync()
            unfinished.rename(final)
            say(f"{name}: {size_of(final) / 1e6:.0f} MB in {len(files_of(final))} files")
        return final

    def _make_large(self, path: Path) -> None:
        rows = self.size_bytes // ROW_BYTES // _TABLES
        primary = MariaDbPrimary.start(path.with_suffix(".server"), options=_FILLING)
        try:
            primary.execute("CREATE DATABASE sbtest")
            shape = (f"--tables={_TABLES}", f"--table-size={rows}", "--threads=2")
            sysbench(primary, "oltp_write_only", *shape, "prepare")
        except BaseException:
            primary.kill()
            raise
        _keep(primary, path)

    def _multiply(self, path: Path, factor: int) -> None:
        source = self.large()
        for turn in range(factor):
            for file in files_of(source):
                target = path / str(turn) / file.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
                _stamp(target, turn)


def start_copy(source: Path, root: Path) -> MariaDbPrimary:
    """Start a server on a copy of a data set: peers copy running servers.

    :param root: the server's directory; its ``data`` is the copy.
    """
    shutil.copytree(source, root / "data")
    return MariaDbPrimary.start(root, options=_OPTIONS)


def tables_of(root: Path) -> dict[str, str]:
    """Return digests of sysbench's tablespaces: a physical copy of them is the same, byte for byte."""
    return {path: digest for path, digest in digests(root, suffix=".ibd").items() if "sbtest/" in path}


def _stamp(path: Path, turn: int) -> None:
    """Change a few bytes of each chunk, so that no two copies share one."""
    if turn == 0:
        return
    with path.open("r+b") as file:
        for offset in range(0, path.stat().st_size, _CHUNK):
            file.seek(offset + 30)
            file.write(turn.to_bytes(4, "big"))


def _make_small(path: Path, count: int) -> None:
    """Tables with different rows, of the size of an InnoDB tablespace that has just begun to grow."""
    primary = MariaDbPrimary.start(path.with_suffix(".server"), options=_FILLING)
    try:
        primary.execute("CREATE DATABASE sbtest", "CREATE DATABASE small")
        sysbench(primary, "oltp_write_only", "--tables=1", f"--table-size={count + 200}", "prepare")
        with primary.connect(database="small") as conn, conn.cursor() as cursor:
            for number in range(count):
                cursor.execute(
                    f"CREATE TABLE t{number:05} (id INT PRIMARY KEY, k INT, c CHAR(120), pad CHAR(60), KEY (k))"
                    f" SELECT id, k, c, pad FROM sbtest.sbtest1 WHERE id > {number} ORDER BY id LIMIT 60"
                )
        primary.execute("DROP DATABASE sbtest")
    except BaseException:
        primary.kill()
        raise
    _keep(primary, path)


def _join(source: Path, path: Path) -> None:
    limit, written, number = 2**30, 0, 0
    out = (path / "joined0").open("wb")
    for file in files_of(source):
        if written + file.stat().st_size > limit and written:
            out.close()
            number, written = number + 1, 0
            out = (path / f"joined{number}").open("wb")
        out.write(file.read_bytes())
        written += file.stat().st_size
    out.close()


def _keep(primary: MariaDbPrimary, path: Path) -> None:
    """Stop with all changes merged, and leave only the data directory as *path*, without what we never copy."""
    settle = ("SET GLOBAL innodb_fast_shutdown = 0", f"SET GLOBAL innodb_log_file_size = {_REDO_BYTES}")
    primary.execute(*settle)
    primary.restart(options=_OPTIONS + ("--innodb-undo-tablespaces=0",))
    primary.execute(*settle)
    primary.stop()
    for file in files_of(primary.datadir):
        if matches(file.relative_to(primary.datadir).as_posix(), MariaDbFlavor.excluded_files):
            file.unlink()
    path.rmdir()
    primary.datadir.rename(path)
    shutil.rmtree(primary.root)
