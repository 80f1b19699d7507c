"""What a dump's program prints when the primary refuses or ends one of its statements."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.flavor.mariadb.dump import MariaDbDump
from airflow_restore_replay.core.flavor.mysql.dump import MySqlDump
from airflow_restore_replay.core.flavor.program_output import error_number


@pytest.mark.parametrize(
    ("line", "number"),
    [
        (
            "mariadb-dump: Couldn't execute 'SHOW FIELDS FROM `v`': execute command denied to user 'u'@'h' for routine "
            "'d.f' (1370)",
            1370,
        ),
        (
            "mysqldump: Couldn't execute 'SHOW CREATE TABLE `v`': View 'd.v' references invalid table(s) (1356)",
            1356,
        ),
        (
            "mariadb-dump: Error 1969: Query execution was interrupted (max_statement_time exceeded) when",
            1969,
        ),
        ("mysqldump: Got error: 2003: Can't connect to MySQL server on '127.0.0.1:3306' (111)", 2003),
        ("ERROR 2002 (HY000): Can't connect to local server through socket '/tmp/s' (2)", 2002),
        ("mysqldump: Error 13120: Source command failed", 13120),
        ("mysqldump: something else", 0),
    ],
)
def test_the_number_of_an_error_is_first_or_last(line: str, number: int) -> None:
    assert error_number(line) == number


@pytest.mark.parametrize("fail", [MariaDbDump().dump_error, MySqlDump().dump_error], ids=["mariadb", "mysql"])
def test_a_dump_that_the_primary_denies_or_ends_says_what_to_change(
    fail: Callable[[int, str], RestoreReplayError],
) -> None:
    denied = fail(
        2,
        "Couldn't execute 'SHOW FIELDS FROM `v`': execute command denied to user 'u'@'h' for routine 'd.f' (1370)",
    )
    assert (denied.code, "EXECUTE" in denied.hint) == ("ReplicationDenied", True)
    limited = fail(
        3, "dump: Error 1969: Query execution was interrupted (max_statement_time exceeded) when dumping `t`"
    )
    assert (limited.code, limited.retryable) == ("PreflightFailed", False)
    assert "max_statement_time" in limited.hint
    killed = fail(3, "dump: Error 1317: Query execution was interrupted when dumping table `t` at row: 5")
    assert (killed.code, killed.retryable) == ("SeedFailed", True)
    assert "kill" in killed.hint
    full = fail(2, "dump: Couldn't execute 'SHOW STATUS': The table '(temporary)' is full (1114)")
    assert (full.code, full.retryable, "A retry would fail" in full.hint) == ("SeedFailed", False, True)
    assert (denied.retryable, fail(2, "dump: something else").retryable) == (False, True)
