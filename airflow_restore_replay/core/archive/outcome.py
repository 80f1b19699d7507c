"""What an archiver did, for people and programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from airflow_restore_replay.core.repository.format.records import LogGap, LogPiece


@dataclass
class ArchiveReport:
    """What an archiver did.

    :param run: owner of the archive's lease.
    :param log: the last file.
    :param size_bytes: of binary log that was stored.
    :param position: after the last transaction that is archived.
    :param current_at: the newest time at which the primary had logged nothing that is not archived.
    :param gaps: what is missing.
    """

    cluster: str
    run: str = ""
    log: str = ""
    pieces: int = 0
    transactions: int = 0
    size_bytes: int = 0
    position: str = ""
    current_at: datetime | None = None
    gaps: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, piece: LogPiece) -> None:
        self.log, self.position = piece.log, piece.after
        self.pieces += 1
        self.transactions += piece.transactions
        self.size_bytes += piece.end - piece.begin
        self.current_at = piece.current_at or self.current_at

    def add_gap(self, gap: LogGap) -> str:
        """Note a gap, and return a line about it."""
        self.gaps.append(f"{gap.lacking} ({gap.reason})")
        return f"The archive has a gap before {self.log or gap.stream}: {gap.lacking}. {gap.reason}."
