"""``restore-replay show``: one backup, its contents and all records about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click

from airflow_restore_replay.cli.list_backups import base_text, proof_text, summary
from airflow_restore_replay.cli.output import console, show_pairs, show_table, when
from airflow_restore_replay.cli.scope import Scope, scoped
from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.window import Span, span_of
from airflow_restore_replay.core.config.units import human_bytes, human_seconds
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.values import position_text
from airflow_restore_replay.core.repository.catalog import Backup
from airflow_restore_replay.core.repository.format.records import Sizes, Verdict, utc_now


@click.command("show")
@click.argument("backup_id", metavar="ID")
@scoped
def command(scope: Scope, backup_id: str) -> None:
    """Show one backup: its position, sizes, proof, and the verdicts about it."""
    repository = scope.repository()
    backup = repository.catalog().backup(backup_id)
    archive = Archive.read(repository)
    logs = span_of(backup, archive.routes(get_flavor(scope.cluster.flavor))) if archive.pieces else None
    if scope.as_json:
        document = summary(backup) | {
            "manifest": backup.manifest,
            "verdicts": backup.verdicts,
            "standing_against": [v.verdict_id for v in backup.against],
            "archive": {"begin": logs.begin, "end": logs.end} if logs else None,
        }
        scope.emit(document)
        return
    show_pairs([*_pairs(backup), *_reach(logs)])
    if backup.manifest.checks:
        console().print()
        show_table(
            ["CHECK", "SECONDS", "WHAT"], [_check(c) for c in backup.manifest.checks], right=["SECONDS"]
        )
    if backup.verdicts:
        console().print()
        show_table(["VERDICT", "OUTCOME", "STEP", "WHAT"], [_row(v, backup) for v in backup.verdicts])


def _pairs(backup: Backup) -> list[tuple[str, str]]:
    manifest, sizes = backup.manifest, backup.manifest.sizes
    age_s = (utc_now() - manifest.goal_read_at).total_seconds()
    compared = manifest.compared
    return [
        ("Backup", backup.backup_id),
        ("Cluster", manifest.cluster),
        ("State", backup.state.value),
        ("Proof", proof_text(backup)),
        ("Position", position_text(manifest.position)),
        ("As of", when(manifest.as_of) if manifest.as_of else ""),
        ("Position read", f"{when(manifest.goal_read_at)}, {human_seconds(age_s)} ago"),
        ("Base", base_text(backup)),
        ("Lineage depth", str(manifest.lineage_depth)),
        ("Key", manifest.key_id),
        ("Server", f"{manifest.flavor} {manifest.server_release}"),
        ("Size", f"{human_bytes(sizes.total_bytes)} in {sizes.files} files"),
        *_sizes(sizes),
        ("Compared", ", ".join(f"{n} {_plain(value)}" for n, value in compared.items() if n != "coverage")),
        ("Coverage", coverage_text(compared, manifest.created_at)),
        *_notes(manifest.notes),
        ("Run", manifest.run),
    ]


def _reach(span: Span | None) -> Iterator[tuple[str, str]]:
    if span and span.end > span.begin:
        yield "Archive", f"leads from it to every moment from {when(span.begin)} to {when(span.end)}"
    elif span:
        yield "Archive", "does not continue it"


def coverage_text(compared: dict[str, Any], made: datetime) -> str:
    """Return how much was compared; "every row" only if no table is left out.

    :param compared: of a manifest.
    :param made: when its backup was made.
    """
    coverage = compared.get("coverage", {})
    if "never" in coverage:
        named = ", ".join(coverage["never"])
        more = ", …" if coverage["never_count"] > len(coverage["never"]) else ""
        return f"{coverage['never_count']} tables are not fully compared yet: {named}{more}"
    if not coverage.get("since"):
        return ""
    left = compared.get("uncompared", {})
    rows = f"every row of the other tables ({len(left)} are not compared, see above)" if left else "every row"
    cycles = "this cycle" if coverage["cycles"] == 1 else f"the last {coverage['cycles']} cycles"
    days = (made - datetime.fromisoformat(coverage["since"])).total_seconds() / 86400
    changed = coverage.get("changed_since_compared")
    later = f"; {changed} tables changed since their comparison" if changed else ""
    return f"{rows} compared at least once in {cycles} / {days:.1f} days{later}"


def _sizes(sizes: Sizes) -> Iterator[tuple[str, str]]:
    size = human_bytes
    bundled = f", {size(sizes.bundled_bytes)} of files in bundles ({sizes.bundles})" if sizes.bundles else ""
    read = size(sizes.read_bytes)
    untouched = f"{size(sizes.skipped_bytes)} in {sizes.skipped_files} files unchanged since the restore"
    yield "Read", f"{read}; {untouched}" if sizes.skipped_files else read
    yield "New", f"{size(sizes.new_bytes)} in {sizes.new_chunks} chunks"
    if sizes.delta_chunks:
        yield "Deltas", f"{size(sizes.delta_page_bytes)} of pages, in {sizes.delta_chunks} chunks"
    yield "Reused", f"{size(sizes.reused_bytes)}; {size(sizes.zero_bytes)} are zero"
    yield "Stored", f"{size(sizes.stored_bytes)} compressed{bundled}"


def _notes(notes: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, note in notes.items():
        yield name.replace("_", " ").capitalize(), _plain(note)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_plain(item)}" for name, item in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _check(check: dict[str, Any]) -> list[str]:
    what = "; ".join(filter(None, (str(check.get(key, "")) for key in ("observed", "unfinished"))))
    return [str(check.get("name", "")), f"{check.get('seconds', 0):.1f}", what]


def _row(verdict: Verdict, backup: Backup) -> list[str]:
    what = verdict.failure.message if verdict.failure else verdict.reason
    if verdict.verdict_id in backup.withdrawn:
        what = f"(withdrawn) {what}"
    return [verdict.verdict_id, verdict.outcome.value, verdict.step or verdict.by, what]
