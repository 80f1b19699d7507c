"""``restore-replay verify``: read stored chunks back and hash them."""

from __future__ import annotations

import click
import msgspec

from airflow_restore_replay.cli.exit_codes import Exit
from airflow_restore_replay.cli.interrupt import clean_up_on_sigterm
from airflow_restore_replay.cli.output import console
from airflow_restore_replay.cli.progress import ProgressDisplay
from airflow_restore_replay.cli.scope import Scope, person, scoped
from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.verifying import ArchiveReport, verify_archive
from airflow_restore_replay.core.config.units import ByteCount, human_bytes, human_seconds
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.jobs.context import Reporter
from airflow_restore_replay.core.repository.rate_limit import RateLimit
from airflow_restore_replay.core.repository.verification.passes import Scope as PassScope
from airflow_restore_replay.core.repository.verification.verify import VerifyReport, verify
from airflow_restore_replay.core.times import stamp


@click.command("verify")
@click.option("--backup", "backup_id", default="", metavar="ID", help="Only the chunks of this backup.")
@click.option("--subset", default="", metavar="N/T", help="The N-th of T parts, for example 1/7 on Mondays.")
@click.option("--restart", is_flag=True, help="Start over instead of resuming an interrupted pass.")
@click.option("--quarantine", is_flag=True, help="Quarantine every affected backup.")
@click.option("--threads", type=click.IntRange(1, 64), help="Default: the cluster's transfer.threads.")
@click.option(
    "--rate-limit", metavar="50MB", help="Uncompressed bytes per second; default: transfer.rate_limit."
)
@scoped
def command(
    scope: Scope,
    backup_id: str,
    subset: str,
    restart: bool,
    quarantine: bool,
    threads: int | None,
    rate_limit: str | None,
) -> None:
    """Read every stored chunk of every readable backup, and every part of the archive, past all caches, and hash it.

    Chunks that were not verified for the longest time come first. The same command resumes an interrupted
    verification. It only reports; --quarantine records verdicts. Exit codes: 0 all is well, 4 damage was found, 1 the
    store did not answer.
    """
    clean_up_on_sigterm()
    transfer = scope.cluster.transfer
    limit = RateLimit(_bytes(rate_limit) or transfer.rate_limit)
    with ProgressDisplay(scope.cluster.name) as display:
        report = Reporter(display.update)
        report.phase("verifying", detail=backup_id)
        found = verify(
            scope.repository(write=quarantine),
            PassScope(backup_id, subset),
            restart=restart,
            quarantine=quarantine,
            by=person(),
            threads=threads or transfer.threads,
            rate_limit=limit,
            progress=report.count,
        )
        logs = None if backup_id else _archive(scope, PassScope("", subset).folders(), threads, limit, report)
    ok = found.ok and (logs is None or logs.ok)
    if scope.as_json:
        archive = {"archive": msgspec.to_builtins(logs)} if logs else {}
        scope.emit(msgspec.to_builtins(found) | archive | {"ok": ok})
    else:
        _show(found)
        if logs:
            _show_archive(logs)
    raise click.exceptions.Exit(Exit.OK if ok else Exit.BACKUP)


def _archive(
    scope: Scope, folders: list[str], threads: int | None, limit: RateLimit, report: Reporter
) -> ArchiveReport | None:
    """Verify the archive, if there is one."""
    archive = Archive.read(scope.repository(), everything=True)
    if not archive.pieces and not archive.unreadable:
        return None
    report.phase("verifying the archive")
    return verify_archive(
        archive,
        get_flavor(scope.cluster.flavor),
        selected=set(folders).__contains__,
        threads=threads or scope.cluster.transfer.threads,
        rate_limit=limit,
        progress=report.count,
    )


def _bytes(text: str | None) -> ByteCount | None:
    try:
        return ByteCount(text) if text else None
    except ValueError as exc:
        raise click.UsageError(f"--rate-limit: {exc}") from exc


def _show(found: VerifyReport) -> None:
    _say(
        f"{found.chunks:,} chunks of {found.backups} backups, {human_bytes(found.size_bytes)}, in "
        f"{human_seconds(found.seconds)}: {_outcome(found)}."
    )
    if found.resumed_folders:
        _say(f"{found.resumed_folders} of 256 parts had been verified before the interruption.")
    for bad in found.bad:
        _say(f"{bad.failure.code}: {bad.ref}, needed by {', '.join(bad.backups)}")
    for backup_id, failure in found.bad_lists.items():
        _say(f"Backup {backup_id}: {failure.message}")
    for path, why in found.unreadable.items():
        _say(f"Unreadable: {path}: {why}")
    for path, by in found.missing.items():
        _say(f"Missing: {path}: {by}")
    if found.quarantined:
        _say(f"Quarantined: {', '.join(found.quarantined)}.")
    elif found.bad or found.bad_lists:
        _say("No verdict was recorded against these backups; --quarantine records one for each.")
    if found.unrecorded:
        _say(f"The progress could not be recorded: {found.unrecorded}")


def _show_archive(found: ArchiveReport) -> None:
    outcome = (
        "all is well" if found.ok else f"{len(found.bad)} damages, {len(found.unreadable)} unreadable records"
    )
    _say(
        f"Archive: {found.parts:,} parts of {found.pieces:,} pieces, {human_bytes(found.size_bytes)}: {outcome}."
    )
    for failure in found.bad:
        _say(f"{failure.code}: {failure.message}")
    for path, why in found.unreadable.items():
        _say(f"Unreadable: {path}: {why}")
    for gap in found.gaps:
        _say(f"Gap, noticed {stamp(gap.at)}: {gap.lacking}: {gap.reason}")


def _outcome(found: VerifyReport) -> str:
    if found.ok:
        return "all is well"
    return (
        f"{len(found.bad)} bad chunks, {len(found.bad_lists)} bad file lists, "
        f"{len(found.unreadable)} unreadable records, {len(found.missing)} missing records"
    )


def _say(line: str) -> None:
    console().print(line, markup=False, soft_wrap=True)
