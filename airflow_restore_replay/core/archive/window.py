"""The moments that can be restored: derived from the catalog and the archive, never stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from airflow_restore_replay.core.archive.reach import Routes
from airflow_restore_replay.core.repository.catalog import Backup
from airflow_restore_replay.core.repository.format.records import Manifest


@dataclass(frozen=True)
class Span:
    """Moments each of which can be restored.

    :param begin: the moment of the oldest backup, before which nothing can be restored from these backups.
    :param end: the last moment.
    :param backups: ids of the backups that lead to them, oldest first.
    """

    begin: datetime
    end: datetime
    backups: tuple[str, ...]

    def has(self, moment: datetime) -> bool:
        """Return whether *moment* can be restored."""
        return self.begin <= moment <= self.end


@dataclass(frozen=True)
class Window:
    """All moments that can be restored.

    :param spans: oldest first; between two of them, nothing can be restored.
    :param current_at: the newest time at which the primary had logged nothing that is not archived; None if unknown.
    """

    spans: tuple[Span, ...] = ()
    current_at: datetime | None = None

    @property
    def begin(self) -> datetime | None:
        """Return the moment from which on every moment can be restored, up to :attr:`end`."""
        return self.spans[-1].begin if self.spans else None

    @property
    def end(self) -> datetime | None:
        """Return the last moment that can be restored."""
        return self.spans[-1].end if self.spans else None

    @property
    def holes(self) -> tuple[tuple[datetime, datetime], ...]:
        """Return the last moment before, and the first moment after each stretch that cannot be restored."""
        return tuple((a.end, b.begin) for a, b in zip(self.spans, self.spans[1:], strict=False))

    def has(self, moment: datetime) -> bool:
        """Return whether *moment* can be restored."""
        return any(span.has(moment) for span in self.spans)

    def nearest(self, moment: datetime) -> tuple[datetime | None, datetime | None]:
        """Return the last moment at or before *moment*, and the first one at or after it, that can be restored."""
        before = [min(span.end, moment) for span in self.spans if span.begin <= moment]
        after = [max(span.begin, moment) for span in self.spans if span.end >= moment]
        return max(before, default=None), min(after, default=None)


def common(windows: Sequence[Window]) -> Window:
    """Return the moments that all of several windows have."""
    spans = windows[0].spans
    for window in windows[1:]:
        spans = tuple(
            Span(max(one.begin, other.begin), min(one.end, other.end), one.backups + other.backups)
            for one in spans
            for other in window.spans
            if max(one.begin, other.begin) <= min(one.end, other.end)
        )
    return Window(spans)


def moment_of(manifest: Manifest) -> datetime:
    """Return the first moment that the archive can lead to from a backup.

    The position is read after the goal, so the timestamps of its last events count as well.
    """
    stamps = [
        datetime.fromtimestamp(chain.timestamp_s, UTC) + timedelta(seconds=1) for chain in manifest.chains
    ]
    return max([manifest.goal_read_at, *stamps])


def span_of(backup: Backup, routes: Routes) -> Span:
    """Return the moments that can be restored from *backup* alone."""
    begin = moment_of(backup.manifest)
    until = routes.from_position(routes.parse(backup.manifest.position)).until
    return Span(begin, max(begin, until or begin), (backup.backup_id,))


def window_of(backups: Iterable[Backup], routes: Routes, current_at: datetime | None) -> Window:
    """Derive the window.

    :param backups: healthy proven ones.
    :param current_at: of the newest piece.
    """
    reached = [span_of(backup, routes) for backup in backups]
    spans: list[Span] = []
    for span in sorted(reached, key=lambda s: (s.begin, s.end, s.backups)):
        if spans and span.begin <= spans[-1].end:
            last = spans.pop()
            span = Span(last.begin, max(last.end, span.end), last.backups + span.backups)
        spans.append(span)
    return Window(tuple(spans), current_at)
