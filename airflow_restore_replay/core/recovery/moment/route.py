"""The files to replay, and in which order, from a position to a goal: a pure function of positions.

A server can continue with any file whose heading it has executed as a whole, whichever server wrote it. So a route
may lead through several streams. The next stream is entered as early as it begins: what the stream before logged beyond
that point may be transactions that a failover lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from airflow_restore_replay.core.archive.logs import ArchivedLog
from airflow_restore_replay.core.archive.reach import Leg, Run
from airflow_restore_replay.core.flavor.values import Position

Parse = Callable[[str], Position]


def route(start: Position, goal: Position, runs: Sequence[Run], parse: Parse) -> tuple[Leg, ...] | None:
    """Return the legs from *start* to *goal*, each of one stream; None if the archive does not lead there.

    :param runs: unbroken sequences of files, oldest stream first.
    :param parse: parses a position.
    """
    if start.contains(goal):
        return ()
    return _chain(start, goal, list(runs), parse) or _gathered(start, goal, runs, parse)


def furthest(start: Position, runs: Sequence[Run], parse: Parse) -> tuple[Leg, ...]:
    """Return the legs from *start* to the end of the newest stream that the archive leads to; none if there is none."""
    for run in reversed(runs):
        if legs := route(start, start.union(parse(run.logs[-1].after)), runs, parse):
            return legs
    return ()


def _chain(start: Position, goal: Position, left: list[Run], parse: Parse) -> tuple[Leg, ...] | None:
    """Return a route on which each run begins within the one before, and the last one ends with *goal*.

    :param left: runs that were not tried yet; whether a run can be entered does not depend on what follows it.
    """
    able = [run for run in reversed(left) if start.union(parse(run.logs[-1].after)).contains(goal)]
    for run in able:
        if run.entry(start, parse) >= 0:
            return (_leg(run, start, goal, parse),)
    for run in able:
        heading = parse(run.logs[0].before)
        # What begins later than the goal leads beyond it.
        if run not in left or not goal.contains(heading):
            continue
        left.remove(run)
        if earlier := _chain(start, heading, left, parse):
            reached = start.union(heading)
            return earlier if reached.contains(goal) else (*earlier, _leg(run, reached, goal, parse))
    return None


def _gathered(start: Position, goal: Position, runs: Sequence[Run], parse: Parse) -> tuple[Leg, ...] | None:
    """Return a route to which each run adds those transactions of *goal* that it has."""
    position, legs, moved = start, list[Leg](), True
    while moved and not position.contains(goal):
        moved = False
        for run in runs:
            reached = position.union(goal.common(parse(run.logs[-1].after)))
            if run.entry(position, parse) >= 0 and not position.contains(reached):
                legs.append(_leg(run, position, reached, parse))
                position, moved = reached, True
    return tuple(legs) if position.contains(goal) else None


def _leg(run: Run, start: Position, goal: Position, parse: Parse) -> Leg:
    logs = run.logs[run.entry(start, parse) :]
    # Files that end later than the goal are not needed, nor are the pieces after it.
    last = next(n for n, log in enumerate(logs) if start.union(parse(log.after)).contains(goal))
    return Leg((*logs[:last], _shortened(logs[last], start, goal, parse)), goal)


def _shortened(log: ArchivedLog, start: Position, goal: Position, parse: Parse) -> ArchivedLog:
    last = next(n for n, p in enumerate(log.pieces) if start.union(parse(p.after)).contains(goal))
    # A large transaction begins in one piece and ends in a later one.
    while last + 1 < len(log.pieces) and not log.pieces[last + 1].transactions:
        last += 1
    return ArchivedLog(log.pieces[: last + 2], log.lost_at)
