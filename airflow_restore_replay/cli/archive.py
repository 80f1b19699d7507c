"""``restore-replay archive``: archive the primary's binary logs."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import click
import msgspec

from airflow_restore_replay.cli.output import show_pairs
from airflow_restore_replay.cli.progress import ProgressDisplay
from airflow_restore_replay.cli.scope import Scope, scoped
from airflow_restore_replay.core.archive.archiver import Archiver
from airflow_restore_replay.core.archive.outcome import ArchiveReport
from airflow_restore_replay.core.config.units import human_bytes, human_seconds
from airflow_restore_replay.core.flavor.values import position_text
from airflow_restore_replay.core.jobs.protocol import Progress
from airflow_restore_replay.core.times import stamp


@click.command("archive")
@click.option("--follow", is_flag=True, help="Go on until stopped, whatever fails.")
@scoped
def command(scope: Scope, follow: bool) -> None:
    """Archive the primary's binary logs, so that any moment can be restored without the primary.

    Without --follow, archives up to the primary's present position and ends. With it, archives what is logged at
    least every archive.interval, and retries what fails; another archiver of the cluster waits until this one ends.
    SIGTERM and Ctrl-C store what has arrived, and end it with exit code 0.
    """
    stopped = _stopped_by_signals()
    with ProgressDisplay(scope.cluster.name) as display:
        archiver = Archiver(
            scope.connected.cluster,
            scope.repository(write=True),
            scope.connected.secrets.primary_password,
            say=display.say,
            progress=lambda report: display.update(_progress(report)),
        )
        report = archiver.run(follow=follow, stopping=stopped.is_set)
    if scope.as_json:
        scope.emit(msgspec.to_builtins(report))
    else:
        show_pairs(_pairs(report))


def _stopped_by_signals() -> threading.Event:
    """Return an event that SIGTERM or Ctrl-C sets; a second one interrupts."""
    stopped = threading.Event()

    def stop(_: int, __: FrameType | None) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopped


def _progress(report: ArchiveReport) -> Progress:
    current = f", complete until {stamp(report.current_at)}" if report.current_at else ""
    return Progress(
        phase="archiving",
        done=report.size_bytes,
        unit="bytes",
        detail=f"{report.log}, {report.transactions:,} transactions{current}",
    )


def _pairs(report: ArchiveReport) -> list[tuple[str, str]]:
    return [
        ("Archived", f"{human_bytes(report.size_bytes)}, {report.transactions:,} transactions"),
        ("Last file", report.log),
        ("Position", position_text(report.position)),
        ("Complete until", stamp(report.current_at) if report.current_at else "unknown"),
        *(("Missing", gap) for gap in report.gaps),
        ("Took", human_seconds(report.seconds)),
    ]
