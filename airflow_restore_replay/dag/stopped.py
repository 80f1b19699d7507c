"""The DAG of a cluster that has a mistake in the cluster file: it is there, says why, and its runs fail."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator

from airflow_restore_replay.compat import AirflowFailException, CronDataIntervalTimetable
from airflow_restore_replay.core.config.cluster import Fleet
from airflow_restore_replay.hooks.clusters import configured_fleet

if TYPE_CHECKING:
    from airflow.sdk import Context

DOC = """\
### `{cluster}` is NOT backed up: the cluster file has a mistake

{mistakes}

`restore-replay config check` shows the mistakes of all clusters. Other clusters are not concerned.
"""


class MisconfiguredOperator(BaseOperator):
    """Fail, and name the mistakes.

    :param mistakes: one text.
    """

    ui_color = "#f7d5d5"

    def __init__(self, *, mistakes: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mistakes = mistakes

    def execute(self, context: Context) -> None:
        raise AirflowFailException(self.mistakes)


def build_stopped_dag(
    fleet: Fleet,
    cluster: str,
    dag_id: str,
    *,
    on_failure_callback: Any = None,
    on_run_failure_callback: Any = None,
    **_: Any,
) -> DAG:
    """Build the DAG that takes the place of a cluster's own.

    Callbacks of failures are those of :func:`~airflow_restore_replay.dag.build_restore_replay_dag`; further arguments
    of that function have no meaning here.
    """
    found = [f"{mistake} {mistake.hint}".rstrip() for mistake in fleet.mistakes_of(cluster)]
    with DAG(
        dag_id,
        description=f"NOT backed up: {found[0]}",
        doc_md=DOC.format(cluster=cluster, mistakes="\n".join(f"- {text}" for text in found)),
        schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
        start_date=datetime(2024, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        on_failure_callback=on_run_failure_callback,
        tags={"restore-replay", "misconfigured"},
    ) as dag:
        MisconfiguredOperator(
            task_id="misconfigured",
            mistakes="\n".join(found),
            retries=0,
            on_failure_callback=on_failure_callback,
        )
    return dag


def refuse_mistakes(config: str | None = None) -> None:
    """Raise if any cluster or group has a mistake; for a DAG file of its own.

    :param config: path of the cluster file; default is the variable ``RESTORE_REPLAY_CONFIG``.
    :raises ConfigInvalid: names the mistakes, and Airflow shows it as an import error.
    """
    configured_fleet(config).refuse_mistakes(all_of_them=True)
