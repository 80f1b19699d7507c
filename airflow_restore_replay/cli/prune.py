"""``restore-replay prune``: show which backups retention no longer keeps; with ``--yes``, delete them."""

from __future__ import annotations

import click
import msgspec

from airflow_restore_replay.cli.exit_codes import Exit
from airflow_restore_replay.cli.output import console, show_table
from airflow_restore_replay.cli.scope import Scope, scoped
from airflow_restore_replay.core.archive.retention import log_rules
from airflow_restore_replay.core.config.units import human_bytes, human_seconds
from airflow_restore_replay.core.repository.format.records import new_id, utc_now
from airflow_restore_replay.core.repository.pruning.plan import PrunePlan, plan_prune, summary
from airflow_restore_replay.core.repository.pruning.prune import PruneReport, prune
from airflow_restore_replay.core.repository.store.base import ObjectInfo


@click.command("prune")
@click.option("--yes", is_flag=True, help="Delete. Without it, only the plan is shown.")
@click.option("--dry-run", is_flag=True, help="Only show the plan; the default.")
@scoped
def command(scope: Scope, yes: bool, dry_run: bool) -> None:
    """Delete backups that the cluster's retention no longer keeps, and stored bytes that no backup needs any more.

    Bytes are deleted a grace period after the last backup that needed them. Nothing is deleted during a cycle, while
    a record is damaged, or when clocks or listings cannot be trusted.
    """
    if yes and dry_run:
        raise click.UsageError("--yes and --dry-run exclude each other.")
    complaint = _prune(scope) if yes else _plan(scope)
    raise click.exceptions.Exit(complaint)


def _plan(scope: Scope) -> Exit:
    cluster = scope.cluster
    plan = plan_prune(
        scope.repository(),
        cluster.retention,
        timezone=cluster.timezone,
        now=utc_now(),
        logs=log_rules(cluster),
    )
    if scope.as_json:
        scope.emit({"cluster": plan.cluster, "dry_run": True, **summary(plan)})
    else:
        _show_plan(plan, scope)
    return Exit.REFUSED if plan.withheld else Exit.OK


def _prune(scope: Scope) -> Exit:
    cluster = scope.cluster
    repository = scope.repository(write=True)
    run = f"cli-prune/{new_id()}"
    epoch = repository.lease.acquire(run, cluster.lease.ttl)
    try:
        report = prune(
            repository,
            cluster.retention,
            run=run,
            epoch=epoch,
            timezone=cluster.timezone,
            logs=log_rules(cluster),
        )
    finally:
        repository.lease.release(run, epoch)
    if scope.as_json:
        scope.emit({"dry_run": False, **msgspec.to_builtins(report)})
    else:
        _show_report(report)
    if report.withheld:
        return Exit.REFUSED
    return Exit.ENVIRONMENT if report.denied_count else Exit.OK


def _show_plan(plan: PrunePlan, scope: Scope) -> None:
    rows = [["keep", backup_id, "", "", "; ".join(reasons)] for backup_id, reasons in plan.keep.items()]
    rows += [
        ["delete", d.backup_id, human_bytes(d.total_bytes), _bytes(d.frees_bytes), d.reason]
        for d in plan.delete
    ]
    rows += [["withheld", d.backup_id, human_bytes(d.total_bytes), "", d.reason] for d in plan.too_many]
    show_table(
        ["", "BACKUP", "TOTAL", "FREES", "WHY"],
        sorted(rows, key=lambda row: row[1]),
        right=["TOTAL", "FREES"],
    )
    grace = human_seconds(scope.cluster.retention.grace)
    released = sum(d.frees_bytes or 0 for d in plan.delete)
    swept = [*plan.sweep, *plan.leftovers]
    _say(f"{len(plan.keep)} backups are kept, {len(plan.delete)} would be deleted.")
    _say(f"Free at once: {_size(swept)}, unreferenced for more than {grace}.")
    _say(f"Free after {grace}: {_size(plan.condemn)}, of which {human_bytes(released)} by these deletions.")
    if plan.logs.kept or plan.logs.counts:
        _say(f"Archive: {plan.logs.kept} records are kept, {_counts(plan.logs.counts)} would be deleted.")
    for backup_id, why in plan.doubtful.items():
        _say(f"Backup {backup_id} is kept and not counted: {why}.")
    if plan.missing:
        _say(f"{len(plan.missing)} objects that backups need are missing; run `restore-replay verify`.")
    _say(f"Withheld: {plan.withheld}" if plan.withheld else "Nothing was deleted; --yes deletes.")


def _show_report(report: PruneReport) -> None:
    for backup_id in report.deleted:
        _say(f"Deleted {backup_id}.")
    _say(
        f"{len(report.deleted)} backups deleted, {report.kept} kept; {human_bytes(report.freed_bytes)} freed, "
        f"{human_bytes(report.condemned_bytes)} more after the grace period."
    )
    if report.kept_logs or report.deleted_logs:
        _say(f"Archive: {_counts(report.deleted_logs)} records deleted, {report.kept_logs} kept.")
    if report.complaint:
        console(stderr=True).print(report.complaint, markup=False, soft_wrap=True)


def _counts(counts: dict[str, int]) -> str:
    return f"{sum(counts.values())}" + "".join(f" ({n} {why})" for why, n in sorted(counts.items()))


def _size(objects: list[ObjectInfo]) -> str:
    return f"{human_bytes(sum(o.size_bytes for o in objects))} in {len(objects)} objects"


def _bytes(count: int | None) -> str:
    return "unknown" if count is None else human_bytes(count)


def _say(line: str) -> None:
    console().print(line, markup=False, soft_wrap=True)
