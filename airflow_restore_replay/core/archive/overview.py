"""What the archive has, for people and monitoring: the window, its holes and gaps, and how much is logged a day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.window import Window
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import LogGap


@dataclass(frozen=True)
class Overview:
    """State of the archive.

    :param gaps: open gaps after the position of a backup.
    :param days: day in UTC → bytes of binary log archived on it.
    :param unreadable: name of a record → what is wrong with it.
    """

    window: Window
    gaps: tuple[LogGap, ...]
    streams: int
    files: int
    pieces: int
    size_bytes: int
    days: Mapping[str, int]
    unreadable: Mapping[str, str]

    @classmethod
    def of(cls, archive: Archive, catalog: Catalog, flavor: Flavor) -> Overview | None:
        """Derive it; None if there is no archive."""
        if not (archive.pieces or archive.unreadable or archive.noted_gaps):
            return None
        logs = [log for stream in archive.streams for log in stream.logs]
        days: Counter[str] = Counter()
        for log in logs:
            for piece in log.pieces:
                days[f"{(piece.last_at or piece.at).astimezone(UTC):%Y-%m-%d}"] += piece.end - piece.begin
        return cls(
            window=archive.window(catalog, flavor),
            gaps=archive.gaps_after(catalog, flavor),
            streams=len(archive.streams),
            files=len(logs),
            pieces=len(archive.pieces) + sum(map(len, archive.left_out.values())),
            size_bytes=sum(log.size_bytes for log in logs),
            days=dict(sorted(days.items())),
            unreadable=archive.unreadable,
        )

    @property
    def bytes_a_day(self) -> float | None:
        """Return the mean of the last seven days that have logs, without the first, which may be incomplete."""
        whole = list(self.days.values())[1:][-7:] or list(self.days.values())
        return sum(whole) / len(whole) if whole else None

    def document(self, now: datetime) -> dict[str, Any]:
        """Return it for ``--json``."""
        window = self.window
        return {
            "begin": window.begin,
            "end": window.end,
            "current_at": window.current_at,
            "rpo_s": (now - window.current_at).total_seconds() if window.current_at else None,
            "spans": [
                {"begin": span.begin, "end": span.end, "backups": list(span.backups)} for span in window.spans
            ],
            "gaps": list(self.gaps),
            "streams": self.streams,
            "files": self.files,
            "pieces": self.pieces,
            "bytes": self.size_bytes,
            "bytes_a_day": self.bytes_a_day,
            "days": dict(self.days),
            "unreadable": dict(self.unreadable),
        }
