"""The state of clusters as text for people."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import click

from airflow_restore_replay.cli.output import console, echo, shorten, show_pairs, show_table, when
from airflow_restore_replay.core.config.units import human_bytes, human_seconds
from airflow_restore_replay.core.fleet.state import ClusterState, Holder, Logs, Severity
from airflow_restore_replay.core.system.printable import printable

_COLUMNS = ("CLUSTER", "STATE", "AGE", "LIMIT", "RPO", "PROVEN", "LAST", "NOW")
_RIGHT = ("AGE", "LIMIT", "RPO", "PROVEN")
_COLOURS = {"critical": "red", "warning": "yellow", "ok": "green"}
_BACKUPS_SHOWN = 10


def headline(states: Sequence[ClusterState]) -> str:
    """Return the line that Nagios shows, with perfdata."""
    counts = Counter(state.severity for state in states)
    bad = [s for s in states if s.severity is not Severity.OK]
    worst = bad[0].severity.name if bad else "OK"
    told = ", ".join(f"{counts[s]} {s}" for s in Severity if counts[s]) or "no clusters"
    first = f"; {bad[0].cluster}: {bad[0].findings[0].text}" if bad else ""
    perfdata = " ".join(f"{s}={counts[s]};;;0" for s in Severity)
    text = f"RESTORE-REPLAY {worst} - {told}{first}".replace("|", "/").replace("\n", " ")
    return f"{shorten(text, 300)} | {perfdata}"


def show_fleet(states: Sequence[ClusterState], *, most: int | None = None) -> None:
    """Show a table of clusters, and their findings below.

    :param most: lines of the screen; the best clusters are left out.
    """
    shown = states if most is None else states[: max(1, most - 3)]
    for line in _table([_row(state) for state in shown]):
        click.echo(line)
    if len(shown) < len(states):
        echo(f"and {len(states) - len(shown)} more")
    room = None if most is None else max(0, most - 3 - len(shown))
    width = 400 if most is None else console().width
    for state, finding in [(s, f) for s in states for f in s.findings][:room]:
        echo(shorten(f"{state.cluster}: {_one_line(finding.text)}", width))


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of the table; rich takes a second for a thousand of them."""
    rows = [[printable(cell) for cell in row] for row in (_COLUMNS, *rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    plain = bool(os.environ.get("NO_COLOR"))
    for number, row in enumerate(rows):
        cells = [
            cell.rjust(width) if name in _RIGHT else cell.ljust(width)
            for name, cell, width in zip(_COLUMNS, row, widths, strict=True)
        ]
        colour = None if plain else _COLOURS.get(row[1])
        cells[1] = click.style(cells[1], fg=colour) if colour else cells[1]
        line = "  ".join(cells).rstrip()
        yield line if number or plain else click.style(line, bold=True)


def _row(state: ClusterState) -> list[str]:
    proven = state.proven
    since_s = (state.at - proven.at).total_seconds() if proven else None
    last = state.last.outcome.value if state.last else ""
    return [
        shorten(state.cluster, 18),
        state.severity.value,
        _short(state.fresh.age_s),
        _short(state.fresh.max_age_s),
        _short(state.logs.rpo_s) if state.logs else "",
        _short(since_s),
        last,
        shorten(_now(state), 15),
    ]


def _now(state: ClusterState) -> str:
    running = state.running
    if running is None:
        return ""
    if not running.live:
        return "died"
    step = running.step.partition(".")[2] or running.step or "running"
    done = _percent(running)
    return f"{step} {done}".strip()


def _percent(running: Holder) -> str:
    if running.done is None or not running.total or running.done > running.total:
        return ""
    return f"{100 * running.done / running.total:.0f}%"


def _short(seconds: float | None) -> str:
    """Return *seconds* as text of at most five characters, for example ``26h``; ``?`` for None."""
    if seconds is None:
        return "?"
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= (48 * 3600 if unit == "d" else size):
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def show_cluster(state: ClusterState) -> None:
    """Show everything of one cluster."""
    fresh = state.fresh
    proven = state.proven
    pairs = [
        ("cluster", state.cluster),
        ("state", state.severity.value),
        ("newest healthy backup", f"{fresh.backup_id} ({fresh.proof})" if fresh.backup_id else "none"),
        ("age", f"{human_seconds(fresh.age_s)}, limit {human_seconds(fresh.max_age_s)}"),
        (
            "proven",
            f"{proven.backup_id} by {proven.by} at {when(proven.at)}" if proven else "never, as far as known",
        ),
        ("last run", _last(state)),
        ("running", _running(state.running)),
        *_logs(state.logs),
        ("restore takes", _rto(state)),
        ("last cycle", _phases(state.cycle.phases) if state.cycle else ""),
        ("last drill", _phases(state.restores[-1].phases) if state.restores else ""),
        ("compared", _coverage(state)),
        ("binary logs", _headroom(state)),
        ("bytes", _bytes(state)),
    ]
    show_pairs([] if state.error else pairs)
    if state.backups:
        columns = ["BACKUP", "STATE", "PROOF", "AGE", "BASE", "TOTAL", "STORED"]
        rows = [
            [
                line.backup_id,
                line.state.value,
                line.proof.value,
                _short((state.at - line.goal_read_at).total_seconds()),
                line.base[-8:],
                human_bytes(line.logical_bytes),
                human_bytes(line.stored_bytes),
            ]
            for line in state.backups[-_BACKUPS_SHOWN:]
        ]
        show_table(columns, rows, right=["AGE", "TOTAL", "STORED"])
    for finding in state.findings:
        console().print(f"{finding.severity}: {_one_line(finding.text)}", markup=False, soft_wrap=True)


def _last(state: ClusterState) -> str:
    last = state.last
    if last is None:
        return "none that is known"
    text = f"{last.outcome} at {when(last.at)} by {last.run}"
    return f"{text}: {_one_line(last.reason)}" if last.reason else text


def _running(running: Holder | None) -> str:
    if running is None:
        return "nothing"
    parts = [f"{running.run} since {when(running.since)}", running.step, running.phase, _percent(running)]
    if running.eta_s is not None:
        parts.append(f"{human_seconds(running.eta_s)} left")
    if running.told_at is not None:
        parts.append(f"told at {running.told_at:%H:%M:%SZ}")
    if not running.live:
        parts.append("its lease has expired")
    return ", ".join(filter(None, parts))


def _logs(logs: Logs | None) -> Iterable[tuple[str, str]]:
    if logs is None:
        return
    yield "RPO", human_seconds(logs.rpo_s)
    yield "archiver", _running(logs.archiver) if logs.archiver else "does not run"
    if logs.begin and logs.end:
        yield "window", f"{when(logs.begin)} to {when(logs.end)}"


def _rto(state: ClusterState) -> str:
    rto = state.rto
    text = human_seconds(rto.seconds) + ("" if rto.with_logs or rto.seconds is None else ", without the logs")
    return f"{text}, target {human_seconds(rto.target_s)}" if rto.target_s else text


def _phases(phases: dict[str, float]) -> str:
    return ", ".join(f"{name} {human_seconds(seconds)}" for name, seconds in phases.items())


def _coverage(state: ClusterState) -> str:
    coverage = state.coverage
    if coverage is None:
        return "unknown"
    if coverage.never:
        return f"{coverage.never} tables were never compared completely"
    return f"all rows since {when(coverage.since)}" if coverage.since else "unknown"


def _headroom(state: ClusterState) -> str:
    room = state.headroom
    if room is None or room.keep_s is None:
        return "it is unknown how long the primary keeps them"
    if room.until is None:
        return "the primary keeps them by age for ever"
    return f"the next cycle finds all that it needs until {when(room.until)}"


def _bytes(state: ClusterState) -> str:
    amounts = state.amounts
    known = [
        (amounts.logical, "in the newest backup"),
        (amounts.stored, "stored"),
        (amounts.stored_a_day, "stored a day"),
    ]
    return ", ".join(f"{human_bytes(count)} {what}" for count, what in known if count is not None)


def _one_line(text: str) -> str:
    return " ".join(text.split())
