"""Drill: restore to a moment of the window without the primary, start the result, check it, and measure all of it."""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.window import Window
from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.decisions.causes import judge
from airflow_restore_replay.core.errors import (
    BackupFault,
    Blame,
    ErrorLogDirty,
    MomentRefused,
    PositionMismatch,
    RestoreReplayError,
)
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.values import position_text
from airflow_restore_replay.core.jobs.context import Reporter
from airflow_restore_replay.core.recovery.measurements import DRILL, START_RESTORED, measurement, record
from airflow_restore_replay.core.recovery.moment.unfinished import RestoredToMoment
from airflow_restore_replay.core.recovery.moment.wanted import Wanted
from airflow_restore_replay.core.recovery.private_server import private_server
from airflow_restore_replay.core.recovery.to_moment import MomentRestore
from airflow_restore_replay.core.repository.format.records import Outcome, new_id
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.system.files import make_directory, remove_made


def drill(
    repository: Repository,
    cluster: Cluster,
    *,
    moment: str = "random",
    wanted: Wanted | None = None,
    report: Reporter,
    say: Callable[[str], None],
    cancelled: Callable[[], bool] = lambda: False,
    dice: random.Random | None = None,
) -> dict[str, Any]:
    """Restore to a moment, start and check the result, record what it took, and throw it away.

    What is evidence against a backup quarantines it, by the rules of a cycle, even if an older backup then leads to the
    moment: the drill fails.

    :param moment: ``random`` within the window, or ``latest``.
    :param wanted: the moment, if it is chosen already.
    :returns: what was measured, as the record has it.
    :raises MomentRefused: the window is empty.
    :raises BackupFault: evidence against a backup was found; it was recorded.
    """
    run = f"drill/{new_id()}"
    wanted = wanted or _wanted(repository, cluster, moment, dice or random.SystemRandom())
    faults: list[RestoreReplayError] = []

    def failed(backup_id: str, exc: RestoreReplayError) -> None:
        faults.append(exc)
        _record_fault(repository, run, backup_id, exc)

    started = time.monotonic()
    with _scratch(Path(cluster.node.workdir)) as scratch:
        target = scratch / "data"
        restored = MomentRestore(
            repository,
            cluster,
            wanted,
            target,
            checked=True,
            failed=failed,
            report=report,
            say=say,
            cancelled=cancelled,
        ).run()
        report.phase("starting the restored server")
        begun = time.monotonic()
        try:
            _start(repository, cluster, restored, target)
        except BackupFault as exc:
            failed(restored.backup_id, exc)
            raise
        start_seconds = round(time.monotonic() - begun, 3)
    measured = measurement(restored, {START_RESTORED: start_seconds}, time.monotonic() - started)
    if faults:
        raise faults[0]
    record(repository, DRILL, measured, run=run, by=DRILL)
    return measured


@contextlib.contextmanager
def _scratch(workdir: Path) -> Iterator[Path]:
    """Yield a directory below *workdir*, and remove it."""
    made = make_directory(workdir)
    scratch = Path(tempfile.mkdtemp(prefix="drill-", dir=workdir))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if made:
            remove_made(workdir, made)


def random_moment(window: Window, dice: random.Random) -> datetime:
    """Return a moment of the window, each with the same probability.

    :raises MomentRefused: there is none.
    """
    lengths = [(span.end - span.begin).total_seconds() for span in window.spans]
    if not lengths:
        raise MomentRefused(
            "The window is empty: there is no healthy backup.", hint="Run a cycle, and the archiver."
        )
    place = dice.uniform(0, sum(lengths))
    for span, length in zip(window.spans, lengths, strict=True):
        if place <= length:
            return span.begin + timedelta(seconds=place)
        place -= length
    return window.spans[-1].end


def _wanted(repository: Repository, cluster: Cluster, moment: str, dice: random.Random) -> Wanted:
    if moment == "latest":
        return Wanted(kind="latest")
    archive = Archive.read(repository)
    window = archive.window(repository.catalog(), get_flavor(cluster.flavor))
    return Wanted(kind="at", text=random_moment(window, dice).isoformat())


def _start(repository: Repository, cluster: Cluster, restored: RestoredToMoment, target: Path) -> None:
    """Start the server on the result with full durability, as a person would, and compare its position.

    :raises BackupFault: it does not start, its log reports damage, or it has another position.
    """
    manifest = repository.load_manifest(restored.backup_id)
    flavor = get_flavor(manifest.flavor)
    with private_server(cluster, manifest, target) as server:
        if lines := server.log_errors():
            raise ErrorLogDirty(
                f"The restored server's error log reports: {lines[0]}", evidence={"log": lines[:20]}
            )
        with server.connect() as conn:
            found = str(flavor.executed_position(conn))
    if found != restored.position:
        raise PositionMismatch(
            f"The restored server stands at {position_text(found)}; {position_text(restored.position)} was restored.",
            evidence={"expected": restored.position, "observed": found},
        )


def _record_fault(repository: Repository, run: str, backup_id: str, exc: RestoreReplayError) -> None:
    if exc.blame is not Blame.BACKUP:
        return
    judged = judge(repository.catalog(), Failure.of(exc), run=run, attempt=DRILL, base_id=backup_id)
    outcome = Outcome.QUARANTINED if judged.failure.blame is Blame.BACKUP else Outcome.FAILED
    about = backup_id if outcome is Outcome.QUARANTINED else ""
    common: dict[str, Any] = {"attempt": DRILL, "step": DRILL, "by": DRILL}
    repository.record(repository.new_verdict(outcome, run, backup_id=about, failure=judged.failure, **common))
    for refuted in judged.withdraw:
        repository.record(
            repository.new_verdict(
                Outcome.WITHDRAWN,
                run,
                backup_id=refuted.backup_id,
                withdraws=[refuted.verdict_id],
                reason=f"backup {backup_id} failed for the same cause, so it is not in this backup",
                **common,
            )
        )
