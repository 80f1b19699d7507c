"""Who may do what on the page: Airflow's own users, and their rights on the DAGs of a cluster."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.configuration import conf
from airflow.models.dag import DagModel
from fastapi import Depends, HTTPException, Request

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.hooks.clusters import default_dag_id, default_drill_dag_id
from airflow_restore_replay.web.reading import FleetReading


def readable(user: Any, clusters: Iterable[str]) -> set[str]:
    """Return those of *clusters* whose DAG the user may read."""
    ids = {default_dag_id(name): name for name in clusters}
    if conf.getboolean("core", "multi_team", fallback=False):
        allowed = {dag_id for dag_id in ids if _may(user, "GET", dag_id)}
    else:
        allowed = get_auth_manager().filter_authorized_dag_ids(dag_ids=set(ids), user=user, method="GET")
    return {ids[dag_id] for dag_id in allowed}


def may_trigger(user: Any, dag_id: str) -> bool:
    """Return whether the user may trigger runs of a DAG."""
    return _may(user, "POST", dag_id, DagAccessEntity.RUN)


def _may(user: Any, method: Any, dag_id: str, entity: DagAccessEntity | None = None) -> bool:
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return get_auth_manager().is_authorized_dag(
        method=method, access_entity=entity, details=details, user=user
    )


def reader(request: Request, cluster: str, user: GetUserDep) -> Cluster:
    """Return the cluster that a request names, if its user may read the cluster's DAG.

    Who may not learns nothing, not even whether there is such a cluster.

    :raises ConfigInvalid: there is none, or it has a mistake.
    """
    if not _may(user, "GET", default_dag_id(cluster)):
        raise HTTPException(403, "Forbidden")
    fleet: FleetReading = request.app.state.fleet
    fleet.whole.look()
    return fleet.find(cluster)


def actor(cluster: Annotated[Cluster, Depends(reader)], user: GetUserDep) -> Cluster:
    """Return the cluster that a request names, if its user may trigger the cluster's DAG."""
    if not may_trigger(user, default_dag_id(cluster)):
        raise HTTPException(403, "Forbidden")
    return cluster


def rights(user: Any, cluster: Cluster) -> dict[str, bool]:
    """Return which actions the user may take."""
    return {
        "act": may_trigger(user, default_dag_id(cluster)),
        "drill": may_trigger(user, default_drill_dag_id(cluster)),
    }


def refuse_foreign(request: Request, _user: GetUserDep) -> None:
    """Refuse a change that another site's page asks for with this browser's cookie.

    The body must be JSON, which no form sends. A browser says where a request comes from by ``Sec-Fetch-Site`` or
    ``Origin``. A request with neither is no browser's, and then the token must be in its header.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "The body must be JSON, with content-type application/json.")
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        own = site == "same-origin"
    elif origin is not None:
        own = origin in _own_origins(request)
    else:
        own = request.headers.get("authorization", "").lower().startswith("bearer ")
    if not own:
        raise HTTPException(403, "Only Airflow's own pages may ask for this.")


def _own_origins(request: Request) -> set[str]:
    found = {f"{request.url.scheme}://{request.headers.get('host', '')}"}
    if base_url := conf.get("api", "base_url", fallback=""):
        parts = urlsplit(base_url)
        found.add(f"{parts.scheme}://{parts.netloc}")
    return found
