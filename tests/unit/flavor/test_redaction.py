"""X1: no statement and no value of a row in what is shown of a server's texts; the texts are the servers' own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.flavor.classify import ErrorRules
from airflow_restore_replay.core.flavor.errorlog import read_from
from airflow_restore_replay.core.flavor.mariadb import backup
from airflow_restore_replay.core.flavor.mariadb.classify import RULES as MARIADB
from airflow_restore_replay.core.flavor.mariadb.dump import MariaDbDump
from airflow_restore_replay.core.flavor.mysql.classify import RULES as MYSQL
from airflow_restore_replay.core.flavor.mysql.dump import MySqlDump
from airflow_restore_replay.core.flavor.program_output import last_line

SECRET = "T0p-s3cret"
_UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
_WORKER = (
    f"Worker 1 failed executing transaction '{_UUID}:23' at source log binlog.000001, end_log_pos 1234; "
)
_MARIADB_ROW = "Could not execute Write_rows_v1 event on table shop.cards; {}, Error_code: {}; handler error "
_MARIADB_ROW += "HA_ERR_FOUND_DUPP_KEY; the event's master log mysql-bin.000001, end_log_pos 1234"
_MYSQL_ROW = (
    _WORKER + "Could not execute Write_rows event on table shop.cards; {}, Error_code: {}; handler error "
)
_MYSQL_ROW += "HA_ERR_FOUND_DUPP_KEY; the event's source log FIRST, end_log_pos 1234"
_MARIADB_DUPLICATE = _MARIADB_ROW.format(f"Duplicate entry '{SECRET}' for key 'number'", 1062)
_MYSQL_DUPLICATE = _MYSQL_ROW.format(f"Duplicate entry '{SECRET}' for key 'cards.number'", 1062)
_MARIADB_LOG = "2026-01-01  1:00:00 7 [ERROR] "
_MYSQL_LOG = "2026-01-01T01:00:00.000001Z 6 [ERROR] [MY-010584] [Repl] Replica SQL for channel '': "


def shown(error: RestoreReplayError) -> str:
    """:returns: all that is recorded, logged and printed of *error*."""
    failure = Failure.of(error)
    return f"{error} {failure.message} {failure.hint} {failure.evidence}"


@pytest.mark.parametrize(
    ("rules", "number", "text", "kept"),
    [
        (
            MARIADB,
            1396,
            "Error 'Operation CREATE USER failed for 'svc'@'%'' on query. Default database: ''. "
            f"Query: 'CREATE USER 'svc'@'%' IDENTIFIED BY '{SECRET}''",
            "Operation CREATE USER failed for 'svc'@'%'' on query",
        ),
        (
            MYSQL,
            1396,
            f"{_WORKER}Error 'Operation CREATE USER failed for 'svc'@'%'' on query. Default database: ''. "
            f"Query: 'CREATE USER 'svc'@'%' IDENTIFIED WITH 'caching_sha2_password' AS '$A$005${SECRET}''",
            "Operation CREATE USER failed for 'svc'@'%'' on query. Default database: ''. Query: '…'",
        ),
        (
            MARIADB,
            1062,
            _MARIADB_ROW.format(f"Duplicate entry '{SECRET}' for key 'number'", 1062),
            "Duplicate entry '…' for key 'number', Error_code: 1062; handler error HA_ERR_FOUND_DUPP_KEY; the "
            "event's master log mysql-bin.000001, end_log_pos 1234",
        ),
        (
            MYSQL,
            1062,
            _MYSQL_ROW.format(f"Duplicate entry 'x' for key 'y{SECRET}' for key 'cards.number'", 1062),
            f"transaction '{_UUID}:23' at source log binlog.000001, end_log_pos 1234",
        ),
        (
            MARIADB,
            1062,
            f"Error 'Duplicate entry '{SECRET}' for key 'PRIMARY'' on query. Default database: 'shop'. "
            f"Query: 'INSERT INTO cards VALUES ('{SECRET}', 1)'",
            "Duplicate entry '…' for key 'PRIMARY'' on query. Default database: 'shop'.",
        ),
        (
            MARIADB,
            1062,
            f"Could not execute Write_rows_v1 event on table shop.cards; Duplicate entry '{SECRET}",
            "event on table shop.cards; Duplicate entry '…'",
        ),
        (
            MARIADB,
            1366,
            f"Error 'Incorrect integer value: '{SECRET}' for column `shop`.`cards`.`n` at row 1' on query.",
            "Incorrect integer value: '…' for column `shop`.`cards`.`n` at row 1",
        ),
        (
            MYSQL,
            1690,
            _MYSQL_ROW.format(f"BIGINT value is out of range in '(`shop`.`cards`.`n` + {SECRET})'", 1690),
            "BIGINT value is out of range in '…'",
        ),
        (
            MARIADB,
            1644,
            f"Error 'no such card: {SECRET}' on query. Default database: 'shop'. Query: 'DELETE FROM cards'",
            "Error '…' on query. Default database: 'shop'",
        ),
        (MYSQL, 30001, f"{_WORKER}Error 'no such card: {SECRET}' on query.", f"{_WORKER}Error '…' on query."),
        (MARIADB, 1526, f"Error 'Table has no partition for value {SECRET}' on query.", "for value …"),
        (MYSQL, 9999, f"{_WORKER}Error 'Cannot get \"{SECRET}\" from '{SECRET}'' on query.", "Cannot get"),
        (
            MYSQL,
            9999,
            f'A text of a later release: {SECRET!r} is not "{SECRET}"',
            "A text of a later release",
        ),
        (
            MARIADB,
            1593,
            "Query partially completed on the master (error on master: 1062) and was aborted. There is a chance that "
            "your master is inconsistent at this point. If you are sure that your master is ok, run this query "
            "manually on the slave and then restart the slave with SET GLOBAL SQL_SLAVE_SKIP_COUNTER=1; START SLAVE;."
            f" Query:'INSERT INTO cards VALUES ('{SECRET}')'",
            "Query partially completed",
        ),
        (
            MARIADB,
            3,
            "Query caused different errors on master and slave.     Error on master: message (format)='Duplicate entry "
            "'%-.192s' for key %d' error code=1062 ; Error on slave: actual message='Duplicate entry "
            f"'{SECRET}' for key 1', error code=0. Default database: 'shop'. Query: 'INSERT '{SECRET}''",
            "Query caused different errors on master and slave.",
        ),
    ],
)
def test_x1_the_error_of_an_applier_shows_no_statement_and_no_value(
    rules: ErrorRules, number: int, text: str, kept: str
) -> None:
    error = rules.applier_error(number, text, "mysql-bin.000001:4 after 0-1-7")
    assert SECRET not in shown(error)
    assert kept in error.message
    assert f"error {number}" in error.message
    assert "mysql-bin.000001:4 after 0-1-7" in error.message


@pytest.mark.parametrize(
    "text",
    [
        "Could not execute Update_rows_v1 event on table a.t; Can't find record in 't', Error_code: 1032; handler "
        "error HA_ERR_KEY_NOT_FOUND; the event's master log mysql-bin.000001, end_log_pos 1234",
        "Column 1 of table 'd.t' cannot be converted from type 'varchar(10 octets)' to type 'int'",
        "Error executing row event: 'Table 'a.t' doesn't exist'",
        "Error 'Unknown column 'c' in 'field list'' on query. Default database: 'd'.",
        "Error 'Can't DROP INDEX `c`; check that it exists' on query. Default database: 'd'.",
        "Error 'Cannot add or update a child row: a foreign key constraint fails (`d`.`t`, CONSTRAINT `c` FOREIGN KEY "
        "(`a`) REFERENCES `p` (`a`))' on query. Default database: 'd'.",
        "Error 'The user specified as a definer ('a'@'%') does not exist' on query. Default database: 'd'.",
        "Error 'execute command denied to user 'u'@'h' for routine 'd.f'' on query. Default database: 'd'.",
        "Error writing file '/x' (Errcode: 28 \"No space left on device\")",
        'Got error 194 "Tablespace is missing for a table" from storage engine InnoDB',
        "Relay log read failure: Could not parse relay log event entry.",
        f"Coordinator stopped because there were error(s) in the worker(s). The most recent failure being: {_WORKER}"
        "See error log and/or performance_schema.replication_applier_status_by_worker table for more details about "
        "this failure or others, if any.",
    ],
)
@pytest.mark.parametrize("rules", [MARIADB, MYSQL], ids=["mariadb", "mysql"])
def test_a_text_that_quotes_names_only_is_shown_as_it_is(rules: ErrorRules, text: str) -> None:
    assert rules.applier_error(1105, text, "f:4").evidence["text"] == text


def test_a_value_decides_nothing() -> None:
    """A user who writes "disk is full" into a row decides neither whom the error blames nor the text of the log."""
    for rules, row in ((MARIADB, _MARIADB_ROW), (MYSQL, _MYSQL_ROW)):
        for value in ("disk is full", "out of memory", "relay log read failure"):
            error = rules.applier_error(
                1062, row.format(f"Duplicate entry '{value}' for key 'k'", 1062), "f:4"
            )
            assert error.code == "ReplayConflict"


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        (
            MARIADB,
            "Got fatal error 1236 from master when reading data from binary log: 'Error: connecting slave requested to "
            "start from GTID 0-1-9, which is not in the master's binlog. Since the master's binlog contains GTIDs with "
            "higher sequence numbers, it probably means that the slave has diverged due to executing extra erroneous "
            "transactions'",
        ),
        (
            MYSQL,
            "Got fatal error 1236 from source when reading data from binary log: 'bogus data in log event; the first "
            "event 'binlog.000002' at 4, the last event read from './binlog.000002' at 126'",
        ),
        (
            MYSQL,
            "error connecting to source 'u@h:3306' - retry-time: 2 retries: 1 message: Access denied for user 'u'@'h'",
        ),
    ],
)
def test_the_error_of_a_receiver_is_shown_as_it_is(rules: ErrorRules, text: str) -> None:
    assert text in rules.io_error(1236, text).message


@pytest.mark.parametrize(
    ("fail", "stderr", "kept"),
    [
        (
            MariaDbDump().load_error,
            f"ERROR 1062 (23000) at line 42: Duplicate entry '{SECRET}' for key 'PRIMARY'",
            "ERROR 1062 (23000) at line 42: Duplicate entry '…' for key 'PRIMARY'",
        ),
        (
            MySqlDump().load_error,
            "ERROR 1064 (42000) at line 7: You have an error in your SQL syntax; check the manual that corresponds to "
            f"your MySQL server version for the right syntax to use near 'x\n{SECRET}'\nan error {SECRET}' at line 2",
            "near '…' at line 2",
        ),
        (
            MariaDbDump().load_error,
            f"ERROR 1644 (45000) at line 9: no card {SECRET}",
            "ERROR 1644 (45000) at line 9",
        ),
        (
            MariaDbDump().load_error,
            f"ERROR 1366 (22007) at line 3: Incorrect integer value: '{SECRET}' for column `a`.`b`.`c` at row 2",
            "for column `a`.`b`.`c` at row 2",
        ),
        (
            MySqlDump().dump_error,
            f"mysqldump: Error 1366: Incorrect string value: '{SECRET}' for column 'c' at row 1 when dumping table `t`",
            "for column 'c' at row 1 when dumping table `t`",
        ),
        (
            backup.backup_error,
            f"[01] Error: page corruption, record: COMPACT RECORD(2): {{[4]{SECRET}}}",
            "corruption",
        ),
    ],
)
def test_x1_the_error_of_a_program_shows_no_statement_and_no_value(
    fail: Callable[[int, str], RestoreReplayError], stderr: str, kept: str
) -> None:
    error = fail(1, stderr)
    assert SECRET not in shown(error)
    assert kept in error.message


def test_x1_an_installer_shows_no_statement() -> None:
    text = f"ERROR: 1064  You have an error in your SQL syntax near 'IDENTIFIED BY '{SECRET}'' at line 1"
    assert last_line(text) == "ERROR: 1064  You have an error in your SQL syntax near '…' at line 1"


def test_x1_lines_of_an_error_log_show_no_statement_and_no_row(tmp_path: Path) -> None:
    entries = [
        f"{_MARIADB_LOG}Slave SQL: Error 'Operation CREATE USER failed for 'svc'@'%'' on query. Default database: ''. "
        f"Query: 'CREATE USER 'svc'@'%'\nIDENTIFIED BY '{SECRET}' /* {SECRET} is corrupted */', Gtid 0-1-7, Internal "
        "MariaDB error code: 1396",
        f"{_MARIADB_LOG}Slave SQL: {_MARIADB_DUPLICATE}, Gtid 0-1-8, Internal MariaDB error code: 1062",
        f"{_MYSQL_LOG}{_WORKER}Error 'no card {SECRET}' on query. Default database: 'd'. Query: 'DELETE FROM t /* "
        f"{SECRET} */', Error_code: MY-001644",
        f"{_MYSQL_LOG}{_MYSQL_DUPLICATE}, Error_code: MY-001062",
        f"{_MARIADB_LOG}InnoDB: tried to purge non-delete-marked record in index `PRIMARY` of table `d`.`t`: tuple: "
        f"TUPLE (info_bits=0, 1 fields): {{[9]{SECRET}(0x5430)}}, record: COMPACT RECORD(info_bits=32, 1 fields): "
        f"{{[9]{SECRET}(0x5430)}}",
        f"{_MARIADB_LOG}mariadbd got signal 11 ;\nQuery (0x7f3c): INSERT INTO t VALUES\n('{SECRET}')\n"
        "Connection ID (thread ID): 5\nStatus: NOT_KILLED",
        f"{_MARIADB_LOG}InnoDB: Cannot open datafile for read-only: './a/t.ibd' OS error: 71",
    ]
    path = tmp_path / "error.log"
    path.write_text("\n".join(entries) + "\n")
    text = read_from(path, 0)
    assert SECRET not in text
    lines = text.splitlines()
    assert len([line for line in lines if "[ERROR]" in line]) == len(entries)
    assert "Gtid 0-1-7, Internal MariaDB error code: 1396" in lines[0]
    assert "Connection ID (thread ID): 5" in lines
    assert lines[-1] == entries[-1]
