"""The routes of the Backups page. Each asks for an Airflow user, and for the user's rights on the cluster's DAG."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.staticfiles import StaticFiles

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.decoding import encode, plain
from airflow_restore_replay.core.errors import NoSuchBackup, RestoreReplayError
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.repository.format.records import utc_now
from airflow_restore_replay.core.repository.quarantine import release, release_hold
from airflow_restore_replay.hooks.clusters import default_dag_id, default_drill_dag_id
from airflow_restore_replay.web import runs
from airflow_restore_replay.web.access import actor, readable, reader, refuse_foreign, rights
from airflow_restore_replay.web.documents import backup_document, error_document, row, whole
from airflow_restore_replay.web.reading import (
    Bounded,
    FleetReading,
    FullReadings,
    open_with_hook,
)

_FILES = Path(__file__).parent / "static"
#: how long the first request waits for what nobody has read yet, before it shows that it is being read
_PATIENCE_S = 0.6
_ID = re.compile(r"[0-9A-Za-z_-]{1,80}")
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}

Readable = Annotated[Cluster, Depends(reader)]
Actable = Annotated[Cluster, Depends(actor)]
router = APIRouter(prefix="/api")


class Release(BaseModel):
    """Body of a release: of a backup's verdicts, or of a hold."""

    model_config = ConfigDict(extra="forbid")

    backup: str = Field(default="", max_length=80)
    hold: str = Field(default="", max_length=80)
    reason: str = Field(min_length=1, max_length=1000)


def make_app(config: str | None = None) -> FastAPI:
    """Make the application that Airflow mounts.

    :param config: path of the cluster file; default is the variable ``RESTORE_REPLAY_CONFIG``.
    """
    # Its own documentation would be open to everybody.
    app = FastAPI(title="Restore-replay", openapi_url=None, docs_url=None, redoc_url=None)
    app.state.fleet = FleetReading(config)
    app.state.full = FullReadings()
    app.state.bounded = Bounded()
    app.include_router(router)
    app.add_exception_handler(RestoreReplayError, _explain)
    app.mount("/static", StaticFiles(directory=_FILES), name="static")
    return app


@router.get("/fleet")
def fleet(request: Request, user: GetUserDep) -> Response:
    """Return all clusters that the user may read, the worst first."""
    reading: FleetReading = request.app.state.fleet
    full: FullReadings = request.app.state.full
    reading.whole.look(_PATIENCE_S)
    problem, names, states = reading.whole.problem, reading.names, dict(reading.states)
    allowed = readable(user, names)
    order = sorted(
        allowed, key=lambda name: (name not in states, states[name].order if name in states else (), name)
    )
    known = runs.dags(map(default_dag_id, allowed))
    rows = []
    for name in order:
        rows.append(
            row(name, states.get(name), full.known(name)) | {"dag": plain(known.get(default_dag_id(name)))}
        )
    return _answer(
        {
            "now": utc_now(),
            "age_s": reading.whole.age_s,
            "refreshing": reading.whole.refreshing,
            "problem": error_document(problem),
            "configured": len(names),
            "clusters": rows,
        }
    )


@router.get("/clusters/{cluster}")
def cluster_state(request: Request, found: Readable, user: GetUserDep) -> Response:
    """Return everything of one cluster; until all of its records are read, of the newest."""
    full = request.app.state.full.of(found)
    newest = request.app.state.fleet.states.get(found.name)
    state = full.state.look(_PATIENCE_S) or newest
    ids = default_dag_id(found), default_drill_dag_id(found)
    known = runs.dags(ids)
    return _answer(
        {
            "now": utc_now(),
            "refreshing": full.state.refreshing,
            "problem": error_document(full.state.problem),
            "cluster": found.name,
            "state": state and whole(state),
            "dag": known.get(ids[0]),
            "drill_dag": known.get(ids[1]),
            "may": rights(user, found),
            "schedule": found.schedule,
        }
    )


@router.get("/clusters/{cluster}/backups/{backup_id}")
def backup(request: Request, found: Readable, backup_id: str, user: GetUserDep) -> Response:
    """Return one backup, with all that was recorded about it."""
    full = request.app.state.full.of(found)

    def read() -> dict[str, Any]:
        return backup_document(full.repository or open_with_hook(found), _checked(backup_id))

    document = request.app.state.bounded.run(read, _url(found))
    return _answer({"now": utc_now(), "cluster": found.name, "may": rights(user, found), **document})


@router.post("/clusters/{cluster}/release", dependencies=[Depends(refuse_foreign)])
def release_it(request: Request, found: Actable, body: Release, user: GetUserDep) -> Response:
    """Withdraw the verdicts against a backup, or release a hold, as ``restore-replay release`` does."""
    who, reason = f"{user.get_name()} in Airflow", body.reason.strip()
    if not reason or bool(body.backup) == bool(body.hold):
        return _answer({"detail": "Give a reason, and either a backup or a hold."}, status=422)

    def record() -> str:
        repository = open_with_hook(found, write=True)
        if body.backup:
            return release(repository, _checked(body.backup), by=who, reason=reason).verdict_id
        return release_hold(repository, _checked(body.hold), by=who, reason=reason).verdict_id

    verdict_id = request.app.state.bounded.run(record, _url(found))
    request.app.state.full.of(found).state.spoil()
    request.app.state.fleet.whole.spoil()
    runs.note(user, "restore_replay_release", default_dag_id(found), verdict=verdict_id, **body.model_dump())
    return _answer({"verdict_id": verdict_id})


def _checked(record_id: str) -> str:
    if not _ID.fullmatch(record_id):
        raise NoSuchBackup("There is no record of that id.")
    return record_id


def _url(cluster: Cluster) -> str:
    return cluster.repository.url or f"of connection {cluster.repository.connection}"


def _answer(document: dict[str, Any], status: int = 200) -> Response:
    body = encode({name: _utc(value) for name, value in document.items()})
    return Response(body, status, _HEADERS, "application/json")


def _utc(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


async def _explain(_: Request, exc: Exception) -> Response:
    """Return an error of the package as a sentence, and what to do about it."""
    failure = Failure.of(exc)
    status = 404 if isinstance(exc, NoSuchBackup) else 502
    error = error_document(failure) or {}
    return _answer({"detail": error["message"], "hint": error["hint"], "code": error["code"]}, status)
