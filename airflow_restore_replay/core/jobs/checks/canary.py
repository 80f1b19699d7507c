"""Check that a row written on the primary arrives on the node."""

from __future__ import annotations

import secrets

import pymysql

from airflow_restore_replay.core.errors import (
    ReplicationDenied,
    RestoreReplayError,
    SourceFiltered,
)
from airflow_restore_replay.core.flavor.quoting import parted, qualified
from airflow_restore_replay.core.flavor.sql import rows, run
from airflow_restore_replay.core.flavor.values import position_text
from airflow_restore_replay.core.jobs.checks import CheckResult, Cost, TimeBox
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.jobs.replay import follow_primary

COLUMNS = "cluster VARCHAR(63) PRIMARY KEY, token CHAR(32) NOT NULL, written_at DATETIME NOT NULL"


class CanaryCheck:
    """Check that a token written to ``validate.canary`` on the primary is found on the node.

    The node replays to a position that contains the write, so a row that is missing then was not in the binary log.
    """

    name = "canary"
    cost = Cost.MOMENT
    blames: type[RestoreReplayError] = SourceFiltered

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        place = ctx.cluster.validate.canary
        if place is None:
            return CheckResult(name=self.name, passed=True, observed="not configured", expected="")
        table = qualified(*parted(place))
        token = secrets.token_hex(16)
        _write(ctx, table, place, token)
        position = follow_primary(ctx)
        with ctx.server.connect() as node:
            found = rows(node, f"SELECT token FROM {table} WHERE cluster = %s", (ctx.cluster.name,))
        arrived = bool(found) and str(found[0][0]) == token
        return CheckResult(
            name=self.name,
            passed=arrived,
            observed=f"the row of {place} {'arrived' if arrived else 'did not arrive'} by {position_text(position)}",
            expected="a row that is written on the primary arrives",
            hint=f"Is {place} left out of the binary log (binlog_do_db, binlog_ignore_db, sql_log_bin)?",
        )


def _write(ctx: JobContext, table: str, place: str, token: str) -> None:
    with ctx.flavor.connect(ctx.primary) as primary:
        try:
            run(
                primary,
                f"INSERT INTO {table} (cluster, token, written_at) VALUES (%s, %s, UTC_TIMESTAMP())"
                " ON DUPLICATE KEY UPDATE token = VALUES(token), written_at = VALUES(written_at)",
                (ctx.cluster.name, token),
            )
        except pymysql.err.MySQLError as exc:
            number, text = (*exc.args, "", "")[:2]
            raise ReplicationDenied(
                f"The canary cannot be written to {place}: {text} (error {number}).",
                hint=f"CREATE TABLE {table} ({COLUMNS}) ENGINE=InnoDB; "
                f"GRANT INSERT, UPDATE ON {table} TO {ctx.primary.user};",
            ) from exc
