"""What Airflow knows of the clusters' DAGs: whether they are paused, when they run next, which runs are under way."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_restore_replay.core.decoding import encode

_MOST_RUNS = 1000


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run that has not ended."""

    run_id: str
    state: str
    started_at: datetime | None = None


class DagLine(msgspec.Struct, kw_only=True):
    """One DAG.

    :param gone: Airflow knew it once.
    """

    dag_id: str
    paused: bool = False
    gone: bool = False
    next_run: datetime | None = None
    runs: list[Run] = []


def dags(dag_ids: Iterable[str]) -> dict[str, DagLine]:
    """Return those of the DAGs that Airflow knows."""
    wanted = list(dag_ids)
    with create_session() as session:
        columns = (DagModel.dag_id, DagModel.is_paused, DagModel.is_stale, DagModel.next_dagrun_create_after)
        found = {
            dag_id: DagLine(
                dag_id=dag_id, paused=bool(paused), gone=bool(stale), next_run=None if paused else at, runs=[]
            )
            for dag_id, paused, stale, at in session.execute(
                select(*columns).where(DagModel.dag_id.in_(wanted))
            )
        }
        under_way = (
            select(DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.start_date)
            .where(DagRun.dag_id.in_(wanted), DagRun.state.in_(["queued", "running"]))
            .limit(_MOST_RUNS)
        )
        for dag_id, run_id, state, at in session.execute(under_way):
            if dag_id in found:
                found[dag_id].runs.append(Run(run_id=run_id, state=str(state), started_at=at))
    return found


def note(user: Any, event: str, dag_id: str, **extra: Any) -> None:
    """Write what a user did into Airflow's audit log."""
    name = user.get_name()
    with create_session() as session:
        line = Log(
            event=event, owner=name, owner_display_name=name, dag_id=dag_id, extra=encode(extra).decode()
        )
        session.add(line)
