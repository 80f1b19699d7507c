"""What MySQL's messages mean; the texts are the server's own."""

from __future__ import annotations

import pytest

from airflow_restore_replay.core.errors import (
    BinlogPurged,
    HistoryDiverged,
    NodeFull,
    NodeServerCrashed,
    NotReplayable,
    PrimaryUnreachable,
    ReleaseRefused,
    ReplayConflict,
    ReplicationDenied,
    RestoreReplayError,
    SeedFailed,
    SourceCorrupt,
)
from airflow_restore_replay.core.flavor.mysql import clone, errorlog, grants
from airflow_restore_replay.core.flavor.mysql.classify import RULES as classify
from airflow_restore_replay.core.flavor.mysql.dialect import dialect
from airflow_restore_replay.core.flavor.mysql.dump import MySqlDump, tls_options
from airflow_restore_replay.core.flavor.mysql.identity import refuse_release
from airflow_restore_replay.core.flavor.values import Endpoint

_FATAL = "Got fatal error 1236 from source when reading data from binary log: '{}'"


@pytest.mark.parametrize("number", [1236, 13114])
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (
            "Cannot replicate because the source purged required binary logs. Replicate the missing transactions "
            "from elsewhere, or provision a new replica from backup.",
            BinlogPurged,
        ),
        ("Could not find first log file name in binary log index file", BinlogPurged),
        (
            "Replica has more GTIDs than the source has, using the source's SERVER_UUID. This may indicate that the "
            "the last binary log file was truncated or lost",
            HistoryDiverged,
        ),
        (
            "log event entry exceeded max_allowed_packet; Increase max_allowed_packet on source",
            PrimaryUnreachable,
        ),
        ("bogus data in log event; the first event 'binlog.000002' at 4", SourceCorrupt),
        ("Event read from binlog is corrupted", SourceCorrupt),
    ],
)
def test_a_fatal_error_is_told_by_its_text(number: int, text: str, kind: type[RestoreReplayError]) -> None:
    assert type(classify.io_error(number, _FATAL.format(text))) is kind


def test_a_missing_grant_is_named() -> None:
    text = "Source command COM_REGISTER_REPLICA failed: Access denied for user 'x'@'%' (Errno: 1045)"
    error = classify.io_error(13120, text)
    assert isinstance(error, ReplicationDenied)
    assert "REPLICATION SLAVE" in error.hint


@pytest.mark.parametrize(
    ("number", "text", "kind"),
    [
        (
            1032,
            "Could not execute Update_rows event on table shop.orders; Can't find record in 'orders', Error_code: 1032",
            ReplayConflict,
        ),
        (1062, "Error 'Duplicate entry '1' for key 't.PRIMARY'' on query", ReplayConflict),
        (1021, "Disk full (/tmp/x); waiting for someone to free some space", NodeFull),
        (1205, "Lock wait timeout exceeded", NodeServerCrashed),
        (1452, "Cannot add or update a child row: a foreign key constraint fails", NotReplayable),
        (3121, "The DATA DIRECTORY location must be in a known directory.", NotReplayable),
        (1524, "Plugin 'authentication_ldap_simple' is not loaded", NotReplayable),
        (1141, "There is no such grant defined for user 'ops' on host '%'", NotReplayable),
    ],
)
def test_an_appliers_error_blames_the_data_only_if_it_is_in_the_data(
    number: int, text: str, kind: type[RestoreReplayError]
) -> None:
    error = classify.applier_error(number, text, "binlog.000001:4")
    assert type(error) is kind
    if number == 1032:
        assert error.evidence["table"] == "shop.orders"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Clone Donor Error: 1045 : Access denied for user 'x'@'%'.", ReplicationDenied),
        ("Clone Donor Error: Connect failed: 2003 : Can't connect to MySQL server", PrimaryUnreachable),
        ("Error writing file './x' (OS errno 28 - No space left on device)", NodeFull),
        ("Clone Donor Error: page corruption detected", SourceCorrupt),
        ("something else", SeedFailed),
    ],
)
def test_clone_errors(text: str, kind: type[RestoreReplayError]) -> None:
    assert type(clone.clone_error(3862, text)) is kind


@pytest.mark.parametrize(
    ("stderr", "kind"),
    [
        ("mysqldump: Got error: 2003: Can't connect to MySQL server on 'x:3306' (111)", PrimaryUnreachable),
        ("mysqldump: Got error: 1045: Access denied for user 'x'@'%'", ReplicationDenied),
        ("mysqldump: Error 1712: Index t is corrupted when dumping table `t` at row: 5", SourceCorrupt),
        ("mysqldump: Couldn't execute 'x': y (1234)", SeedFailed),
    ],
)
def test_dump_errors(stderr: str, kind: type[RestoreReplayError]) -> None:
    assert type(MySqlDump().dump_error(2, stderr)) is kind


LOG = """\
2026-11-22T02:11:48.050038Z 0 [Warning] [MY-011070] [Server] 'x' is deprecated and will be removed.
2026-11-22T02:11:49.124882Z 1 [ERROR] [MY-012592] [InnoDB] Operating system error number 2 in a file operation.
2026-11-22T02:11:49.124882Z 1 [Warning] [MY-012351] [InnoDB] Tablespace 5, file './shop/orders.ibd' is missing!
2026-11-22T02:11:49.124882Z 7 [ERROR] [MY-010584] [Repl] Replica SQL for channel '': Worker 1 failed
2026-11-22T02:11:49.124882Z 0 [ERROR] [MY-013129] [Server] A message intended for a client cannot be sent there
mysqld: Can't open shared library '/x/component_validate_password.so' (errno: 0)
2026-11-22T02:11:49.124882Z 1 [ERROR] [MY-012574] [InnoDB] Unable to lock ./ibdata1 error: 11
2026-11-22T02:11:49.724882Z 0 [ERROR] [MY-010119] [Server] Aborting
"""


def test_the_error_log_blames_the_data_for_what_is_in_the_data() -> None:
    blamed = errorlog.RULES.data_errors(LOG)
    assert [line.split("] ")[3][:20] if line.count("] ") >= 3 else line for line in blamed] == [
        "Operating system err",
        "Tablespace 5, file '",
        "Aborting",
    ]
    assert len(errorlog.RULES.environment_errors(LOG)) == 1
    assert "Operating system error number 2" in errorlog.RULES.telling(blamed)
    assert not errorlog.RULES.telling(blamed).startswith("2026")


@pytest.mark.parametrize(
    ("release", "change", "replica", "variable", "status", "reset"),
    [
        ((8, 0, 21), "CHANGE MASTER TO MASTER_HOST", "SLAVE", "slave", "SHOW MASTER STATUS", "RESET MASTER"),
        (
            (8, 0, 22),
            "CHANGE MASTER TO MASTER_HOST",
            "REPLICA",
            "slave",
            "SHOW MASTER STATUS",
            "RESET MASTER",
        ),
        (
            (8, 0, 43),
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST",
            "REPLICA",
            "replica",
            "SHOW MASTER STATUS",
            "RESET MASTER",
        ),
        (
            (9, 7, 4),
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST",
            "REPLICA",
            "replica",
            "SHOW BINARY LOG STATUS",
            "RESET BINARY LOGS AND GTIDS",
        ),
    ],
)
def test_each_release_has_its_words(
    release: tuple[int, int, int], change: str, replica: str, variable: str, status: str, reset: str
) -> None:
    say = dialect(release)
    sql, args = say.change_source(Endpoint(host="db1", password="secret-x"), retry_s=2, retry_count=9)
    assert sql.startswith(change)
    assert "_AUTO_POSITION = %s" in sql
    assert "secret-x" not in args
    assert (say.replica, say.variable, say.binlog_status, say.reset_executed) == (
        replica,
        variable,
        status,
        reset,
    )


def test_tls_is_verified_when_a_ca_is_named() -> None:
    secure = Endpoint(host="db1", ssl_ca="/ca", ssl_cert="/c", ssl_key="/k")
    sql, args = dialect((9, 7, 4)).change_source(secure, retry_s=2, retry_count=9)
    settings = dict(
        zip([part.split(" =")[0] for part in sql.split(" TO ")[1].split(", ")], args, strict=True)
    )
    assert settings["SOURCE_SSL_VERIFY_SERVER_CERT"] == 1
    assert settings["SOURCE_SSL_CA"] == "/ca"
    assert settings["SOURCE_SSL_KEY"] == "/k"
    assert "GET_SOURCE_PUBLIC_KEY" not in settings
    assert "PUBLIC_KEY" not in dialect((9, 7, 4)).change_source(Endpoint(), retry_s=2, retry_count=9)[0]
    assert tls_options(secure)["ssl-mode"] == "VERIFY_IDENTITY"
    assert tls_options(Endpoint(host="db1"))["ssl-mode"] == "REQUIRED"


def test_grants_are_read_with_static_and_dynamic_ones_apart() -> None:
    held = grants.parse(
        [
            "GRANT SELECT, RELOAD, PROCESS, SHOW VIEW, EVENT, TRIGGER ON *.* TO `b`@`%`",
            "GRANT BACKUP_ADMIN,XA_RECOVER_ADMIN ON *.* TO `b`@`%`",
            "GRANT LOCK TABLES ON `shop`.* TO `b`@`%`",
        ]
    )
    assert grants.REQUIRED.keys() - held == {"LOCK TABLES", "REPLICATION SLAVE", "REPLICATION CLIENT"}
    assert {"BACKUP_ADMIN", "FLUSH_TABLES"} <= held


@pytest.mark.parametrize(
    ("backup", "node", "primary", "complaint"),
    [
        ("8.0.40", "8.0.36", "8.0.43", "older than the backup"),
        ("8.0.36", "8.0.43", "8.0.40", "newer than the primary"),
        ("8.0.36", "9.7.4", "9.7.4", "cannot upgrade"),
        ("9.7.1", "8.4.6", "9.7.4", "older than the backup"),
        (None, "9.7.4", "8.4.6", "newer than the primary"),
        ("8.4.6", "8.4.2", "8.4.1", ""),
        ("8.0.40", "8.4.2", "9.7.4", ""),
        (None, "8.0.36", "9.7.4", ""),
    ],
)
def test_releases(backup: str | None, node: str, primary: str, complaint: str) -> None:
    if not complaint:
        refuse_release(backup=backup, node=node, primary=primary)
        return
    with pytest.raises(ReleaseRefused, match=complaint):
        refuse_release(backup=backup, node=node, primary=primary)
