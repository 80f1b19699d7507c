"""The server's words, as MariaDB 10.5–11.8 print them, and whom they blame."""

from __future__ import annotations

import pytest

from airflow_restore_replay.core import errors
from airflow_restore_replay.core.flavor.mariadb import backup, dump, errorlog, grants
from airflow_restore_replay.core.flavor.mariadb.classify import RULES as classify

_GOT_FATAL = "Got fatal error 1236 from master when reading data from binary log: "


@pytest.mark.parametrize(
    ("number", "text", "expected"),
    [
        (
            1236,
            _GOT_FATAL + "'Could not find GTID state requested by slave in any binlog files. "
            "Probably the slave state is too old and required binlog files have been purged.'",
            errors.BinlogPurged,
        ),
        (
            1236,
            _GOT_FATAL + "'Error: connecting slave requested to start from GTID 0-1-9, which is not in the "
            "master's binlog'",
            errors.HistoryDiverged,
        ),
        (
            1236,
            _GOT_FATAL
            + "'Error: connecting slave requested to start from GTID 0-1-9, which is not in the master's "
            "binlog. Since the master's binlog contains GTIDs with higher sequence numbers, it probably means "
            "that the slave has diverged due to executing extra erroneous transactions'",
            errors.HistoryDiverged,
        ),
        (
            1236,
            _GOT_FATAL
            + "'log event entry exceeded max_allowed_packet; Increase max_allowed_packet on master'",
            errors.PrimaryUnreachable,
        ),
        (
            1236,
            _GOT_FATAL + "'binlog truncated in the middle of event; consider out of disk space'",
            errors.SourceCorrupt,
        ),
        (1236, _GOT_FATAL + "'event read from binlog did not pass crc check'", errors.SourceCorrupt),
        (
            1045,
            "error connecting to master 'u@h:3306' - Access denied for user 'u'@'h'",
            errors.ReplicationDenied,
        ),
        (
            1227,
            "Access denied; you need (at least one of) the REPLICATION SLAVE privilege(s)",
            errors.ReplicationDenied,
        ),
        (2003, "error connecting to master - Can't connect to server (111)", errors.PrimaryUnreachable),
        (
            1593,
            "Fatal error: The slave I/O thread stops because master and slave have equal MySQL server ids; "
            "these server ids must be different",
            errors.ReplicationDenied,
        ),
    ],
)
def test_errors_of_the_io_thread(number: int, text: str, expected: type[Exception]) -> None:
    assert type(classify.io_error(number, text)) is expected


@pytest.mark.parametrize(
    ("number", "text", "expected"),
    [
        (
            1032,
            "Could not execute Update_rows_v1 event on table a.t; Can't find record in 't', Error_code: 1032;",
            errors.ReplayConflict,
        ),
        (
            1062,
            "Could not execute Write_rows_v1 event on table a.t; Duplicate entry '1'",
            errors.ReplayConflict,
        ),
        (1146, "Error executing row event: 'Table 'a.t' doesn't exist'", errors.ReplayConflict),
        (1396, "Error 'Operation CREATE USER failed for 'x'@'%'' on query.", errors.NotReplayable),
        (1114, "Could not execute Write_rows event on table a.t; The table 't' is full", errors.NodeFull),
        (3, "Error writing file '/x' (Errcode: 28 \"No space left on device\")", errors.NodeFull),
        (1317, "Query execution was interrupted", errors.NodeServerCrashed),
        (5, "Out of memory (Needed 8388608 bytes)", errors.NodeServerCrashed),
        (1286, "Error 'Unknown storage engine 'FEDERATED'' on query.", errors.NotReplayable),
        (9999, "something nobody has seen", errors.NotReplayable),
        (1049, "Error 'Unknown database 'Sales'' on query.", errors.NotReplayable),
        (1118, "Error 'Row size too large.' on query.", errors.NotReplayable),
        (1677, "Column 1 of table 'a.t' cannot be converted from type 'a' to type 'b'", errors.NotReplayable),
        (
            1812,
            "Could not execute Write_rows event on table a.t; Tablespace is missing",
            errors.ReplayConflict,
        ),
        (
            1812,
            "Error 'Tablespace is missing' on query. Default database: ''. "
            "Query: 'ALTER TABLE a.t IMPORT TABLESPACE'",
            errors.NotReplayable,
        ),
        (
            1812,
            "Error 'Tablespace is missing' on query. Default database: ''. "
            "Query: '/* job 7 */ ALTER TABLE a.t -- nightly\n IMPORT PARTITION p0, p1 TABLESPACE /* of copies */'",
            errors.NotReplayable,
        ),
        (
            1062,
            "Error 'Duplicate entry' on query. Query: 'INSERT INTO a.t VALUES (1, 'IMPORT TABLESPACE')'",
            errors.ReplayConflict,
        ),
        (1594, "Relay log read failure", errors.NodeServerCrashed),
    ],
)
def test_errors_of_the_applier(number: int, text: str, expected: type[Exception]) -> None:
    error = classify.applier_error(number, text, "binlog.000001:4")
    assert type(error) is expected
    assert error.evidence["position"] == "binlog.000001:4"


def test_a_conflict_names_table_and_position() -> None:
    error = classify.applier_error(
        1032, "Could not execute Update_rows_v1 event on table a.t; Can't find", "f:9"
    )
    assert error.evidence == {
        "error": 1032,
        "text": "Could not execute Update_rows_v1 event on table a.t; Can't find",
        "position": "f:9",
        "table": "a.t",
    }


@pytest.mark.parametrize("number", [1317, 1927, 1969])
def test_a_receiver_whose_question_was_ended_asks_again(number: int) -> None:
    text = "The slave I/O thread stops because a fatal error is encountered when it try to get the value of SERVER_ID"
    assert classify.passes(number, text)
    assert not classify.passes(1593, text)


def test_a_refused_replica_reads_which_grant_is_missing() -> None:
    error = classify.io_error(
        1227, "Access denied; you need (at least one of) the REPLICATION SLAVE privilege(s)"
    )
    assert "REPLICATION SLAVE" in error.hint


@pytest.mark.parametrize(
    ("stderr", "expected"),
    [
        ("mariadb-dump: Got error: 1045: Access denied for user 'u'@'h'", errors.ReplicationDenied),
        ("mariadb-dump: Got error: 2002: Can't connect to server", errors.PrimaryUnreachable),
        (
            "mariadb-dump: Error 2013: Lost connection to server when dumping table `t` at row: 5",
            errors.PrimaryUnreachable,
        ),
        (
            "mariadb-dump: Error 1034: Index for table 't' is corrupt; try to repair it when dumping",
            errors.SourceCorrupt,
        ),
        (
            "mariadb-dump: Error 1412: Table definition has changed, please retry transaction",
            errors.SeedFailed,
        ),
        ("", errors.SeedFailed),
    ],
)
def test_errors_of_a_dump(stderr: str, expected: type[Exception]) -> None:
    assert type(dump.MariaDbDump().dump_error(2, stderr)) is expected


@pytest.mark.parametrize(
    ("stderr", "expected"),
    [
        (
            "[00] FATAL ERROR: Failed to connect to MariaDB server: Access denied for user 'u'@'h'",
            errors.ReplicationDenied,
        ),
        (
            "[00] FATAL ERROR: Failed to connect to MariaDB server: Can't connect to server (111)",
            errors.PrimaryUnreachable,
        ),
        (
            "[01] Database page corruption detected at page 3, retrying...\n[01] mariabackup: Error: failed",
            errors.SourceCorrupt,
        ),
        ("mbstream: something else", errors.SeedFailed),
    ],
)
def test_errors_of_a_physical_copy(stderr: str, expected: type[Exception]) -> None:
    assert type(backup.backup_error(1, stderr)) is expected


_POSITION = b"-- GTID to start replication from\n-- SET GLOBAL gtid_slave_pos='0-1-%d';\n"
#: what rows might hold
_LOOKS_LIKE_IT = b"--\n-- Current Database: `shop`\n--\n\nUSE `shop`;\nSET GLOBAL gtid_slave_pos='0-9-9';\n"


@pytest.mark.parametrize(
    ("head", "tail"),
    [
        (b"-- MariaDB dump\n--\n" + _POSITION % 5 + b"\n--\n" + _LOOKS_LIKE_IT, _LOOKS_LIKE_IT),
        (b"-- MariaDB dump\n--\n" + _LOOKS_LIKE_IT, _LOOKS_LIKE_IT + _POSITION % 5),
    ],
    ids=["10.5", "10.11"],
)
def test_the_position_of_a_dump_is_where_its_release_writes_it(head: bytes, tail: bytes) -> None:
    assert str(dump.dumped_position(tail, head)) == "0-1-5"


def test_a_dump_without_a_position_is_none() -> None:
    with pytest.raises(errors.SeedFailed, match="no GTID"):
        dump.dumped_position(b"-- Dump completed\n", b"-- MariaDB dump\n")


def test_the_log_blames_the_data_only_for_the_data() -> None:
    text = "\n".join(
        [
            "2026-01-01 1:00:00 0 [Note] InnoDB: started",
            "2026-01-01 1:00:00 0 [ERROR] mariadbd: Can't open shared library 'ha_federated.so'",
            "2026-01-01 1:00:00 0 [ERROR] Slave SQL: Error 'x' on query, Gtid 0-1-1, Internal MariaDB error code: 1062",
            "2026-01-01 1:00:00 0 [ERROR] InnoDB: Cannot open datafile for read-only: './a/t.ibd' OS error: 71",
            "2026-01-01 1:00:00 0 [ERROR] InnoDB: Write to file ./ibdata1 failed: No space left on device",
        ]
    )
    assert [line.partition("InnoDB: ")[2][:20] for line in errorlog.RULES.data_errors(text)] == [
        "Cannot open datafile"
    ]
    assert len(errorlog.RULES.all_errors(text)) == 4


def test_missing_grants_are_named_and_aliases_count() -> None:
    lines = [
        "GRANT SELECT, PROCESS, LOCK TABLES, REPLICATION SLAVE, BINLOG MONITOR, SHOW VIEW ON *.* TO `u`@`%`",
        "GRANT EVENT, TRIGGER ON `only`.* TO `u`@`%`",
    ]
    assert grants.PRIVILEGES.keys() - grants.parse(lines) == {"EVENT", "TRIGGER", "RELOAD"}
    assert grants.PRIVILEGES.keys() <= grants.parse(
        ["GRANT ALL PRIVILEGES ON *.* TO `u`@`%` WITH GRANT OPTION"]
    )
    assert {"BINLOG MONITOR", "REPLICATION SLAVE"} <= grants.parse(
        ["GRANT REPLICATION CLIENT, REPLICATION REPLICA ON *.* TO `u`@`%`"]
    )


def test_ssh_gets_one_quoted_word_and_others_plain_arguments() -> None:
    command = ["mariadb-backup", "--target-dir=/a b;$(id)"]
    assert backup.on_host(["ssh", "db1"], command) == [
        "ssh",
        "db1",
        "mariadb-backup '--target-dir=/a b;$(id)'",
    ]
    assert backup.on_host(["docker", "exec", "-i", "db1"], command)[-1] == "--target-dir=/a b;$(id)"
