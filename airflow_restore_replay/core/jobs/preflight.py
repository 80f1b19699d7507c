"""What must hold before a node replays from a primary: identity, releases, what the primary can offer."""

from __future__ import annotations

from airflow_restore_replay.core.errors import (
    NodeIsPrimary,
    PreflightFailed,
    UnsupportedTables,
)
from airflow_restore_replay.core.flavor.base import Conn
from airflow_restore_replay.core.jobs.context import JobContext


def preflight(ctx: JobContext, node: Conn | None = None) -> dict[str, str]:
    """Check the primary; see :func:`refuse_unsuitable_primary`.

    :raises PrimaryUnreachable, ReplicationDenied: the primary does not let us in.
    """
    ctx.report.phase("checking the primary")
    with ctx.flavor.connect(ctx.primary) as primary:
        return refuse_unsuitable_primary(ctx, primary, node)


def refuse_unsupported_tables(ctx: JobContext, server: Conn) -> None:
    """:raises UnsupportedTables: *server* has tables that the snapshot format cannot carry."""
    found = ctx.flavor.unsupported_tables(server)
    if found:
        listed = "; ".join(f"{name}: {why}" for name, why in sorted(found.items())[:20])
        raise UnsupportedTables(
            f"{len(found)} tables cannot be carried by a backup: {listed}.",
            hint="Convert or drop them on the primary.",
            evidence={"tables": dict(sorted(found.items())[:200])},
        )


def refuse_unsuitable_primary(ctx: JobContext, primary: Conn, node: Conn | None) -> dict[str, str]:
    """Check the primary, and that the node is not it.

    :param node: the node's server when it already runs.
    :returns: warnings by name.
    :raises NodeIsPrimary, ReleaseRefused, PreflightFailed, UnsupportedTables: see each.
    """
    identity = ctx.flavor.identity(primary)
    if node is not None:
        ours = ctx.flavor.identity(node)
        if ctx.flavor.same_server(ours, identity):
            raise NodeIsPrimary(
                f"The replay node's server is the primary itself ({identity.hostname}:{identity.port}, "
                f"data directory {identity.datadir}).",
                hint="Point the cluster's primary at the server to protect.",
            )
    refuse_primary_in_workdir(ctx, identity.datadir, identity.hostname)
    ctx.flavor.refuse_release(backup=None, node=ctx.server.release(), primary=identity.release)
    refuse_unsupported_tables(ctx, primary)
    report = ctx.flavor.preflight(primary)
    if report.refusals:
        listed = " ".join(f"{name}: {why}" for name, why in report.refusals.items())
        raise PreflightFailed(
            f"The primary {ctx.primary!r} cannot be replayed from. {listed}",
            hint="Change the settings named above.",
            evidence={"refusals": dict(report.refusals)},
        )
    ctx.node.update(facts={"primary_uid": identity.uid, "warnings": dict(report.warnings)})
    return dict(report.warnings)


def refuse_primary_in_workdir(ctx: JobContext, datadir: str, hostname: str) -> None:
    """:raises NodeIsPrimary: the primary answering at the configured address is this very node."""
    import socket

    if hostname == socket.gethostname() and datadir.rstrip("/") == str(ctx.node.data):
        raise NodeIsPrimary(
            f"The configured primary is replay node {ctx.node.path.name} itself.",
            hint="Point the cluster's primary at the server to protect.",
        )
