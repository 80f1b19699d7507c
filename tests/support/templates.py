"""Data directories that are made once and copied: a server's installation takes seconds, a copy a tenth of one."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import hashlib
import inspect
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from airflow_restore_replay.core.flavor import server_options
from airflow_restore_replay.core.flavor.mariadb import options as mariadb_options
from airflow_restore_replay.core.flavor.mariadb import server as mariadb
from airflow_restore_replay.core.flavor.mysql import options as mysql_options
from airflow_restore_replay.core.flavor.mysql import server as mysql
from airflow_restore_replay.core.flavor.server_process import NodeProcess

#: what no recipe of today leads to goes after a fortnight
_UNUSED_S = 14 * 86400
#: environment variable that names the directory of what the processes of one run share
RUN_DIRECTORY = "RESTORE_REPLAY_TEST_RUN"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "restore-replay" / "templates"


def copy_tree(source: Path, target: Path) -> None:
    """Copy a directory with its holes and, where the file system can, without its bytes.

    :param target: made; where it is there already, what *source* holds comes into it.
    :raises OSError: with what ``cp`` says.
    """
    target.mkdir(parents=True, exist_ok=True)
    command = ["cp", "-a", "--reflink=auto", "--sparse=always", f"{source}/.", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{source} could not be copied: {done.stderr}")


def made_once(place: Path, make: Callable[[Path], None]) -> Path:
    """Let the first of several processes make a directory, and the others wait for it.

    :param make: fills the empty directory that it gets.
    :returns: *place*, complete.
    """
    with _locked(place):
        if not place.exists():
            work = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=place.parent))
            try:
                make(work)
                work.rename(place)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return place


def kept(name: str, recipe: str, make: Callable[[Path], None]) -> Path:
    """A directory that stays for later runs of the tests.

    :param recipe: everything that its content depends on; another recipe makes it again.
    """
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:16]
    found = made_once(_CACHE / f"{name}-{digest}", make)
    os.utime(found)
    for other in _CACHE.glob(f"{name}-*"):
        with contextlib.suppress(OSError):  # another process removes it
            if other.is_dir() and time.time() - other.stat().st_mtime > _UNUSED_S:
                shutil.rmtree(other)
    return found


def of_this_run(name: str, make: Callable[[Path], None]) -> Path:
    """A directory that all processes of one run of the tests share, and that ends with it."""
    return made_once(_run_directory() / name, make)


@functools.cache
def _run_directory() -> Path:
    if found := os.environ.get(RUN_DIRECTORY):
        return Path(found)
    # Not under pytest: the directory is this process's own.
    own = tempfile.mkdtemp(prefix="rr-templates-")
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    return Path(own)


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@functools.cache
def release_of(program: str) -> str:
    """Return what identifies a server's program: its release as it prints it."""
    done = subprocess.run([program, "--no-defaults", "--version"], capture_output=True, text=True, check=True)
    return done.stdout


def initialize_from_templates() -> None:
    """Let all nodes of this process be initialized by :func:`initialize`."""
    for kind in (mariadb.MariaDbServer, mysql.MySqlServer):
        real = kind.initialize
        kind.initialize = lambda server, real=real: initialize(server, real)  # type: ignore[method-assign]


def initialize(server: NodeProcess, real: Callable[[Any], None] | None = None) -> None:
    """Initialize a node as its server does, which happens once per release; later nodes get copies.

    :param real: the server's own way, where :meth:`initialize` is not that.
    """
    real = real or type(server).initialize
    program = server.program("mariadbd" if isinstance(server, mariadb.MariaDbServer) else "mysqld")
    data = server.layout.datadir

    def make(work: Path) -> None:
        real(server)
        copy_tree(data, work)
        shutil.rmtree(data)

    options = " ".join(server.variables.birth_options(server.layout.variables))
    made = kept(f"node-{type(server).__name__}", _source_of(server) + release_of(program) + options, make)
    server._prepare_directories()
    try:
        copy_tree(made, data)
    except OSError:  # what becomes of a full disk is the server's own to say
        shutil.rmtree(data)
        real(server)


def _source_of(server: NodeProcess) -> str:
    """Return the code that says how a node's data directory is initialized."""
    modules = (sys.modules[type(server).__module__], mariadb_options, mysql_options, server_options)
    return "".join(map(inspect.getsource, modules))
