"""What a benchmark reports: rows of one fixed shape, a table, and the file of the newest results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_COLUMNS = ("id", "ours", "theirs", "unit", "ratio", "bar", "ok")


@dataclass(frozen=True)
class Row:
    """One comparison.

    :param ours, theirs: medians, in *unit*; what the two are is told per row in docs/performance.md.
    :param ratio: of *ours* to *theirs* (speeds, sizes), or what the row's text says.
    :param bar: what *ratio* is held against.
    :param at_most: the bar is an upper bound.
    :param excused: the row is fine without reaching its bar, because another limit was reached: which.
    """

    id: str
    ours: float
    theirs: float
    unit: str
    ratio: float
    bar: float
    at_most: bool = False
    excused: str = ""

    @property
    def ok(self) -> bool:
        reached = self.ratio <= self.bar if self.at_most else self.ratio >= self.bar
        return reached or bool(self.excused)

    def as_dict(self) -> dict[str, object]:
        """Return what ``results.json`` holds of it."""
        return {
            "id": self.id,
            "ours": _rounded(self.ours),
            "theirs": _rounded(self.theirs),
            "unit": self.unit,
            "ratio": _rounded(self.ratio),
            "bar": self.bar,
            "ok": self.ok,
        }


def speed(row_id: str, size_bytes: int, ours_s: float, theirs_s: float, bar: float, **options: object) -> Row:
    """Return a comparison of two durations for the same bytes, as speeds."""
    mb = size_bytes / 1e6
    return Row(row_id, mb / ours_s, mb / theirs_s, "MB/s", theirs_s / ours_s, bar, **options)  # type: ignore[arg-type]


def table(rows: Sequence[Row]) -> str:
    """Return the rows for people, at most 100 columns wide."""
    lines = [f"{'row':<32} {'ours':>10} {'theirs':>10} {'unit':<8} {'ratio':>8} {'bar':>8}  ok"]
    for row in rows:
        bar = f"{'≤' if row.at_most else '≥'} {row.bar:g}"
        verdict = f"yes ({row.excused})" if row.excused else ("yes" if row.ok else "NO")
        lines.append(
            f"{row.id:<32} {_shown(row.ours):>10} {_shown(row.theirs):>10} {row.unit:<8} "
            f"{row.ratio:>8.3f} {bar:>8}  {verdict}"
        )
    return "\n".join(line[:100] for line in lines)


def merge_into(path: Path, rows: Sequence[Row]) -> None:
    """Put *rows* into the results file, in the place of older ones of the same ids."""
    known: list[dict[str, object]] = json.loads(path.read_text()) if path.exists() else []
    fresh = {row.id: row.as_dict() for row in rows}
    merged = [fresh.pop(str(old["id"]), old) for old in known] + list(fresh.values())
    lines = ",\n ".join(json.dumps({key: one[key] for key in _COLUMNS}) for one in merged)
    path.write_text(f"[{lines}]\n")


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _shown(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
