"""Faults in the data of a restored server (rows, tables, definitions, files), which its checks must find."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.flavor.sql import run, value
from airflow_restore_replay.core.recovery.selftest import probe_schema as probe
from airflow_restore_replay.core.recovery.selftest.fault import Found
from airflow_restore_replay.core.recovery.selftest.probe_schema import SCHEMA, TABLE
from airflow_restore_replay.core.recovery.selftest.server_pair import ServerPair

_FILE = f"{SCHEMA}/orders.ibd"
_ELSEWHERE = {"mariadb": "4000-3900000001-7", "mysql": "11111111-2222-3333-4444-555555555555:1-7"}


@dataclass(frozen=True)
class DataFault:
    """A fault in the data of a server.

    :param row: id of the fault in docs/faults.md.
    :param find: causes the damage, returns what found it, and repairs it.
    """

    row: str
    fault: str
    find: Callable[[ServerPair], Found]


def _statements(harm: Sequence[str], repair: Sequence[str]) -> Callable[[ServerPair], Found]:
    def find(pair: ServerPair) -> Found:
        pair.execute(harm)
        found = pair.check()
        pair.execute(repair)
        return found

    return find


def _file(name: str, harm: Callable[[Path, int], None]) -> Callable[[ServerPair], Found]:
    """Return a ``find`` that damages a file of the stopped server.

    :param name: path of the file in the data directory.
    :param harm: called with the path of the file and the size of its pages.
    """

    def find(pair: ServerPair) -> Found:
        with _stopped(pair, name) as (path, page_bytes):
            harm(path, page_bytes)
            return pair.restart() or pair.check()

    return find


@contextmanager
def _stopped(pair: ServerPair, name: str) -> Iterator[tuple[Path, int]]:
    """Stop the node's server and yield path and page size of a file; then restore the file and start the server."""
    server, path = pair.ctx.server, pair.ctx.node.data / name
    with server.connect() as conn:
        page_bytes = int(value(conn, "SELECT @@innodb_page_size"))
        # Purge completely now: a purge after the next start would read the damaged page before a check does.
        run(conn, "SET GLOBAL innodb_fast_shutdown = 0")
    server.stop()
    saved = pair.ctx.node.path / "saved"
    shutil.copy2(path, saved)
    try:
        yield path, page_bytes
    finally:
        server.kill()
        shutil.move(saved, path)
        pair.restart()


def _corrupt_page(path: Path, page_bytes: int) -> None:
    _overwrite(path, 5 * page_bytes + page_bytes // 2, 64)


def _corrupt_system(path: Path, page_bytes: int) -> None:
    for page in range(8):
        _overwrite(path, page * page_bytes + 100, 500)


def _overwrite(path: Path, offset: int, size_bytes: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        before = file.read(size_bytes)
        file.seek(offset)
        file.write(bytes(byte ^ 0xFF for byte in before))


def _newer_release(pair: ServerPair) -> Found:
    release = pair.ctx.server.release()
    series = int(release.partition(".")[0])
    try:
        pair.ctx.flavor.refuse_release(backup=f"{series + 1}.0.0", node=release, primary=release)
    except RestoreReplayError as exc:
        return {"restore": exc.code}
    return {}


def _other_position(pair: ServerPair) -> Found:
    node = pair.ctx.node
    fill = node.load().facts.fill
    with node.changing() as state:
        state.facts.fill = fill | {"position": _ELSEWHERE[pair.ctx.flavor.name]}
    found = pair.check()
    with node.changing() as state:
        state.facts.fill = fill
    return found


def _drop(*what: str) -> list[str]:
    return [f"DROP {each}" for each in what]


#: faults D1 to D5 of docs/faults.md, the less harmful ones first
DATA: tuple[DataFault, ...] = (
    DataFault(
        "D5",
        "one value of one row changed",
        _statements(
            [f"UPDATE {TABLE} SET total = total + 1 WHERE id = 500"],
            [f"UPDATE {TABLE} SET total = total - 1 WHERE id = 500"],
        ),
    ),
    DataFault(
        "D5", "one row missing", _statements([f"DELETE FROM {TABLE} WHERE id = 500"], [probe.insert("= 500")])
    ),
    DataFault(
        "D5",
        "one row too many",
        _statements(
            [f"INSERT INTO {TABLE} VALUES (5000, 'nobody', 0)"], [f"DELETE FROM {TABLE} WHERE id = 5000"]
        ),
    ),
    DataFault(
        "D5",
        "nine of ten rows missing",
        _statements([f"DELETE FROM {TABLE} WHERE id > 90"], [probe.insert("> 90")]),
    ),
    DataFault("D5", "a table lost", _statements(_drop(f"TABLE {SCHEMA}.order_lines"), probe.LINES)),
    DataFault(
        "D5",
        "a table too many",
        _statements(
            [f"CREATE TABLE {SCHEMA}.strange (id INT PRIMARY KEY) ENGINE=InnoDB"],
            _drop(f"TABLE {SCHEMA}.strange"),
        ),
    ),
    DataFault("D5", "a view altered", _statements([probe.VIEW.replace("100", "101")], [probe.VIEW])),
    DataFault(
        "D5", "a routine lost", _statements(_drop(f"PROCEDURE {SCHEMA}.raise_totals"), [probe.ROUTINE])
    ),
    DataFault("D5", "a trigger lost", _statements(_drop(f"TRIGGER {SCHEMA}.trimmed"), [probe.TRIGGER])),
    DataFault("D5", "a privilege lost", _statements([probe.REVOKE], [probe.GRANT])),
    DataFault("D5", "server at another position than the manifest's", _other_position),
    DataFault("D3", "backup of a newer release than the server's", _newer_release),
    DataFault("D1", "one page of a table corrupt", _file(_FILE, _corrupt_page)),
    DataFault("D4", "file of a table missing", _file(_FILE, lambda path, _: path.unlink())),
    DataFault(
        "D2", "system tablespace corrupt, the server does not start", _file("ibdata1", _corrupt_system)
    ),
)
