"""Archive a primary's binary logs as the archiver does, in one go: for tests of what reads the archive."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow_restore_replay.core.archive.pieces import PieceStore
from airflow_restore_replay.core.flavor.log_file import log_events
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.repository.format.records import LogPiece, new_id, utc_now
from airflow_restore_replay.core.repository.repository import Repository
from tests.support.primary import ROOT_PASSWORD, Primary


def received(primary: Primary, directory: Path, logs: Sequence[str] = ()) -> list[Path]:
    """Return copies of a primary's binary log files, all or some of them, as a replica receives them."""
    names = list(logs) or [str(row[0]) for row in primary.execute("SHOW BINARY LOGS")]
    program = primary.program({"mariadb": "mariadb-binlog", "mysql": "mysqlbinlog"}[primary.flavor])
    command = [program, "--no-defaults", "--read-from-remote-server", "--raw", f"--socket={primary.socket}"]
    command += ["--user=root", f"--password={ROOT_PASSWORD}", f"--result-file={directory}/", *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [directory / name for name in names]


def archive_logs(
    repository: Repository,
    primary: Primary,
    *,
    logs: Sequence[str] = (),
    stream: str = "",
    first: int = 1,
    piece_bytes: int = 16 * 2**10,
    within: bool = False,
    at: datetime | None = None,
) -> list[LogPiece]:
    """Archive binary log files of *primary* as one stream.

    :param logs: their names; all of them by default.
    :param first: the number of the first.
    :param piece_bytes: a piece ends with the transaction that reaches this size.
    :param within: pieces may also end within a transaction, as those of a large one do.
    :param at: when the last piece was current; now by default.
    """
    current_at = at or utc_now()
    pieces: list[LogPiece] = []
    with tempfile.TemporaryDirectory() as raw:
        files = received(primary, Path(raw), logs)
        stream = stream or new_id()
        for number, file in enumerate(files, first):
            last = file is files[-1]
            found = _pieces(repository, primary, file, stream, number, piece_bytes, within)
            changes: dict[str, Any] = {"current_at": current_at} if last else {"closed": True}
            pieces += [*found[:-1], LogPiece(**_fields(found[-1]) | changes)]
    store = PieceStore(repository)
    for piece in pieces:
        store.write(piece)
    return pieces


def _fields(piece: LogPiece) -> dict[str, Any]:
    return {name: getattr(piece, name) for name in piece.__struct_fields__}


def _pieces(
    repository: Repository,
    primary: Primary,
    file: Path,
    stream: str,
    number: int,
    piece_bytes: int,
    within: bool,
) -> list[LogPiece]:
    log = get_flavor(primary.flavor).log
    store, raw = PieceStore(repository), file.read_bytes()
    position: Any = None
    before, begin, found = "", 0, list[LogPiece]()
    stamps: list[datetime] = []
    opened: list[Any] = []

    def cut(end: int) -> None:
        nonlocal before, begin, stamps
        found.append(
            LogPiece(
                piece_id=new_id(),
                at=utc_now(),
                cluster=repository.cluster,
                run="test",
                lease_epoch=1,
                flavor=primary.flavor,
                stream=stream,
                number=number,
                log=file.name,
                begin=begin,
                end=end,
                parts=[store.put(raw[begin:end])],
                key_id=store.key_id,
                before=before,
                after=str(position),
                transactions=len(stamps),
                first_at=min(stamps, default=None),
                last_at=max(stamps, default=None),
            )
        )
        before, begin, stamps = str(position), end, []

    with file.open("rb") as stream_of:
        for event in log_events(stream_of):
            if (listed := log.listed(event.event)) is not None:
                position, before = listed, str(listed)
            start, large = log.start_of(event.event), event.event.offset - begin >= piece_bytes
            if start is None and within and large and position is not None:
                cut(event.event.offset)
            if start is not None:
                position = position.extended(opened)
                if large and stamps:
                    cut(event.event.offset)
                opened = [start.gtid]
                stamps.append(datetime.fromtimestamp(start.committed_s, UTC))
    position = position.extended(opened)
    cut(len(raw))
    return found
