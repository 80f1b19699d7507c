"""Verify the checksums of pages that a cycle does not read, where corruption would otherwise be found too late."""

from __future__ import annotations

from pathlib import Path

from airflow_restore_replay.core.config.units import human_bytes
from airflow_restore_replay.core.errors import CheckUnfinished, PreflightFailed
from airflow_restore_replay.core.jobs.checks import CheckResult, TimeBox
from airflow_restore_replay.core.jobs.checks.rotation import RotatingCheck
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.repository.transfer.restored_state import FileStat
from airflow_restore_replay.core.repository.transfer.unchanged_files import unchanged_files
from airflow_restore_replay.core.system.processes import run_program

_PROGRAM = "innochecksum"
_LINES = 5


class ColdPagesCheck(RotatingCheck):
    """Check of the files that are unchanged since the restore, by ``innochecksum``.

    Other files are left out, because a page that the server is about to write has no correct checksum yet. The program
    reads each file on standard input, because the server holds locks on the files that it uses.
    """

    name = "cold_pages"
    unit = "files"
    expected = "every page's checksum fits"

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        try:
            program = ctx.server.program(_PROGRAM)
        except PreflightFailed as exc:
            return CheckResult(name=self.name, passed=True, observed=exc.message, expected="")
        data = ctx.node.data
        cold = unchanged_files(data, ctx.node.load_base(), ctx.flavor.skippable_files)
        return self.rotate(
            ctx,
            box,
            cold,
            damage=lambda path: _damage(program, data / path, cold[path]),
            intact=lambda paths: (
                f"{human_bytes(sum(cold[path].size for path in paths))} in {len(paths)} unchanged files"
            ),
        )


def _damage(program: str, path: Path, known: FileStat) -> str:
    """Return the errors that the program reports for the file, ``""`` for none, or if the server has written to it."""
    try:
        with path.open("rb") as file:
            done = run_program([program, "-"], stdin=file)
        if done.returncode == 0 or FileStat.of(path.lstat()) != known:
            return ""
    except FileNotFoundError:
        return ""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    if done.returncode != 1 or not any(line.startswith("Fail") for line in lines):
        raise CheckUnfinished(
            f"{_PROGRAM} ended with {done.returncode} on {path.name}: {'; '.join(lines[:_LINES])}",
            hint="Is it of another release than the server? validate.checks without cold_pages does without it.",
        )
    return "; ".join(lines[:_LINES])
