"""The comparison with the primary, as a check."""

from __future__ import annotations

import logging
from copy import deepcopy
from functools import partial
from typing import Any

from airflow_restore_replay.core.decisions.definitions import not_replayable
from airflow_restore_replay.core.errors import DataMismatch, RestoreReplayError
from airflow_restore_replay.core.flavor.sql import rows
from airflow_restore_replay.core.flavor.values import position_text
from airflow_restore_replay.core.jobs.checks import CheckResult, Cost, TimeBox, left_by_the_base
from airflow_restore_replay.core.jobs.compare.comparison import (
    Comparison,
    compare_with_primary,
    evidence_of,
)
from airflow_restore_replay.core.jobs.compare.coverage import Coverage
from airflow_restore_replay.core.jobs.compare.files import tables_of
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.repository.format.records import utc_now
from airflow_restore_replay.core.repository.transfer.unchanged_files import unchanged_files

log = logging.getLogger(__name__)


class SameDataCheck:
    """Check that MVCC tables have the primary's rows at one exact position: all tables, or those whose turn it is.

    After :meth:`run`, the node's state holds that position, which is the backup's.
    """

    name = "same_data"
    cost = Cost.READS_PRIMARY
    blames: type[RestoreReplayError] = DataMismatch

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        """See :meth:`~airflow_restore_replay.core.jobs.checks.Check.run`.

        :raises NotReplayable: only one side has some columns, so the primary changed outside its binary log.
        """
        # A fresh full begins a new lineage, of which nothing was compared yet.
        coverage = Coverage.after(left_by_the_base(ctx, self.name), utc_now())
        before = deepcopy(coverage)
        comparison = compare_with_primary(ctx, coverage, partial(_unchanged, ctx))
        with ctx.node.changing() as state:
            state.position = str(comparison.position)
            state.facts.compared = _summary(comparison) | {"coverage": coverage.summary()}
        for name, why in comparison.uncompared.items():
            log.warning("Table %s is not compared: %s", name, why)
        rows_agree = not (comparison.differences or comparison.missing or comparison.added)
        if comparison.unlike and rows_agree and not ctx.is_full:
            # Unless the check of definitions runs, nothing says that the stored backup had other columns before.
            raise not_replayable({f"table {name}": (how,) for name, how in comparison.unlike.items()})
        return CheckResult(
            name=self.name,
            passed=comparison.agrees,
            observed=_observed(comparison),
            expected="the same rows on node and primary at one position",
            hint=""
            if comparison.agrees
            else "Other replicas of this primary may share the drift; compare them too.",
            details={} if comparison.agrees else evidence_of(comparison) | _last_good(comparison, before),
            unfinished=_unfinished(coverage),
            carry=coverage.carry(),
        )


def _unchanged(ctx: JobContext, names: set[str]) -> set[str]:
    """Return those of *names* that nothing has written to since the restore.

    The server may not have written its changes to the files yet. UPDATE_TIME shows the tables that it has changed since
    its start.
    """
    files = unchanged_files(ctx.node.data, ctx.node.load_base(), ctx.flavor.skippable_files)
    with ctx.server.connect() as node:
        changed = rows(
            node,
            "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES WHERE UPDATE_TIME IS NOT NULL",
        )
    return (tables_of(files, ctx.node.data) & names) - {str(name) for (name,) in changed}


def _last_good(comparison: Comparison, before: Coverage) -> dict[str, Any]:
    """Return when the last complete comparison of each differing table began: later backups may share the drift."""
    tables = {difference.table for difference in comparison.differences}
    return {"last_good_comparison": {name: before.last_good(name) or "never" for name in sorted(tables)}}


def _unfinished(coverage: Coverage) -> str:
    waiting = [n for n, progress in coverage.tables.items() if progress.since != coverage.cycle]
    return (
        f"{len(waiting)} of {len(coverage.tables)} tables are not fully compared yet; the next cycle continues"
        if waiting
        else ""
    )


def _observed(comparison: Comparison) -> str:
    at = position_text(comparison.position)
    if comparison.missing:
        return f"table {comparison.missing[0]} is missing on the node at {at}"
    if comparison.added:
        return f"table {comparison.added[0]} is only on the node at {at}"
    if comparison.unlike:
        name, how = next(iter(comparison.unlike.items()))
        return f"table {name} has other columns at {at} ({how})"
    if comparison.differences:
        first = comparison.differences[0].describe()
        return (
            f"{len(comparison.differences)} differing ranges at {at}, first in {first['table']}, "
            f"key range {first['key_range']}"
        )
    paused = f"; paused {comparison.paused_s:.0f} s for the primary's load" if comparison.paused_s else ""
    short = "; ended early for DDL that waited" if comparison.ended_for_ddl else ""
    return f"{comparison.rows} rows in {comparison.tables} tables alike at {at}{paused}{short}"


def _summary(comparison: Comparison) -> dict[str, object]:
    return {
        "position": str(comparison.position),
        "tables": comparison.tables,
        "rows": comparison.rows,
        "uncompared": comparison.uncompared,
        "snapshot": comparison.snapshot,
        "paused_s": comparison.paused_s,
        "ended_for_ddl": comparison.ended_for_ddl,
    }
