"""``restore-replay report``: how long restores take (RTO), and how much the archive lacks (RPO)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from airflow_restore_replay.cli.output import JSON_KEY, console, emit_json, show_table, when
from airflow_restore_replay.cli.report_page import page
from airflow_restore_replay.core.config.cluster import CONFIG_VARIABLE, load_clusters
from airflow_restore_replay.core.config.units import human_seconds
from airflow_restore_replay.core.errors import ConfigInvalid
from airflow_restore_replay.core.recovery.report import Report, report_of
from airflow_restore_replay.core.repository.format.records import utc_now
from airflow_restore_replay.core.repository.key_sources import read_repository_keys
from airflow_restore_replay.core.repository.repository import Repository


def _remember_json(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
    # Errors are shown by the group, which does not see this option.
    ctx.meta[JSON_KEY] = value
    return value


@click.command("report")
@click.option("--html", "page_file", type=click.Path(path_type=Path), metavar="FILE", help="Write a page.")
@click.option(
    "--json", "as_json", is_flag=True, is_eager=True, callback=_remember_json, help="Answer in JSON."
)
@click.option("--cluster", metavar="NAME", help="Only this cluster of the file.")
@click.option(
    "--config",
    envvar=CONFIG_VARIABLE,
    required=True,
    metavar="FILE",
    help=f"Cluster file; default: ${CONFIG_VARIABLE}.",
)
def command(config: str, cluster: str | None, as_json: bool, page_file: Path | None) -> None:
    """Report how long drills and restores took, and how much the archive lacks, of all clusters.

    RTO is the time from the command to a running server; its forecast is for the newest backup and all archived binary
    logs after it. RPO is the time since all of the primary was archived.
    """
    clusters = load_clusters(config)
    if cluster is not None and cluster not in clusters:
        raise ConfigInvalid(f"{config} has no cluster {cluster!r}; it has: {', '.join(sorted(clusters))}.")
    reports = []
    for name, found in sorted(clusters.items()):
        if cluster in (None, name):
            repository = Repository.of_cluster(found, keys=read_repository_keys(found), write=False)
            reports.append(report_of(repository, found, utc_now()))
    if page_file:
        page_file.write_text(page(reports), encoding="utf-8")
    if as_json:
        emit_json([document(report) for report in reports])
        return
    columns = [
        "CLUSTER",
        "DRILLS",
        "FAILED",
        "RESTORES",
        "LAST",
        "RTO",
        "FORECAST",
        "TARGET",
        "RPO",
        "WINDOW FROM",
        "TO",
    ]
    show_table(columns, [_row(report) for report in reports])
    if page_file:
        console().print(f"{page_file} has the page.", markup=False, soft_wrap=True)


def document(report: Report) -> dict[str, Any]:
    """Return the JSON answer of one cluster."""
    found: dict[str, Any] = msgspec.to_builtins(report)
    del found["measured"]
    listed = {
        name: [msgspec.to_builtins(measured) | {"rto_s": measured.rto_s} for measured in restores]
        for name, restores in (("drills", report.drills), ("restores", report.restores))
    }
    return found | listed | {"meets_target": report.meets_target}


def _row(report: Report) -> list[str]:
    last = report.measured[-1] if report.measured else None
    begin, end = report.window.begin, report.window.end
    return [
        report.cluster,
        str(len(report.drills)),
        str(report.failed),
        str(len(report.restores)),
        when(last.at) if last else "never",
        human_seconds(last.rto_s if last else None),
        human_seconds(report.expected_s) + ("" if report.meets_target is not False else " (too long)"),
        human_seconds(report.rto_target_s) if report.rto_target_s else "none",
        human_seconds(report.rpo_s),
        when(begin) if begin else "never",
        when(end) if end else "never",
    ]
