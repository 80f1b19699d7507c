"""The report as one HTML page that needs nothing else: its plots are drawn in the page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from airflow_restore_replay.core.config.units import human_bytes, human_seconds
from airflow_restore_replay.core.recovery.measurements import RTO_PHASES, MeasuredRestore
from airflow_restore_replay.core.recovery.report import Report
from airflow_restore_replay.core.times import stamp

_COLOURS = ("#8da0cb", "#4575b4", "#d95f02", "#e6ab02", "#999999", "#66a61e")
_WIDTH, _HEIGHT, _LEFT, _SHOWN = 900, 220, 70, 60
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 960px; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; } td, th { padding: .2em .8em; text-align: left; border-bottom: 1px solid #ddd; }
.bad { color: #b00020; font-weight: bold; }
.key span { display: inline-block; width: .9em; height: .9em; margin: 0 .3em 0 1em; }
"""


def page(reports: Sequence[Report]) -> str:
    """Return the page of all clusters."""
    at = stamp(max(report.at for report in reports)) if reports else ""
    body = "".join(map(_cluster, reports))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Restores</title>'
        f"<style>{_STYLE}</style></head><body><h1>Restores</h1><p>As of {escape(at)}.</p>{body}</body></html>\n"
    )


def _cluster(report: Report) -> str:
    begin, end = report.window.begin, report.window.end
    facts = {
        "Forecast (RTO)": human_seconds(report.expected_s),
        "Target": human_seconds(report.rto_target_s) if report.rto_target_s else "none",
        "Not archived (RPO)": human_seconds(report.rpo_s),
        "Window": f"{stamp(begin)} to {stamp(end)}" if begin and end else "empty",
        "Drills": f"{len(report.drills)} succeeded, {report.failed} failed",
        "Restores": str(len(report.restores)),
    }
    bad = {"Forecast (RTO)"} if report.meets_target is False else set()
    bad |= {"Not archived (RPO)"} if report.rpo_s is None else set()
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td{' class=bad' if name in bad else ''}>{escape(text)}</td></tr>"
        for name, text in facts.items()
    )
    return (
        f"<h2>{escape(report.cluster)}</h2><table>{rows}</table>{_plot(report)}{_restores(report.measured)}"
    )


def _plot(report: Report) -> str:
    """Return a bar for each of the last drills and restores, divided by phase, with the target as a line."""
    restores = report.measured[-_SHOWN:]
    if not restores:
        return "<p>No drill or restore was recorded.</p>"
    highest = max([m.rto_s for m in restores] + [report.rto_target_s or 0.0]) or 1.0
    step = (_WIDTH - _LEFT) / len(restores)
    bars = []
    for number, measured in enumerate(restores):
        top = float(_HEIGHT)
        for phase, colour in zip(RTO_PHASES, _COLOURS, strict=True):
            height = measured.phases.get(phase, 0.0) / highest * (_HEIGHT - 20)
            top -= height
            title = f"{stamp(measured.at)}: {phase} {human_seconds(measured.phases.get(phase, 0.0))}"
            bars.append(
                f'<rect x="{_LEFT + number * step:.1f}" y="{top:.1f}" width="{step * 0.8:.1f}" '
                f'height="{height:.1f}" fill="{colour}"><title>{escape(title)}</title></rect>'
            )
    marks = [(highest, "#ccc"), (highest / 2, "#ccc")]
    marks += [(report.rto_target_s, "#b00020")] if report.rto_target_s else []
    lines = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{_HEIGHT - v / highest * (_HEIGHT - 20):.1f}" '
        f'y2="{_HEIGHT - v / highest * (_HEIGHT - 20):.1f}" stroke="{colour}"/>'
        f'<text x="0" y="{_HEIGHT - v / highest * (_HEIGHT - 20) + 4:.1f}" font-size="12">{human_seconds(v)}</text>'
        for v, colour in marks
    )
    key = "".join(
        f'<span style="background:{colour}"></span>{escape(phase)}'
        for phase, colour in zip(RTO_PHASES, _COLOURS, strict=True)
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 5}" role="img" aria-label="Time of each restore by phase">'
        f'{"".join(bars)}{lines}</svg><p class="key">{key}</p>'
    )


def _restores(restores: Sequence[MeasuredRestore]) -> str:
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td>{escape(text)}</td>"
            for text in (
                stamp(m.at),
                m.kind,
                m.wanted,
                human_seconds(m.rto_s),
                human_bytes(m.bytes),
                str(m.transactions),
            )
        )
        + "</tr>"
        for m in reversed(restores[-_SHOWN:])
    )
    head = "".join(f"<th>{name}</th>" for name in ("At", "Kind", "Moment", "RTO", "Backup", "Transactions"))
    return f"<table><tr>{head}</tr>{rows}</table>" if restores else ""
