"""Confine a child process to the files, TCP ports and processes that it needs, by Landlock.

Neither the process nor its children can lift the confinement, whatever account they run as, root included. It needs no
privileges. Source: landlock(7) and the kernel's ``include/uapi/linux/landlock.h``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from airflow_restore_replay.core.system.libc import LIBC, checked

T = TypeVar("T")

# Before version 2, a confined process cannot rename a file into another directory, which servers do.
LEAST_VERSION = 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_QUERY_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_SET_NO_NEW_PRIVILEGES = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = (1 << bit for bit in range(4))
_REMOVE_DIR, _REMOVE_FILE, _MAKE_CHAR, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK = (1 << bit for bit in range(4, 10))
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_ALL_OF_VERSION_2, _ALL_OF_VERSION_3 = (1 << 14) - 1, (1 << 15) - 1
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2

_READ = _READ_FILE | _READ_DIR
# No symbolic links, devices or FIFOs: a server's directory has none.
_WRITE = (
    _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SOCK | _REFER | _TRUNCATE
)
# Rights that a rule for a file, not a directory, may give.
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE


@dataclass(frozen=True)
class Confinement:
    """What a process may use; a path that does not exist is left out.

    :param programs: files and directories that it may read and execute.
    :param readable: files and directories that it may read.
    :param writable: files and directories that it may change.
    :param tcp_ports: ports that it may connect to, from Linux 6.7 on; None for all.
    :param listening: ports that it may listen on, from Linux 6.7 on.
    """

    programs: Sequence[Path] = ()
    readable: Sequence[Path] = ()
    writable: Sequence[Path] = ()
    tcp_ports: Sequence[int] | None = ()
    listening: Sequence[int] = ()


@cache
def landlock_version() -> int:
    """Return the version of Landlock's interface that this kernel offers; 0 if it offers none."""
    version: int = LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _QUERY_VERSION)
    return max(0, version)


def run_confined(confinement: Confinement, start: Callable[[], T]) -> T:
    """Call *start* in a thread of its own that is confined, and return its result.

    Landlock confines the calling thread and the processes that it starts. The thread ends here, so the rest of this
    process stays as it is.

    :raises OSError: the kernel refuses the confinement; *start* was not called.
    """

    def confined() -> T:
        _restrict(confinement)
        return start()

    with ThreadPoolExecutor(1, thread_name_prefix="confined") as thread:
        return thread.submit(confined).result()


def _restrict(confinement: Confinement) -> None:
    version = landlock_version()
    if version < LEAST_VERSION:
        raise OSError(f"Landlock version {version}; at least {LEAST_VERSION} is needed")
    handled = _ALL_OF_VERSION_3 if version >= 3 else _ALL_OF_VERSION_2
    network = (0 if confinement.tcp_ports is None else _CONNECT_TCP) | _BIND_TCP
    ruleset = _call(_CREATE_RULESET, *_attributes(version, handled, network), 0)
    try:
        for paths, rights in (
            (confinement.programs, _READ | _EXECUTE),
            (confinement.readable, _READ),
            (confinement.writable, _WRITE),
        ):
            for path in paths:
                _allow_path(ruleset, path, rights & handled)
        if version >= 4:
            for port in confinement.tcp_ports or ():
                _add_rule(ruleset, _NET_PORT, struct.pack("=QQ", _CONNECT_TCP, port))
            for port in confinement.listening:
                _add_rule(ruleset, _NET_PORT, struct.pack("=QQ", _BIND_TCP, port))
        checked(LIBC.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "prctl")
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _attributes(
    version: int, handled: int, network: int
) -> tuple[ctypes.Array[ctypes.c_char], ctypes.c_size_t]:
    packed = struct.pack("=Q", handled)
    if version >= 4:
        packed += struct.pack("=Q", network)
    if version >= 6:
        packed += struct.pack("=Q", _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS)
    return ctypes.create_string_buffer(packed, len(packed)), ctypes.c_size_t(len(packed))


def _allow_path(ruleset: int, path: Path, rights: int) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            is_directory = stat.S_ISDIR(os.fstat(place).st_mode)
            allowed = rights if is_directory else rights & _OF_FILES
            _add_rule(ruleset, _PATH_BENEATH, struct.pack("=Qi", allowed, place))
        finally:
            os.close(place)


def _add_rule(ruleset: int, kind: int, rule: bytes) -> None:
    _call(_ADD_RULE, ruleset, kind, ctypes.create_string_buffer(rule, len(rule)), 0)


def _call(number: int, *arguments: object) -> int:
    return checked(LIBC.syscall(number, *arguments), f"Landlock call {number}")
