"""The comparison with the primary, as a check."""

from __future__ import annotations

from airflow_restore_replay.core.errors import DataMismatch, RestoreReplayError
from airflow_restore_replay.core.jobs.checks import CheckResult
from airflow_restore_replay.core.jobs.compare.comparison import (
    Comparison,
    compare_with_primary,
    evidence_of,
)
from airflow_restore_replay.core.jobs.context import JobContext


class SameData:
    """Every MVCC table has the primary's rows at one exact position.

    After :meth:`run`, the node's state carries that position: it is the backup's.
    """

    name = "same_data"
    blames: type[RestoreReplayError] = DataMismatch

    def run(self, ctx: JobContext) -> CheckResult:
        comparison = compare_with_primary(ctx)
        ctx.node.update(position=str(comparison.position), facts={"compared": _summary(comparison)})
        return CheckResult(
            name=self.name,
            passed=comparison.agrees,
            observed=_observed(comparison),
            expected="the same rows on node and primary at one position",
            hint=""
            if comparison.agrees
            else "Other replicas of this primary may share the drift; compare them too.",
            details={} if comparison.agrees else evidence_of(comparison),
        )


def _observed(comparison: Comparison) -> str:
    if comparison.missing:
        return f"table {comparison.missing[0]} is missing on the node at {comparison.position}"
    if comparison.differences:
        first = comparison.differences[0].describe()
        return (
            f"{len(comparison.differences)} differing ranges at {comparison.position}, first in {first['table']}, "
            f"key range {first['key_range']}"
        )
    return f"{comparison.rows} rows in {comparison.tables} tables alike at {comparison.position}"


def _summary(comparison: Comparison) -> dict[str, object]:
    return {
        "position": str(comparison.position),
        "tables": comparison.tables,
        "rows": comparison.rows,
        "uncompared": comparison.uncompared,
        "snapshot": comparison.snapshot,
    }
