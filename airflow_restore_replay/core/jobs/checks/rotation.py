"""Checks whose work may take several cycles: each cycle continues where the previous one stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar

from airflow_restore_replay.core.errors import RestoreReplayError, TableCheckFailed
from airflow_restore_replay.core.jobs.checks import CheckResult, Cost, TimeBox, carried
from airflow_restore_replay.core.jobs.context import JobContext


class Rotation:
    """Order of work over several cycles: each continues after the last item of the previous one, in order of names.

    :param last: name of the last item of the previous cycle.
    """

    def __init__(self, items: Iterable[str], last: str) -> None:
        names = sorted(items)
        first = next((n for n, name in enumerate(names) if name > last), 0)
        self.names = names[first:] + names[:first]
        self.done = 0

    def until(self, over: Callable[[], bool]) -> Iterator[str]:
        """Yield items until the time is over, but at least one.

        :param over: returns whether the time is over.
        """
        for name in self.names:
            if self.done and over():
                return
            self.done += 1
            yield name

    @property
    def unfinished(self) -> str:
        """Return how many items are left, for people; empty if none are."""
        left = len(self.names) - self.done
        return f"{left} of {len(self.names)} are left for the next cycle" if left else ""

    @property
    def carry(self) -> dict[str, str]:
        """Return where the next cycle continues; empty once all items are done."""
        return {"last": self.names[self.done - 1]} if self.unfinished else {}


class RotatingCheck:
    """Base of checks that look for damage in one item after another.

    :ivar unit: what an item is, in the plural.
    :ivar expected: what the check expects, for its result.
    """

    name: str
    cost = Cost.READS_DATA
    blames: type[RestoreReplayError] = TableCheckFailed
    unit: ClassVar[str]
    expected: ClassVar[str]

    def rotate(
        self,
        ctx: JobContext,
        box: TimeBox,
        items: Iterable[str],
        damage: Callable[[str], str],
        intact: Callable[[list[str]], str],
    ) -> CheckResult:
        """Check items until all are checked or *box* is over.

        :param damage: returns what is damaged in an item; empty if nothing is.
        :param intact: describes the checked items, if none is damaged.
        """
        turn = Rotation(items, carried(ctx, self.name).get("last", ""))
        damaged: dict[str, str] = {}
        for item in turn.until(lambda: box.over):
            ctx.stop_if_cancelled()
            if found := damage(item):
                damaged[item] = found
            ctx.report.count(turn.done, len(turn.names), unit=self.unit, detail=item)
        first = next(iter(damaged.items()), None)
        return CheckResult(
            name=self.name,
            passed=not damaged,
            observed=f"{len(damaged)} damaged, first {first[0]}: {first[1]}"
            if first
            else intact(turn.names[: turn.done]),
            expected=self.expected,
            details={"tables": damaged} if damaged else {},
            unfinished=turn.unfinished,
            carry=turn.carry,
        )
