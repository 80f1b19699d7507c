"""``restore-replay cycle``: one whole cycle in this process, without Airflow."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click
import msgspec
from msgspec.structs import replace

from airflow_restore_replay.cli.exit_codes import Exit, exit_code
from airflow_restore_replay.cli.interrupt import clean_up_on_sigterm
from airflow_restore_replay.cli.output import show_failure, show_pairs, when
from airflow_restore_replay.cli.progress import ProgressDisplay
from airflow_restore_replay.cli.scope import Scope, scoped
from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.config.units import human_bytes, human_seconds
from airflow_restore_replay.core.cycle.report import CycleReport
from airflow_restore_replay.core.cycle.run import run_cycle
from airflow_restore_replay.core.flavor.values import position_text
from airflow_restore_replay.core.jobs.protocol import JobState
from airflow_restore_replay.core.jobs.result_lines import amounts_text


class Moment(click.ParamType[datetime]):
    """Time with its zone, such as ``2026-08-21T03:00:00Z``."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a time such as 2026-08-21T03:00:00Z.", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value!r} has no time zone; write {value}Z for UTC.", param, ctx)
        return moment


_AS_OF = "Rebuild the backup of this past time, with its time zone: 2026-08-21T03:00:00Z, or 2026-08-21T05:00:00+02:00."


@click.command("cycle")
@click.option("--full", "force_full", is_flag=True, help="Seed from the primary even if there is a base.")
@click.option("--base", "base_backup_id", metavar="ID", help="Replay from this backup.")
@click.option("--as-of", type=Moment(), metavar="TIME", help=_AS_OF)
@click.option("--paranoid", is_flag=True, help="Read every file, also unchanged ones.")
@scoped
def command(
    scope: Scope,
    force_full: bool,
    base_backup_id: str | None,
    as_of: datetime | None,
    paranoid: bool,
) -> None:
    """Make a backup by restoring one: base, replay, validate, snapshot, publish.

    If the base turns out to be damaged, it is quarantined, and a fresh full from the primary takes its place.

    With --as-of, the newest base from before that time is replayed to the end of what the primary had logged by
    then. No fresh full can replace a damaged base there. If a backup as of that time already exists, its id is shown.
    """
    if force_full and base_backup_id:
        raise click.UsageError("--full and --base exclude each other.")
    if force_full and as_of:
        raise click.UsageError("--full and --as-of exclude each other: a fresh full is today's data.")
    # An orderly end of this process must remove its node, also after SIGTERM.
    clean_up_on_sigterm()
    connected = scope.connected
    with ProgressDisplay(scope.cluster.name) as display:
        report = run_cycle(
            _paranoid(connected.cluster) if paranoid else connected.cluster,
            secrets=connected.secrets,
            access=connected.access,
            force_full=force_full,
            base_backup_id=base_backup_id,
            as_of=as_of,
            report=_Narrator(display),
        )
    if scope.as_json:
        scope.emit(msgspec.to_builtins(report) | {"ok": report.ok})
    else:
        show_pairs(_pairs(report))
        if report.failure:
            show_failure(report.failure, as_json=False)
    raise click.exceptions.Exit(exit_code(report.failure) if report.failure else Exit.OK)


def _paranoid(cluster: Cluster) -> Cluster:
    return replace(cluster, transfer=replace(cluster.transfer, paranoid=True))


class _Narrator:
    """Callback that shows the cycle's reports as lines and a bar."""

    def __init__(self, display: ProgressDisplay) -> None:
        self._display = display
        self._said: set[tuple[str, str]] = set()

    def __call__(self, step: str, state: JobState | None) -> None:
        if state is None:
            self._say(step, "")
            return
        if state.failure:
            self._say(step, f": {state.failure.code}: {state.failure.message}")
        self._display.update(state.progress)

    def _say(self, step: str, what: str) -> None:
        if (step, what) not in self._said:
            self._said.add((step, what))
            self._display.say(f"{step}{what}")


def _pairs(report: CycleReport) -> list[tuple[str, str]]:
    snapshot = next((r for step, r in report.steps.items() if step.endswith(".snapshot")), {})
    return [
        ("Run", report.run),
        ("As of", when(report.as_of) if report.as_of else ""),
        ("Base", f"{report.base_id or 'none'}: {report.reason}" if report.reason else ""),
        *(("Passed over", f"{name}: {why}") for name, why in report.skipped.items()),
        ("Quarantined", ", ".join(report.quarantined)),
        *(("Step", f"{step}: {amounts_text(result)}") for step, result in report.steps.items()),
        ("Published" if report.steps else "Already there", report.published_id),
        ("Position", position_text(snapshot["position"]) if "position" in snapshot else ""),
        ("Proof", report.proof),
        ("Pruned", _pruned(report)),
        ("Took", human_seconds(report.seconds)),
    ]


def _pruned(report: CycleReport) -> str:
    pruned = report.pruned
    if pruned is None or not (pruned.deleted or pruned.freed_bytes or pruned.complaint):
        return ""
    return (
        f"{len(pruned.deleted)} backups, {human_bytes(pruned.freed_bytes)} freed. {pruned.complaint}".strip()
    )
