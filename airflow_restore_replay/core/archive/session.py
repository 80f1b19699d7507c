"""One run of the receiving program: read what it receives, store it, and prove that each file continues the last."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from datetime import datetime
from typing import Any

from pymysql.err import MySQLError

from airflow_restore_replay.core.archive.continuing import (
    Start,
    number_of,
    refuse_changed,
    stream_after,
    successor,
)
from airflow_restore_replay.core.archive.cutting import Cutter, Unlike
from airflow_restore_replay.core.archive.orders import Changed, End, Goal, Orders, Unproven
from airflow_restore_replay.core.archive.receiver import IN_STREAM, Receiver
from airflow_restore_replay.core.archive.storing import File, LogWriter
from airflow_restore_replay.core.archive.tally import Cut
from airflow_restore_replay.core.errors import PrimaryUnreachable, RestoreReplayError, SourceCorrupt
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.log_file import LogDamaged
from airflow_restore_replay.core.flavor.values import ServerIdentity

_POLL_S = 0.05
#: a primary that had more to send than this long ago, and does not send it, is lost
_STALL_S = 60.0
#: how often it is recorded that a primary logs nothing
_QUIET_S = 30.0
#: in which the program reads what is on its way from a primary that has gone
_LAST_WORDS_S = 1.0


class Session:
    """Archives what one run of the program receives.

    :param start: where that run begins.
    """

    def __init__(
        self,
        flavor: Flavor,
        receiver: Receiver,
        writer: LogWriter,
        start: Start,
        server: ServerIdentity,
        orders: Orders,
    ) -> None:
        self._flavor = flavor
        self._receiver = receiver
        self._writer = writer
        self._start = start
        self._server = server
        self._orders = orders
        self._file = start.file
        self._cutter: Cutter | None = None
        self._following: Cutter | None = None
        self._proven = not start.place.archived_to
        self._headed = bool(start.place.archived_to)
        self._goal: Goal | None = None
        self._due = self._moved = time.monotonic()
        self._current_at: datetime | None = None

    def run(self) -> End:
        """Archive until the goal is reached, the archiver is stopped, or the program has ended.

        :raises Unproven: only the whole file can show whether it is the one that is archived.
        :raises Changed: what was received again is not what is archived.
        :raises SourceCorrupt: what the primary sent is no binary log.
        :raises PrimaryUnreachable: the primary does not send what it has.
        :raises RestoreReplayError: why the program has ended.
        """
        try:
            while (end := self._step()) is None:
                pass
            if end is End.RECEIVER_ENDED:
                raise self._receiver.error()
            return end
        except LogDamaged as exc:
            raise self._explained(exc) from exc
        except (MySQLError, PrimaryUnreachable, SourceCorrupt) as exc:
            evidence = exc.evidence if isinstance(exc, RestoreReplayError) else {}
            if not self._proven and self._start.place.offset and evidence.get("error") == IN_STREAM:
                raise Unproven(str(exc)) from exc
            self._save()
            if isinstance(exc, SourceCorrupt):
                self._end_torn()
            raise
        finally:
            for cutter in (self._cutter, self._following):
                if cutter:
                    cutter.close()

    def _explained(self, exc: LogDamaged) -> Exception:
        """Return what follows from what arrived."""
        try:
            self._prove()
        except LogDamaged as unlike:
            exc = unlike
        if self._proven:
            self._end_torn()
        elif self._start.place.offset:
            return Unproven(str(exc))
        elif isinstance(exc, Unlike):
            return Changed(str(exc))
        return SourceCorrupt(
            f"The primary's binary log {self._file.name} arrived damaged: {exc}.",
            hint="Check the primary's disk, and that of the spool.",
        )

    def _step(self) -> End | None:
        if self._orders.stopping():
            self._flush()
            return End.STOPPED
        # What arrived before the program ended is read after this.
        ended = not self._receiver.alive
        if self._advance():
            self._moved = time.monotonic()
        elif self._goal_reached():
            return None if self._orders.follow else End.REACHED
        elif ended:
            self._flush()
            return End.SPOOL_FULL if self._receiver.full else End.RECEIVER_ENDED
        else:
            self._wait()
        return None

    def _wait(self) -> None:
        """Wait for more to arrive, and ask for a goal when the next piece is due."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + self._orders.interval_s
            if self._goal is None:
                self._goal = self._orders.ask()
                self._aim()
            elif now - self._moved > _STALL_S:
                raise PrimaryUnreachable(
                    f"The primary has logged up to {self._goal.file}:{self._goal.offset}, and has sent nothing for "
                    f"{_STALL_S:.0f} s.",
                    hint="Check the network path to the primary.",
                )
            else:
                # So much is logged that the goal is far: what is there must not wait for it.
                self._flush()
        self._orders.storing(self._writer.keep_lease)
        time.sleep(_POLL_S)

    def _aim(self) -> None:
        goal, cutter = self._goal, self._cutter
        if goal is None or cutter is None:
            return
        if not cutter.continued and (number_of(goal.file), goal.offset) < (
            number_of(self._file.name),
            self._start.place.archived_to,
        ):
            raise Changed(f"the primary has logged only up to {goal.file}:{goal.offset}")
        if goal.file == self._file.name:
            cutter.aim(goal.offset)

    def _goal_reached(self) -> bool:
        goal, cutter = self._goal, self._cutter
        if goal is None or cutter is None:
            return False
        passed = number_of(goal.file) < number_of(self._file.name)
        if not (passed and cutter.listed is not None) and not cutter.reached:
            return False
        self._goal = None
        self._flush(goal)
        return True

    def _advance(self) -> bool:
        """Read what has arrived; return whether there was a whole piece, or the next file."""
        if self._cutter is None:
            if self._file.name not in self._receiver.files():
                return False
            position = self._start.place.position
            begin: Any = self._flavor.parse_position(position) if self._start.place.offset else None
            self._cutter = Cutter(
                self._flavor.log, self._receiver.path(self._file.name), self._start.place, begin
            )
            self._aim()
        following = next((f for f in self._receiver.files() if number_of(f) > number_of(self._file.name)), "")
        cut = self._cutter.scan()
        self._prove()
        if cut:
            self._store(cut)
            return True
        return bool(following) and self._move_on(following)

    def _prove(self) -> None:
        assert self._cutter is not None
        if not self._proven and self._cutter.continued:
            assert self._writer.log is not None
            refuse_changed(self._writer.log, self._start.place, self._cutter, self._writer.store)
            self._proven = True
        if not self._headed and self._cutter.listed is not None:
            self._headed = True
            self._file = replace(self._file, digest=self._cutter.digest)
            self._begin_stream()

    def _begin_stream(self) -> None:
        """Compare the heading of the first file with what it must continue, and record a gap if it does not."""
        assert self._cutter is not None
        start, listed = self._start, str(self._cutter.listed)
        if start.expected is None:
            return
        if not start.new_stream and listed == start.expected:
            if self._writer.log and not self._writer.log.whole:
                self._orders.storing(self._writer.end_file)
            return
        if not start.new_stream:
            self._file = replace(self._file, stream=stream_after(self._file.stream), number=1)
        self._note_gap(
            start.expected, start.new_stream or "the next file does not continue the last", start.gap
        )

    def _note_gap(self, before: str, why: str, certain: bool) -> None:
        assert self._cutter is not None
        listed = str(self._cutter.listed)
        archived, heading = self._flavor.parse_position(before), self._flavor.parse_position(listed)
        lacking = archived.lacking(heading)
        if not lacking and not certain:
            self._orders.told(f"A new stream begins with {self._file.name}: {why}; nothing is missing.")
            return
        lacking = lacking or "what was logged between the two histories, which no file lists"
        gap = self._orders.storing(
            lambda: self._writer.gap(self._file, before, listed, lacking=lacking, reason=why)
        )
        self._orders.told(gap)

    def _move_on(self, following: str) -> bool:
        """End the present file if the next one has arrived with its heading."""
        cutter = self._cutter
        assert cutter is not None
        if self._following is None:
            self._following = Cutter(self._flavor.log, self._receiver.path(following))
        cut = self._following.scan()
        if self._following.listed is None:
            return False
        if not cutter.continued:
            raise Changed("it ends before what is archived")
        listed = str(self._following.listed)
        if listed == str(cutter.tally.with_open):
            cutter.tally.end(cutter.scanned)
        whole = listed == str(cutter.tally.position)
        if cutter.ready_bytes:
            self._store(cutter.cut(), closed=whole)
        before = str(cutter.tally.position)
        with contextlib.closing(cutter):
            self._cutter, self._following = self._following, None
        last, self._headed = self._file, True
        if whole:
            self._orders.storing(self._writer.end_file)
            self._file = File(last.stream, last.number + 1, following, self._cutter.digest)
        else:
            self._file = File(stream_after(last.stream), 1, following, self._cutter.digest)
            self._note_gap(before, f"{following} does not continue {last.name}", certain=True)
        self._aim()
        if cut:
            self._store(cut)
        return True

    def _save(self) -> None:
        """Store what has arrived: the primary may never come back."""
        deadline = time.monotonic() + _LAST_WORDS_S
        while self._receiver.alive and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        with contextlib.suppress(LogDamaged):
            while self._advance():
                pass
        self._flush()

    def _end_torn(self) -> None:
        """End the present file where its last whole event ends, if the next file continues there.

        A primary that crashed leaves a file that it cannot send to its end.
        """
        cutter = self._cutter
        if cutter is None or not self._proven or not cutter.tally.known:
            return
        listed = self._orders.heading(successor(self._file.name))
        if listed == str(cutter.tally.with_open):
            cutter.tally.end(cutter.scanned)
        self._flush()
        if listed == str(cutter.tally.position):
            self._orders.told(
                f"{self._file.name} ends at {cutter.tally.boundary}; the next file continues there."
            )
            self._orders.storing(self._writer.end_file)

    def _flush(self, goal: Goal | None = None) -> None:
        """Store what ends with a transaction; with *goal*, say until when the archive is complete."""
        cutter = self._cutter
        if cutter is None or not cutter.continued or not cutter.tally.known:
            return
        position = str(cutter.tally.position)
        current_at = goal.at if goal and goal.current(position) else None
        self._due = time.monotonic() + self._orders.interval_s
        if cutter.ready_bytes:
            self._store(cutter.cut(), current_at=current_at)
        elif current_at and cutter.tally.begin and self._quiet(current_at):
            end = cutter.tally.begin
            self._store(Cut(end, end, position, position), current_at=current_at)

    def _quiet(self, current_at: datetime) -> bool:
        return self._current_at is None or (current_at - self._current_at).total_seconds() >= _QUIET_S

    def _store(self, cut: Cut, *, closed: bool = False, current_at: datetime | None = None) -> None:
        cutter = self._cutter
        assert cutter is not None
        piece = self._orders.storing(
            lambda: self._writer.write(
                self._file, cut, cutter.content, self._server, closed=closed, current_at=current_at
            )
        )
        self._current_at = current_at or self._current_at
        self._orders.told(piece)
