"""Which rows were compared when: what one cycle leaves, the next one goes on with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from airflow_restore_replay.core.jobs.compare.tables import Key

#: how each type of a key's value is written
_TYPES: dict[str, tuple[type, Any, Any]] = {
    "decimal": (Decimal, str, Decimal),
    "hex": (bytes, bytes.hex, bytes.fromhex),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
}


@dataclass
class Progress:
    """How far the comparison of one table is.

    :param since: cycle in which the last pass over all of its rows began; 0 is never.
    :param touched: last cycle in which the table was written to.
    :param begun: cycle in which the pass under way began; 0 is none.
    :param key, after: its columns, and where the pass goes on.
    """

    since: int = 0
    touched: int = 0
    begun: int = 0
    key: tuple[str, ...] = ()
    after: Key | None = None

    @property
    def changed(self) -> bool:
        return self.touched > self.since

    def encoded(self) -> list[Any]:
        if not self.begun:
            return [self.since, self.touched]
        return [self.since, self.touched, self.begun, list(self.key), [_write(v) for v in self.after or ()]]

    @classmethod
    def decoded(cls, raw: Sequence[Any]) -> Progress:
        whole: list[Any] = [*raw, *[0, 0, 0, [], []][len(raw) :]]
        after = tuple(_read(value) for value in whole[4])
        return cls(int(whole[0]), int(whole[1]), int(whole[2]), tuple(whole[3]), after or None)


@dataclass
class Coverage:
    """The state of all tables over the cycles since the last fresh full.

    :param cycle: this one's number in that line. :param times: when the cycles compared, as far as they still matter.
    """

    cycle: int = 1
    times: dict[int, str] = field(default_factory=dict)
    tables: dict[str, Progress] = field(default_factory=dict)

    @classmethod
    def after(cls, carry: dict[str, Any], now: datetime) -> Coverage:
        """:param carry: of the cycle before this one."""
        cycle = int(carry.get("cycle", 0)) + 1
        times = {int(n): str(at) for n, at in carry.get("times", {}).items()}
        times[cycle] = now.astimezone(UTC).isoformat(timespec="seconds")
        tables = {name: Progress.decoded(raw) for name, raw in carry.get("tables", {}).items()}
        return cls(cycle, times, tables)

    def see(self, names: Collection[str], untouched: Collection[str]) -> None:
        """Take note of the tables that there are, and of those that nothing wrote to in this cycle."""
        self.tables = {name: self.tables.get(name, Progress()) for name in names}
        for name, progress in self.tables.items():
            if name not in untouched:
                progress.touched = self.cycle

    def first(self) -> list[str]:
        """:returns: tables that are new, or changed since they were compared; the longest waiting first."""
        return self._by_age(name for name, progress in self.tables.items() if progress.changed)

    def rest(self) -> list[str]:
        """:returns: all others, in that order."""
        return self._by_age(name for name, progress in self.tables.items() if not progress.changed)

    def _by_age(self, names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda name: (self.tables[name].since, -self.tables[name].begun, name))

    def resume(self, name: str, key: tuple[str, ...]) -> Key | None:
        """Begin a pass over a table, or go on with one.

        :param key: its columns now; a pass by another key is begun anew.
        :returns: the key after which to go on.
        """
        progress = self.tables.setdefault(name, Progress(touched=self.cycle))
        if not progress.begun or progress.key != key:
            progress.begun, progress.key, progress.after = self.cycle, key, None
        return progress.after

    def stopped(self, name: str, after: Key | None) -> None:
        """The time was over after this key; or, without one, before there was anything to go on from."""
        progress = self.tables[name]
        progress.after = after
        if after is None:
            progress.begun = 0

    def finished(self, name: str) -> None:
        progress = self.tables[name]
        progress.since, progress.begun, progress.key, progress.after = progress.begun, 0, (), None

    def last_good(self, name: str) -> str:
        """:returns: when the last pass over the table began, ``""`` for never."""
        return self.times.get(self.tables[name].since, "") if name in self.tables else ""

    def carry(self) -> dict[str, Any]:
        oldest = min((p.begun or p.since or self.cycle for p in self.tables.values()), default=self.cycle)
        oldest = min([oldest, *(p.since for p in self.tables.values() if p.since)])
        times = {str(n): at for n, at in self.times.items() if n >= oldest}
        return {
            "cycle": self.cycle,
            "times": times,
            "tables": {name: progress.encoded() for name, progress in sorted(self.tables.items())},
        }

    def summary(self) -> dict[str, Any]:
        """:returns: ``cycles``, ``since``: every row was compared within that time; or ``never``: tables of which that
        cannot be said yet.
        """
        never = sorted(name for name, progress in self.tables.items() if not progress.since)
        if never:
            return {"never": never[:20], "never_count": len(never)}
        oldest = min((progress.since for progress in self.tables.values()), default=self.cycle)
        waiting = sum(progress.changed for progress in self.tables.values())
        return {"cycles": self.cycle - oldest + 1, "since": self.times.get(oldest, "")} | (
            {"changed_since_compared": waiting} if waiting else {}
        )


def _write(value: Any) -> Any:
    for name, (kind, write, _) in _TYPES.items():
        if isinstance(value, kind):
            return {name: write(value)}
    return value


def _read(value: Any) -> Any:
    if isinstance(value, dict):
        ((name, text),) = value.items()
        return _TYPES[name][2](text)
    return value
