"""Coverage of the comparison: which rows were compared when, and where the next cycle continues."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from airflow_restore_replay.core.jobs.compare.tables import Key

#: how a value of a key is encoded, by its type
_TYPES: dict[str, tuple[type, Any, Any]] = {
    "decimal": (Decimal, str, Decimal),
    "hex": (bytes, bytes.hex, bytes.fromhex),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
}


@dataclass
class TableCoverage:
    """Progress of the comparison of one table.

    :param since: cycle in which the last complete comparison of its rows began; 0 for never.
    :param touched: last cycle in which the table was written to.
    :param begun: cycle in which the unfinished comparison began; 0 for none.
    :param key: columns of the key that the unfinished comparison uses.
    :param after: key after which it continues.
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
    def decoded(cls, raw: Sequence[Any]) -> TableCoverage:
        whole: list[Any] = [*raw, *[0, 0, 0, [], []][len(raw) :]]
        after = tuple(_read(value) for value in whole[4])
        return cls(int(whole[0]), int(whole[1]), int(whole[2]), tuple(whole[3]), after or None)


@dataclass
class Coverage:
    """Progress of all tables over the cycles since the last fresh full.

    :param cycle: number of this cycle in the lineage.
    :param times: cycle → time of its comparison, for cycles that still matter.
    """

    cycle: int = 1
    times: dict[int, str] = field(default_factory=dict)
    tables: dict[str, TableCoverage] = field(default_factory=dict)

    @classmethod
    def after(cls, carry: dict[str, Any], now: datetime) -> Coverage:
        """Return the coverage with which a cycle begins.

        :param carry: what the previous cycle kept; empty after a fresh full.
        :param now: time of this cycle's comparison.
        """
        cycle = int(carry.get("cycle", 0)) + 1
        times = {int(n): str(at) for n, at in carry.get("times", {}).items()}
        times[cycle] = now.astimezone(UTC).isoformat(timespec="seconds")
        tables = {name: TableCoverage.decoded(raw) for name, raw in carry.get("tables", {}).items()}
        return cls(cycle, times, tables)

    def see(self, names: Collection[str], unchanged: Collection[str]) -> None:
        """Record which tables exist, and which of them nothing has written to in this cycle."""
        self.tables = {name: self.tables.get(name, TableCoverage()) for name in names}
        for name, progress in self.tables.items():
            if name not in unchanged:
                progress.touched = self.cycle

    def first(self) -> list[str]:
        """Return the tables that are new, or changed since they were compared, those that waited longest first."""
        return self._by_age(name for name, progress in self.tables.items() if progress.changed)

    def rest(self) -> list[str]:
        """Return all other tables, in the same order."""
        return self._by_age(name for name, progress in self.tables.items() if not progress.changed)

    def _by_age(self, names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda name: (self.tables[name].since, -self.tables[name].begun, name))

    def resume(self, name: str, key: tuple[str, ...]) -> Key | None:
        """Begin the comparison of a table, or resume an unfinished one.

        :param key: columns of its key now; a comparison that used another key starts again.
        :returns: the key after which to continue; None for the first row.
        """
        progress = self.tables.setdefault(name, TableCoverage(touched=self.cycle))
        if not progress.begun or progress.key != key:
            progress.begun, progress.key, progress.after = self.cycle, key, None
        return progress.after

    def stopped(self, name: str, after: Key | None) -> None:
        """Record that the time was over after the key *after*, or, if that is None, before anything can be resumed."""
        progress = self.tables[name]
        progress.after = after
        if after is None:
            progress.begun = 0

    def finished(self, name: str) -> None:
        progress = self.tables[name]
        progress.since, progress.begun, progress.key, progress.after = progress.begun, 0, (), None

    def last_good(self, name: str) -> str:
        """Return when the last complete comparison of the table began, ``""`` for never."""
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
        """Summarize how much of the primary was compared at least once.

        :returns: ``cycles`` and ``since``, the number of cycles and the time within which every row was compared; or
            ``never``, tables that were not yet compared completely.
        """
        never = sorted(name for name, progress in self.tables.items() if not progress.since)
        if never:
            return {"never": never[:20], "never_count": len(never)}
        if not self.tables:
            return {}
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
