"""Run the server's own CHECK TABLE."""

from __future__ import annotations

import re

import msgspec
import pymysql

from airflow_restore_replay.core.flavor.tables import MVCC_ENGINES, complaint, unreadable
from airflow_restore_replay.core.flavor.values import Table
from airflow_restore_replay.core.jobs.checks import CheckResult, TimeBox, left_by_the_base
from airflow_restore_replay.core.jobs.checks.rotation import RotatingCheck
from airflow_restore_replay.core.jobs.context import JobContext

#: the node lacks software that the primary has
_NO_ENGINE = re.compile(r"Unknown (?:table|storage) engine", re.I)
_SHOWN = 50
#: key of the carry: table → its state
STATES = "as_on_primary"


class CheckTableCheck(RotatingCheck):
    """Check of every base table by ``CHECK TABLE``, with the option ``validate.check_table``.

    A table that the primary cannot open either, or that its ``CHECK TABLE`` reports, too, is in the primary's state. It
    is listed, and no party is blamed.
    """

    name = "check_table"
    unit = "tables"
    expected = "every table intact"

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        option = ctx.cluster.validate.check_table.upper()
        known = dict(left_by_the_base(ctx, self.name).get(STATES, {}))
        states, seen = dict[str, str](), set[str]()
        with ctx.server.connect() as node:
            tables = {table.qualified: table for table in ctx.flavor.tables(node)}

            def damage(name: str) -> str:
                seen.add(name)
                found = complaint(node, tables[name], option)
                if found and (state := _state(ctx, tables[name], found, option, known)):
                    states[name] = state
                    return ""
                return found

            result = self.rotate(
                ctx, box, tables, damage, lambda names: f"{len(set(names) - states.keys())} intact"
            )
        states |= {name: why for name, why in known.items() if name in tables and name not in seen}
        if not states:
            return result
        listed = [f"{name}: as on the primary: {why}" for name, why in sorted(states.items())[:_SHOWN]]
        return msgspec.structs.replace(
            result,
            unfinished="; ".join([*([result.unfinished] if result.unfinished else []), *listed]),
            carry=result.carry | {STATES: states},
        )


def _state(ctx: JobContext, table: Table, found: str, option: str, known: dict[str, str]) -> str:
    """Return the state that the table has on the primary, too; empty if the node alone has it.

    :param found: what the node reports.
    :param known: table → its state when the backup was made, for checks without the primary.
    """
    if _NO_ENGINE.search(found):
        return f"the node does not have its engine: {found}"
    if ctx.params.get("standalone"):
        return known.get(table.qualified, "")
    with ctx.flavor.connect(ctx.primary) as primary:
        if why := unreadable(primary, table):
            return why
        # A server may crash when it reads a corrupt page, so it is not asked for more about one.
        if table.engine in MVCC_ENGINES and "corrupt" in found.lower():
            return ""
        try:
            return complaint(primary, table, option)
        except pymysql.err.MySQLError:
            return ""
