"""``restore-replay report``: how long restores take (RTO), and how much the archive lacks (RPO)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from airflow_restore_replay.cli.connections import open_repository
from airflow_restore_replay.cli.exit_codes import Exit
from airflow_restore_replay.cli.output import console, emit_json, show_table, when
from airflow_restore_replay.cli.report_page import page
from airflow_restore_replay.cli.scope import config_option, json_option
from airflow_restore_replay.core.config.cluster import load_fleet
from airflow_restore_replay.core.config.units import human_seconds
from airflow_restore_replay.core.recovery.report import Report, report_of
from airflow_restore_replay.core.repository.format.records import utc_now


@click.command("report")
@click.option("--html", "page_file", type=click.Path(path_type=Path), metavar="FILE", help="Write a page.")
@json_option
@click.option("--cluster", metavar="NAME", help="Only this cluster of the file.")
@config_option
def command(config: str, cluster: str | None, as_json: bool, page_file: Path | None) -> None:
    """Report how long drills and restores took, and how much the archive lacks, of all clusters.

    RTO is the time from the command to a running server; its forecast is for the newest backup and all archived binary
    logs after it. RPO is the time since all of the primary was archived. Clusters with a mistake in the cluster file
    are named on stderr, and the exit code is 2.
    """
    fleet = load_fleet(config)
    clusters = [found for _, found in sorted(fleet.clusters.items())]
    reports = [
        report_of(open_repository(found), found, utc_now())
        for found in (clusters if cluster is None else [fleet.cluster(cluster)])
    ]
    if page_file:
        page_file.write_text(page(reports), encoding="utf-8")
    if as_json:
        emit_json([document(report) for report in reports])
    else:
        _show(reports)
        if page_file:
            console().print(f"{page_file} has the page.", markup=False, soft_wrap=True)
    if cluster is None and fleet.mistakes:
        for mistake in fleet.mistakes:
            console(stderr=True).print(
                f"Error: {mistake} {mistake.hint}".rstrip(), markup=False, soft_wrap=True
            )
        raise click.exceptions.Exit(Exit.REFUSED)


def _show(reports: Sequence[Report]) -> None:
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
