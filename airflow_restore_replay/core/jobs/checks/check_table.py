"""Run the server's own CHECK TABLE."""

from __future__ import annotations

from airflow_restore_replay.core.errors import (
    RestoreReplayError,
    TableCheckFailed,
)
from airflow_restore_replay.core.flavor.quoting import identifier
from airflow_restore_replay.core.flavor.redaction import redacted
from airflow_restore_replay.core.flavor.values import Conn, Table
from airflow_restore_replay.core.jobs.checks import CheckResult, Cost, Rotation, TimeBox, carried
from airflow_restore_replay.core.jobs.context import JobContext


class CheckTableCheck:
    """Check of every base table by ``CHECK TABLE``, with the option ``validate.check_table``."""

    name = "check_table"
    cost = Cost.READS_DATA
    blames: type[RestoreReplayError] = TableCheckFailed

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        option = ctx.cluster.validate.check_table.upper()
        damaged: dict[str, str] = {}
        with ctx.server.connect() as node:
            tables = {table.qualified: table for table in ctx.flavor.tables(node)}
            turn = Rotation(tables, carried(ctx, self.name).get("last", ""))
            for name in turn.until(lambda: box.over):
                ctx.stop_if_cancelled()
                if complaint := _check(node, tables[name], option):
                    damaged[name] = complaint
                ctx.report.count(turn.done, len(tables), unit="tables", detail=name)
        first = next(iter(damaged.items()), None)
        return CheckResult(
            name=self.name,
            passed=not damaged,
            observed=f"{len(damaged)} damaged, first {first[0]}: {first[1]}"
            if first
            else f"{turn.done} intact",
            expected="every table intact",
            details={"tables": damaged} if damaged else {},
            unfinished=turn.unfinished,
            carry=turn.carry,
        )


def _check(node: Conn, table: Table, option: str) -> str:
    """Return the errors that the server reports for the table, ``""`` for none."""
    with node.cursor() as cursor:
        cursor.execute(f"CHECK TABLE {identifier(table.schema)}.{identifier(table.name)} {option}")
        rows = cursor.fetchall()
    bad = [str(text) for _, _, kind, text in rows if kind.lower() == "error"]
    status = [str(text) for _, _, kind, text in rows if kind.lower() == "status"]
    if bad or (status and status[-1] not in ("OK", "Table is already up to date")):
        return redacted("; ".join(bad or status))
    return ""
