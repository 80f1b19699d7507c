"""Use the server of a restored copy: let it run on in its role, or take a dump or tables out of it and stop it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.flavor.quoting import joined
from airflow_restore_replay.core.flavor.values import Conn, Endpoint
from airflow_restore_replay.core.recovery import roles
from airflow_restore_replay.core.recovery.copy_server import CopyRequest, CopyServer, RunningCopy
from airflow_restore_replay.core.recovery.dumping import Dumped, dump
from airflow_restore_replay.core.recovery.loading.into import Loaded, load_table, renamed
from airflow_restore_replay.core.recovery.restore import Restored
from airflow_restore_replay.core.recovery.session import RestoreSession


@dataclass
class Served:
    """What came of a server on the restored copy.

    :param running: the server, if it goes on running.
    """

    running: RunningCopy | None = None
    role: roles.Role = field(default_factory=roles.Role)
    dumped: Dumped | None = None
    loaded: list[Loaded] = field(default_factory=list)


def serve(session: RestoreSession, restored: Restored) -> Served:
    """Start the copy, take from it what is asked for, and let it run on in its role, or stop it."""
    served, wish = Served(), session.wish
    copy, conn = session.start(restored)
    try:
        if wish.dump:
            served.dumped = _dump(session, copy, conn, wish.dump)
        if wish.into:
            for table in _load(session, copy, conn, wish.into):
                served.loaded.append(table)
    except BaseException as exc:
        copy.end()
        if isinstance(exc, RestoreReplayError) and served.loaded:
            exc.message += f" In the server already: {', '.join(table.into for table in served.loaded)}."
        raise
    if wish.copy is None:
        session.report.phase("stopping the server")
        copy.close(conn)
    else:
        _leave(session, copy, conn, wish.copy, restored, served)
    session.finish()
    return served


def _dump(session: RestoreSession, copy: CopyServer, conn: Conn, path: Path) -> Dumped:
    session.report.phase("dumping", detail=path.name)
    return dump(
        copy.server,
        conn,
        session.manifest,
        session.tables,
        path,
        secrets_dir=copy.home / "secrets",
        progress=session.report.count,
        cancelled=session.cancelled,
    )


def _load(session: RestoreSession, copy: CopyServer, conn: Conn, server: Endpoint) -> Iterator[Loaded]:
    for table, name in renamed(session.tables, session.wish.rename).items():
        session.report.phase("loading", detail=joined(name.schema, name.name))
        yield load_table(
            copy.flavor,
            conn,
            copy.server.endpoint(),
            server,
            table,
            name,
            progress=partial(session.report.count, unit="rows"),
            cancelled=session.cancelled,
        )


def _leave(
    session: RestoreSession,
    copy: CopyServer,
    conn: Conn,
    request: CopyRequest,
    restored: Restored,
    served: Served,
) -> None:
    try:
        if request.primary:
            served.role = roles.become_primary(copy.flavor, conn, session.manifest, restored.position)
        elif request.source:
            session.report.phase("connecting to the source")
            served.role = roles.become_replica(copy.flavor, conn, request.source, cancelled=session.cancelled)
    except RestoreReplayError:
        # It runs, and a person may want to see why it is not what it should be.
        with contextlib.suppress(RestoreReplayError):
            copy.leave(conn, keep_account=True)
        raise
    in_service = request.primary or request.source is not None
    served.running = copy.leave(conn, keep_account=not in_service)
    if session.wish.only:
        # The log names each table that the copy does not have.
        served.running = replace(served.running, warnings=[])
