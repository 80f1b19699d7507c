"""Preflight before a node is filled and before it replays: preconditions, and that the node is not the primary."""

from __future__ import annotations

import contextlib
import logging
import socket

from airflow_restore_replay.core.errors import NodeIsPrimary
from airflow_restore_replay.core.flavor.findings import refuse, warnings_of
from airflow_restore_replay.core.flavor.values import Conn, ServerIdentity
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.jobs.preconditions import Site, examine_site
from airflow_restore_replay.core.system.files import allocated_bytes

log = logging.getLogger(__name__)


def preflight(ctx: JobContext, node: Conn | None = None, *, seeding: bool) -> dict[str, str]:
    """Examine all preconditions that ``doctor`` shows, and raise if a required one does not hold.

    :param seeding: whether the node is about to be filled from the primary.
    :param node: the node's server, if it already runs.
    :returns: warnings by name.
    :raises PrimaryUnreachable, ReplicationDenied: the primary cannot be connected to.
    :raises NodeIsPrimary, ReleaseRefused, PreflightFailed, SourceFiltered, UnsupportedTables, NodeFull: see each.
    """
    ctx.report.phase("checking primary, node and store")
    with contextlib.closing(ctx.flavor.connect(ctx.primary)) as primary:
        warnings = _insist(ctx, primary, seeding)
        _note_primary(ctx, _other_server(ctx, primary, node), warnings)
        ctx.follow(ctx.flavor.variables.read(primary))
    return warnings


def refuse_unsuitable_primary(ctx: JobContext, primary: Conn, node: Conn | None) -> None:
    """Refuse, before replay, a primary that is the node itself or does not meet the preconditions.

    If preflight examined this primary when the node was filled, only its release is compared again. The preconditions
    are examined if the primary is another server now, or if a standalone restore skipped preflight.

    :raises RestoreReplayError: as :func:`preflight`.
    """
    identity = _other_server(ctx, primary, node)
    if ctx.state.facts.primary_uid == identity.uid:
        ctx.flavor.refuse_release(backup=None, node=ctx.server.release(), primary=identity.release)
    else:
        warnings = _insist(ctx, primary, seeding=False)
        _note_primary(ctx, identity, warnings)


def refuse_hidden(ctx: JobContext, primary: Conn) -> None:
    """Raise if the account does not see all that the primary has: a schema may have been hidden meanwhile.

    :raises PreflightFailed: names what is hidden, and the grant.
    """
    refuse(ctx.flavor.examine_sight(primary), seeding=False)


def _note_primary(ctx: JobContext, identity: ServerIdentity, warnings: dict[str, str]) -> None:
    with ctx.node.changing() as state:
        state.facts.primary_uid, state.facts.warnings = identity.uid, warnings


def _insist(ctx: JobContext, primary: Conn, seeding: bool) -> dict[str, str]:
    site = Site(
        cluster=ctx.cluster,
        flavor=ctx.flavor,
        server=ctx.server,
        repository=lambda: ctx.repository,
        seed=str(ctx.params.get("method") or ""),
        held_bytes=allocated_bytes(ctx.node.data),
        seeding=seeding,
    )
    found = examine_site(site, primary)
    refuse(found, seeding=seeding)
    warnings = warnings_of(found, seeding=seeding)
    for name, text in warnings.items():
        log.warning("%s: %s", name, text)
    return warnings


def _other_server(ctx: JobContext, primary: Conn, node: Conn | None) -> ServerIdentity:
    """Return the primary's identity, and raise if it is the node's.

    :raises NodeIsPrimary: both are the same server.
    """
    identity = ctx.flavor.identity(primary)
    if node is not None and ctx.flavor.same_server(ctx.flavor.identity(node), identity):
        raise NodeIsPrimary(
            f"The replay node's server is the primary itself ({identity.hostname}:{identity.port}, "
            f"data directory {identity.datadir}).",
            hint="Point the cluster's primary at the server to protect.",
        )
    if identity.hostname == socket.gethostname() and identity.datadir.rstrip("/") == str(ctx.node.data):
        raise NodeIsPrimary(
            f"The configured primary is replay node {ctx.node.path.name} itself.",
            hint="Point the cluster's primary at the server to protect.",
        )
    return identity
