"""The jobs of the agent that restore for a person: into a directory of the node's host, and drills there."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec

from airflow_restore_replay.core.decoding import convert, plain
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.recovery.drill import drill
from airflow_restore_replay.core.recovery.errand import Errand
from airflow_restore_replay.core.recovery.order import Order
from airflow_restore_replay.core.recovery.private_server import run_privately
from airflow_restore_replay.core.repository.repository import Repository

log = logging.getLogger(__name__)


def recover_here(ctx: JobContext) -> dict[str, Any]:
    """Restore as the job's :class:`Order` says; a later job with the same order resumes.

    :returns: ``backup_id``, and ``done``, or ``plan`` for a dry run.
    """
    order = convert(ctx.params, Order)
    target = Path(order.target) if order.target else _scratch(ctx.node.path) / "data"
    errand = Errand(
        _repository(ctx, write=False),
        ctx.cluster,
        order.wish(target, ctx.request.secrets.servers),
        ctx.report,
        order.wanted,
        order.backup_id,
        order.quarantined,
        kept=bool(order.target),
        say=log.warning,
        cancelled=ctx.cancelled,
    )
    if order.dry_run:
        plan = errand.plan()
        return {"backup_id": plan.backup_id, "plan": plain(plan)}
    done = errand.run()
    if order.sql:
        script = ctx.node.path / "script.sql"
        script.write_text(order.sql, encoding="utf-8")
        run_privately(script, ctx.cluster, errand.session.manifest, target, beside=ctx.node.path)
    return {"backup_id": done.restored.backup_id, "done": plain(done)}


def drill_here(ctx: JobContext) -> dict[str, Any]:
    """Drill below the node's directory.

    :returns: what was measured.
    """
    node = msgspec.structs.replace(ctx.cluster.node, workdir=str(ctx.node.path))
    return drill(
        _repository(ctx, write=True),
        msgspec.structs.replace(ctx.cluster, node=node),
        moment=ctx.params["moments"],
        report=ctx.report,
        say=log.warning,
        cancelled=ctx.cancelled,
    )


def _scratch(node: Path) -> Path:
    scratch = node / "scratch"
    scratch.mkdir(mode=0o700, exist_ok=True)
    return scratch


def _repository(ctx: JobContext, *, write: bool) -> Repository:
    secrets = ctx.request.secrets
    return Repository.of_cluster(ctx.cluster, credentials=secrets.store, keys=secrets.keys, write=write)
