"""Fault X14: whatever a server, its programs, a node or a file of a node's state says is a value or an error.

The error is one of the package, or the documented one of the driver.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pymysql
import pytest

from airflow_restore_replay.core.agent.state_file import StateFile
from airflow_restore_replay.core.config.cluster import load_clusters
from airflow_restore_replay.core.decoding import encode
from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.flavor import server_record
from airflow_restore_replay.core.flavor.binlogstream import BinaryLog
from airflow_restore_replay.core.flavor.classify import denied
from airflow_restore_replay.core.flavor.mariadb import binlog as mariadb
from airflow_restore_replay.core.flavor.mariadb import errorlog, gtid
from airflow_restore_replay.core.flavor.mariadb.backup import copied_position
from airflow_restore_replay.core.flavor.mariadb.dump import dumped_position
from airflow_restore_replay.core.flavor.mysql import binlog as mysql
from airflow_restore_replay.core.flavor.mysql import errorlog as mysql_errorlog
from airflow_restore_replay.core.flavor.mysql import gtid as mysql_gtid
from airflow_restore_replay.core.flavor.program_output import error_number, last_line, telling_line
from airflow_restore_replay.core.flavor.redaction import redacted_log, redacted_message
from airflow_restore_replay.core.flavor.replication import status_of, understood
from airflow_restore_replay.core.flavor.safe_connection import SafeConnection
from airflow_restore_replay.core.flavor.sql import rows
from airflow_restore_replay.core.flavor.values import Endpoint, ReplicationStatus
from airflow_restore_replay.core.jobs.node import NodeDir
from airflow_restore_replay.core.jobs.protocol import (
    PROTOCOL_VERSION,
    Answer,
    JobName,
    JobState,
    JobStatus,
    NodeHandle,
    Phase,
)
from airflow_restore_replay.core.repository.format.records import utc_now
from airflow_restore_replay.core.repository.transfer.restored_state import RestoredState
from airflow_restore_replay.core.runtime.client import NodeClient
from airflow_restore_replay.core.runtime.container import _frames
from airflow_restore_replay.core.runtime.host import answer_field, findings_in, information, nodes_in
from airflow_restore_replay.core.system.processes import ProcessId
from tests.support.hostile import FEW, MANY, Case, ends
from tests.support.impostor import handshake

UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
PRIMARY = Endpoint(host="db", port=3306, user="u", password="p")
OK = b"\x00\x00\x00\x02\x00\x00\x00"
END = b"\xfe\x00\x00\x02\x00"


def _spoken(numbered: list[tuple[int, bytes]]) -> bytes:
    return b"".join(struct.pack("<I", len(c))[:3] + bytes([n]) + c for n, c in numbered)


def connected(stream: bytes, use: Callable[[SafeConnection], object]) -> None:
    """Let *use* talk with a server that has sent *stream* and reads everything."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(stream[: 64 * 1024])
        theirs.shutdown(socket.SHUT_WR)
        conn: Any = SafeConnection(tls_asked_by="", host="db", user="u", password="p", defer_connect=True)
        with contextlib.closing(SimpleNamespace(close=conn._force_close)):
            conn.connect(ours)
            use(conn)


def _greeted(*answer: tuple[int, bytes]) -> bytes:
    # The greeting, the answer to the login, and the one to SET AUTOCOMMIT.
    return _spoken([(0, handshake("mysql_native_password")), (2, OK), (1, OK), (1, OK), *answer])


def _event(kind: int, body: bytes, end: int = 200) -> bytes:
    return b"\x00" + struct.pack("<IBIIIH", 1_700_000_000, kind, 7, 19 + len(body), end, 0) + body


def _stream(log: BinaryLog[Any, Any], start: bytes) -> Case:
    def read(stream: bytes) -> None:
        def use(conn: SafeConnection) -> None:
            reader = replace(log, connect=lambda *_, **__: conn)
            found = list(reader.transactions(PRIMARY, "binlog.000001"))
            assert found or stream not in case.valid

        connected(stream, use)

    head = _event(15, b"\x04\x00" + bytes(80) + b"\x00" + bytes(4))
    answer = [(1, OK), (1, head), (2, start), (3, _event(2, b"q" * 20, 300)), (4, b"\xfe")]
    case = Case(read, [_greeted(*answer)], (pymysql.err.MySQLError,))
    return case


def _result() -> Case:
    column = b"\x03def\x01s\x01t\x01t\x01c\x01c\x0c\x2d\x00\x0b\x00\x00\x00\x03\x00\x00\x00\x00\x00"
    answer = [(1, b"\x01"), (2, column), (3, END), (4, b"\x0217"), (5, END)]
    return Case(
        lambda stream: connected(stream, lambda conn: rows(conn, "SELECT 1")),
        [_greeted(*answer)],
        (pymysql.err.MySQLError,),
    )


def _log(rules: Any) -> Case:
    def read(text: bytes) -> None:
        log = redacted_log(text.decode(errors="replace"))
        lines = rules.data_errors(log) + rules.environment_errors(log)
        rules.telling(lines)

    entry = b"2026-01-01 10:00:00 1 [ERROR] InnoDB: Cannot open datafile 'a' Query: 'x' near 'y' at line 3\n"
    return Case(read, [entry * 2])


def _text(text: bytes) -> None:
    said = text.decode(errors="replace")
    error_number(telling_line(said, "mariadb-dump", 2))
    error_number(last_line(said))
    redacted_message(1062, said)
    denied(1045, said, "who")


def _answered(content: bytes) -> None:
    runtime: Any = SimpleNamespace(ask=lambda *_: content)
    handle = NodeHandle(node_id="orders-1", runtime="ssh", cluster="orders", workdir="/w", host="h")
    client = NodeClient(runtime, handle)
    readers: list[Callable[[], object]] = [
        lambda: client.wait("k") if client.status("k").status is not JobStatus.RUNNING else None,
        lambda: findings_in(content),
        lambda: nodes_in(content),
        lambda: answer_field(information(content), "workdir", str),
    ]
    for reader in readers:
        with contextlib.suppress(RestoreReplayError):
            reader()


def _container(stream: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(stream[: 64 * 1024])
        theirs.shutdown(socket.SHUT_WR)
        list(_frames(ours, time.monotonic() + 60))


def _in_file(directory: Path, name: str, read: Callable[[], object], valid: bytes) -> Case:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)

    def written(content: bytes) -> None:
        path.write_bytes(content)
        read()

    return Case(written, [valid])


STATE = JobState(
    key="k",
    job=JobName.RESTORE,
    status=JobStatus.FAILED,
    process=ProcessId(1, 1),
    started_at=utc_now(),
    failure=Failure.of(RestoreReplayError("m", evidence={"differences": [{"table": "a.b"}]})),
    result={"a": [1]},
)
FINDING = {"subject": "node", "name": "n", "severity": "ok", "observed": "o", "expected": "e"}
INFO = {"findings": [FINDING], "nodes": [{"node_id": "a"}], "workdir": "/w", "found": "all"}
CLUSTERS = b"""
clusters:
  orders:
    primary: {host: db, port: 3306}
    repository: {url: "file:///backups"}
    max_age: 26h
    node: {buffer_pool: 256MiB, max_age: 2d}
    validate: {exclude: ["a.b"]}
"""


def _cases() -> dict[str, Callable[[Path], Case]]:
    tagged = bytes([2, 60, 0, 0, 0, 2, *([2] * 16), 4, 4, 6, 2]) + b"a" + bytes([8, 2, 10, 2, 12, 4])
    plain: dict[str, Case] = {
        "mariadb stream": _stream(mariadb.LOG, _event(162, struct.pack("<QIB", 5, 0, 0) + bytes(6))),
        "mysql stream": _stream(
            mysql.LOG, _event(33, bytes(17) + struct.pack("<QBqq", 5, 2, 0, 1) + bytes(7))
        ),
        "mysql tagged stream": _stream(mysql.LOG, _event(42, tagged)),
        "result": _result(),
        "mariadb position": Case(lambda b: gtid.MariaDbPosition.parse(b.decode("latin-1")), [b"0-1-5,1-2-3"]),
        "mysql position": Case(
            lambda b: mysql_gtid.MySqlPosition.parse(b.decode("latin-1")),
            [f"{UUID}:1-5:7,{UUID}:a:1".encode()],
        ),
        "dump": Case(dumped_position, [b"SET GLOBAL gtid_slave_pos='0-1-5';\n"]),
        "mariadb log": _log(errorlog.RULES),
        "mysql log": _log(mysql_errorlog.RULES),
        "program": Case(_text, [b"mariadb-dump: Got error: 1045: \"Access denied for user 'u'\" (1045)\n"]),
        "answer": Case(_answered, [encode(Answer(state=STATE)), encode(Answer(info=INFO))]),
        "container": Case(_container, [struct.pack(">BxxxL", 1, 3) + b"abc"], (EOFError, TimeoutError)),
    }
    files: dict[str, Callable[[Path], Case]] = {
        "node state": lambda d: _in_file(d / "n", "node.json", NodeDir(d / "n").load, _node_state()),
        "job state": lambda d: _in_file(
            d,
            f"jobs/{StateFile(NodeDir(d), 'k').stem}.json",
            StateFile(NodeDir(d), "k").observe,
            encode(STATE),
        ),
        "server record": lambda d: _in_file(
            d,
            "agent/server.json",
            partial(server_record.load, d / "run"),
            b'{"process":{"pid":1,"started":1},"socket":"/s","log_offset":5}',
        ),
        "base": lambda d: _in_file(
            d,
            "base.json",
            lambda: RestoredState.load(d / "base.json", d / "pages"),
            b'{"chunk_size_bytes":16384,"files":[],"unverified":[],"stats":{"a":[1,1,1,1,1]}}',
        ),
        "copied position": lambda d: _in_file(
            d, "mariadb_backup_binlog_info", lambda: copied_position(d), b"binlog.000001\t5\t0-1-5\n"
        ),
        "clusters": lambda d: _in_file(d, "c.yaml", lambda: load_clusters(d / "c.yaml"), CLUSTERS),
    }
    return {name: partial(_same, case) for name, case in plain.items()} | files


def _same(case: Case, directory: Path) -> Case:
    return case


def _node_state() -> bytes:
    state = {
        "protocol": PROTOCOL_VERSION,
        "node_id": "orders-1",
        "cluster": {"primary": {"host": "db"}, "repository": {"url": "file:///b"}},
        "run": {"run": "r", "attempt": "replay", "lease_epoch": 1},
        "created_at": "2026-01-01T00:00:00Z",
        "expires_at": "2026-01-01T00:00:00Z",
        "server_id": 5,
        "phase": Phase.EMPTY,
        "facts": {"checks": [{"a": 1}]},
    }
    return msgspec.json.encode(state)


READERS = _cases()


@pytest.mark.parametrize("reader", READERS)
def test_x14_any_answer_is_read_or_refused(reader: str, tmp_path: Path) -> None:
    READERS[reader](tmp_path).try_out(FEW)


@pytest.mark.sweep(
    guards="any answer of a server, a program or a node, and any state file, is a value or an error"
)
@pytest.mark.parametrize("reader", READERS)
def test_x14_any_answer_is_read_or_refused_with_many_examples(reader: str, tmp_path: Path) -> None:
    READERS[reader](tmp_path).try_out(MANY)


_REPEATED = (
    *("need the ", "at least one of the ", "Could not execute x event on table ", "tablespace ", "Plugin '"),
    *(
        "Assertion ",
        "table ",
        "on 'a' ",
        "n't ",
        "near '",
        "Query: ",
        "Got error 5 - 'x' ",
        'Errcode: 5 "',
        "'",
    ),
    *(
        "ERROR 1 (a) in file: 'x\n",
        ", Gtid 1-1-1, Internal MariaDB error code: 1",
        "Duplicate entry 'a' for key ",
    ),
)


@pytest.mark.parametrize("text", _REPEATED)
def test_x14_no_text_of_a_server_takes_for_ever(text: str) -> None:
    long = (text * (100_000 // len(text) + 1))[:100_000]
    with ends():
        denied(1045, long, "who")
        redacted_message(1062, long)
        log = redacted_log(f"2026-01-01 10:00:00 1 [ERROR] {long}\n")
        for rules in (errorlog.RULES, mysql_errorlog.RULES):
            rules.telling(rules.data_errors(log) + rules.data_errors(long))


def test_x14_a_greeting_that_ends_anywhere_is_an_error() -> None:
    """A packet whose length says so; the cases above end the stream."""
    whole = handshake("mysql_native_password")
    for length in range(len(whole)):
        with pytest.raises(pymysql.err.MySQLError):
            connected(_spoken([(0, whole[:length])]), lambda conn: None)


@pytest.mark.parametrize("row", [{}, {"Replica_IO_Running": None}, {"Last_SQL_Errno": "x"}])
def test_x14_a_status_that_no_server_gives_is_an_error(row: dict[str, Any]) -> None:
    @understood
    def read(node: Any) -> ReplicationStatus:
        return status_of(
            row,
            applied=gtid.MariaDbPosition(),
            received=gtid.MariaDbPosition(),
            arriving="",
            progress=(),
            transactions=0,
            error=None,
        )

    node: Any = None
    with pytest.raises(RestoreReplayError, match="not readable"):
        read(node)
