"""Run the server's own CHECK TABLE."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.quoting import identifier
from airflow_restore_replay.core.flavor.redaction import redacted
from airflow_restore_replay.core.flavor.values import Conn, Table
from airflow_restore_replay.core.jobs.checks import CheckResult, TimeBox
from airflow_restore_replay.core.jobs.checks.rotation import RotatingCheck
from airflow_restore_replay.core.jobs.context import JobContext


class CheckTableCheck(RotatingCheck):
    """Check of every base table by ``CHECK TABLE``, with the option ``validate.check_table``."""

    name = "check_table"
    unit = "tables"
    expected = "every table intact"

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        option = ctx.cluster.validate.check_table.upper()
        with ctx.server.connect() as node:
            tables = {table.qualified: table for table in ctx.flavor.tables(node)}
            return self.rotate(
                ctx,
                box,
                tables,
                damage=lambda name: _damage(node, tables[name], option),
                intact=lambda names: f"{len(names)} intact",
            )


def _damage(node: Conn, table: Table, option: str) -> str:
    """Return the errors that the server reports for the table, ``""`` for none."""
    with node.cursor() as cursor:
        cursor.execute(f"CHECK TABLE {identifier(table.schema)}.{identifier(table.name)} {option}")
        rows = cursor.fetchall()
    bad = [str(text) for _, _, kind, text in rows if kind.lower() == "error"]
    status = [str(text) for _, _, kind, text in rows if kind.lower() == "status"]
    if bad or (status and status[-1] not in ("OK", "Table is already up to date")):
        return redacted("; ".join(bad or status))
    return ""
