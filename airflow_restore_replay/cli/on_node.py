"""Restores and drills on the host of nodes, for the command line."""

from __future__ import annotations

from typing import Any

import msgspec

from airflow_restore_replay.cli.connections import connected_to_restore
from airflow_restore_replay.cli.progress import ProgressDisplay
from airflow_restore_replay.cli.scope import Scope
from airflow_restore_replay.core.decoding import convert, plain
from airflow_restore_replay.core.errors import PreflightFailed
from airflow_restore_replay.core.jobs.protocol import JobName
from airflow_restore_replay.core.recovery.errand import Done
from airflow_restore_replay.core.recovery.moment.outline import MomentPlan
from airflow_restore_replay.core.recovery.order import Order
from airflow_restore_replay.core.recovery.plan import Plan
from airflow_restore_replay.core.recovery.restore import choose_backup
from airflow_restore_replay.core.runtime.recovery import Place, recover_on_node, recovery_request


def restore_on_node(
    scope: Scope, place: Place, order: Order, passwords: dict[str, str], display: ProgressDisplay
) -> Done | Plan:
    """Restore where the cluster's nodes live, and show the progress.

    :param order: *backup_id* may be empty for the newest healthy backup.
    :returns: the plan for a dry run.
    """
    place.refuse(order)
    catalog = scope.repository().catalog()
    backup = choose_backup(catalog, order.backup_id or None, allow_quarantined=order.quarantined)
    release = backup.manifest.server_release
    if not order.wanted:
        order = msgspec.structs.replace(order, backup_id=backup.backup_id)
    key = f"restore/{place.volume or order.target or order.dump or 'into'}"
    result = _run(scope, key, JobName.RECOVER, plain(order), release, display, place.volume, passwords)
    if order.dry_run:
        return place.planned(convert(result["plan"], MomentPlan if order.wanted else Plan))
    return place.shown(scope.cluster, release, convert(result["done"], Done))


def drill_on_node(scope: Scope, moments: str) -> dict[str, Any]:
    """Drill where the cluster's nodes live, show the progress, and return what was measured."""
    release = choose_backup(scope.repository().catalog(), None).manifest.server_release
    with ProgressDisplay(scope.cluster.name) as display:
        return _run(scope, "drill", JobName.DRILL, {"moments": moments}, release, display)


def refuse_unconfirmed(order: Order, *, yes: bool) -> None:
    """Raise unless a restore in place was confirmed by an option: this host cannot see what would be lost."""
    if order.in_place and not order.dry_run and not yes:
        raise PreflightFailed(
            f"The directory {order.target} of another host was not confirmed; nothing was changed.",
            hint="Look at it with --dry-run, then add --yes.",
        )


def _run(
    scope: Scope,
    key: str,
    job: JobName,
    params: dict[str, Any],
    release: str,
    display: ProgressDisplay,
    volume: str = "",
    passwords: dict[str, str] | None = None,
) -> dict[str, Any]:
    connected = connected_to_restore(scope.cluster)
    return recover_on_node(
        connected.runtime(),
        recovery_request(connected.cluster, key, release=release, volume=volume),
        job,
        params,
        msgspec.structs.replace(connected.secrets, servers=passwords or {}),
        on_state=lambda state: display.update(state.progress),
    )
