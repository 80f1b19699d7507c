"""Verify the checksums of pages that a cycle does not read, where corruption would otherwise be found too late."""

from __future__ import annotations

import subprocess
from pathlib import Path

from airflow_restore_replay.core.config.units import human_bytes
from airflow_restore_replay.core.errors import (
    CheckUnfinished,
    PreflightFailed,
    RestoreReplayError,
    TableCheckFailed,
)
from airflow_restore_replay.core.jobs.checks import CheckResult, Cost, Rotation, TimeBox, carried
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.repository.transfer.restored_state import FileStat
from airflow_restore_replay.core.repository.transfer.unchanged_files import untouched_files
from airflow_restore_replay.core.system.processes import program_environment

_PROGRAM = "innochecksum"
_LINES = 5


class ColdPagesCheck:
    """Check of the files that are unchanged since the restore, by ``innochecksum``.

    Other files are left out, because a page that the server is about to write has no correct checksum yet. The program
    reads each file on standard input, because the server holds locks on the files that it uses.
    """

    name = "cold_pages"
    cost = Cost.READS_DATA
    blames: type[RestoreReplayError] = TableCheckFailed

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        try:
            program = ctx.server.program(_PROGRAM)
        except PreflightFailed as exc:
            return CheckResult(name=self.name, passed=True, observed=exc.message, expected="")
        cold = untouched_files(ctx.node.data, ctx.node.load_base(), ctx.flavor.skippable_files)
        turn = Rotation(cold, carried(ctx, self.name).get("last", ""))
        damaged: dict[str, str] = {}
        read = 0
        for path in turn.until(lambda: box.over):
            ctx.stop_if_cancelled()
            if complaint := _check(program, ctx.node.data / path, cold[path]):
                damaged[path] = complaint
            read += cold[path].size
            ctx.report.count(turn.done, len(cold), unit="files", detail=path)
        first = next(iter(damaged.items()), None)
        return CheckResult(
            name=self.name,
            passed=not damaged,
            observed=f"{len(damaged)} damaged files, first {first[0]}: {first[1]}"
            if first
            else f"{human_bytes(read)} in {turn.done} untouched files",
            expected="every page's checksum fits",
            details={"tables": damaged} if damaged else {},
            unfinished=turn.unfinished,
            carry=turn.carry,
        )


def _check(program: str, path: Path, known: FileStat) -> str:
    """Return the errors that the program reports for the file, ``""`` for none, or if the server has written to it."""
    try:
        with path.open("rb") as file:
            done = subprocess.run(
                [program, "-"], stdin=file, capture_output=True, env=program_environment(), check=False
            )
        if done.returncode == 0 or FileStat.of(path.lstat()) != known:
            return ""
    except FileNotFoundError:
        return ""
    lines = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    if done.returncode != 1 or not any(line.startswith("Fail") for line in lines):
        raise CheckUnfinished(
            f"{_PROGRAM} ended with {done.returncode} on {path.name}: {'; '.join(lines[:_LINES])}",
            hint="Is it of another release than the server? validate.checks without cold_pages does without it.",
        )
    return "; ".join(lines[:_LINES])
