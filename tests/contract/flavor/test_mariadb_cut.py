"""Where a moment lies in the binary log of a real primary."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_restore_replay.core.errors import BinlogPurged, PreflightFailed
from airflow_restore_replay.core.flavor.mariadb import binlog
from airflow_restore_replay.core.flavor.mariadb.flavor import MariaDbFlavor
from airflow_restore_replay.core.flavor.mariadb.gtid import MariaDbPosition
from airflow_restore_replay.core.flavor.values import Endpoint
from tests.support.mariadb import MariaDbPrimary

FAR = datetime(2037, 1, 1, tzinfo=UTC)


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[MariaDbPrimary]:
    """Its time zone is not in use anywhere."""
    started = MariaDbPrimary.start(tmp_path / "primary", options=["--default-time-zone=+05:45"])
    yield started
    started.stop()


def position(primary: MariaDbPrimary) -> MariaDbPosition:
    return MariaDbPosition.parse(str(primary.execute("SELECT @@gtid_binlog_pos")[0][0]))


def at(second: int) -> datetime:
    """Return a moment long past; transactions are stamped with SET TIMESTAMP."""
    return datetime(2026, 8, 21, 3, tzinfo=UTC) + timedelta(seconds=second)


def write(primary: MariaDbPrimary, second: int, *, domain: int = 0) -> str:
    """Return GTID of a transaction stamped *second*."""
    rows = primary.execute(
        f"SET SESSION gtid_domain_id={domain}",
        f"SET TIMESTAMP={at(second).timestamp()}",
        f"INSERT INTO w.t (stamped, domain) VALUES ({second}, {domain})",
        "SELECT @@last_gtid",
    )
    return str(rows[0][0])


def create(primary: MariaDbPrimary) -> MariaDbPosition:
    primary.execute(
        "CREATE DATABASE w",
        "CREATE TABLE w.t (id INT AUTO_INCREMENT PRIMARY KEY, stamped INT, domain INT)",
        "FLUSH BINARY LOGS",
    )
    return position(primary)


def test_boundary_is_exact_to_the_event(
    primary: MariaDbPrimary, endpoint: Endpoint, flavor: MariaDbFlavor
) -> None:
    """Real time, four rows a second, over a change of the file and a server in another time zone."""
    primary.execute(
        "CREATE DATABASE w", "CREATE TABLE w.t (id INT AUTO_INCREMENT PRIMARY KEY, at DATETIME(6))"
    )
    start, gtids = position(primary), {}
    time.sleep(1.1)  # what is stamped with the boundary's own second is not before it
    began = datetime.now(UTC)
    for number in range(1, 21):
        rows = primary.execute(
            f"INSERT INTO w.t VALUES ({number}, UTC_TIMESTAMP(6))",
            f"SELECT at, @@last_gtid FROM w.t WHERE id = {number}",
        )
        gtids[rows[0][0].replace(tzinfo=UTC)] = str(rows[0][1])
        if number == 10:
            primary.execute("FLUSH BINARY LOGS")
        time.sleep(0.25)
    with flavor.connect(endpoint) as conn:
        assert abs((flavor.clock(conn) - datetime.now(UTC)).total_seconds()) < 2
    for seconds in range(int((max(gtids) - began).total_seconds()) + 3):
        boundary = began.replace(microsecond=0) + timedelta(seconds=seconds)
        before = [gtid for written, gtid in gtids.items() if written < boundary]
        after = [gtid for written, gtid in gtids.items() if written >= boundary]
        cut = flavor.cut_before(endpoint, boundary, start)
        assert str(cut.position) == (before[-1] if before else str(start))
        assert cut.next_gtid == (after[0] if after else "")
        assert (cut.next_stamped is None) or cut.next_stamped >= boundary
    assert len(before) == 20


def test_the_first_later_stamp_ends_it_in_the_logs_order(
    primary: MariaDbPrimary, endpoint: Endpoint, flavor: MariaDbFlavor
) -> None:
    """A long statement is logged when it ends and stamped when it began; it does not open the log again."""
    start = create(primary)
    write(primary, 1)
    last = write(primary, 9)
    later = write(primary, 11)
    write(primary, 5)
    cut = flavor.cut_before(endpoint, at(10), start)
    assert (str(cut.position), cut.next_gtid, cut.next_stamped) == (last, later, at(11))
    assert flavor.cut_before(endpoint, at(9), start).next_gtid == last


def test_every_domain_ends_where_it_was(
    primary: MariaDbPrimary, endpoint: Endpoint, flavor: MariaDbFlavor
) -> None:
    start = create(primary)
    write(primary, 1)
    seven = write(primary, 2, domain=7)
    primary.execute("FLUSH BINARY LOGS")
    zero = write(primary, 3)
    nine = write(primary, 4, domain=9)
    later = write(primary, 5, domain=7)
    write(primary, 4)
    write(primary, 6, domain=11)
    cut = flavor.cut_before(endpoint, at(5), start)
    assert str(cut.position) == f"{zero},{seven},{nine}"
    assert cut.next_gtid == later
    everything = flavor.cut_before(endpoint, at(7), start)
    assert (everything.position, everything.next_gtid) == (position(primary), "")


def test_reading_begins_with_the_file_that_holds_the_base(
    primary: MariaDbPrimary,
    endpoint: Endpoint,
    flavor: MariaDbFlavor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create(primary)
    for second in (1, 2, 3):
        write(primary, second)
        last = write(primary, second, domain=7)
        primary.execute("FLUSH BINARY LOGS")
    base = position(primary)
    goal = write(primary, 4)
    read: list[str] = []
    transactions = binlog.transactions

    def noting(primary: Any, file: str) -> Any:
        read.append(file)
        return transactions(primary, file)

    monkeypatch.setattr(binlog, "transactions", noting)
    cut = flavor.cut_before(endpoint, at(10), base)
    assert str(cut.position) == f"{goal},{last}"
    newest = primary.execute("SHOW BINARY LOGS")[-1][0]
    assert read == [newest]
    flavor.cut_before(endpoint, at(10), MariaDbPosition.parse(f"{goal},7-1-1"))
    assert len(read) > 2, "one domain of the base ends in an older file"


def test_base_beyond_the_moment_is_refused(
    primary: MariaDbPrimary, endpoint: Endpoint, flavor: MariaDbFlavor
) -> None:
    create(primary)
    write(primary, 1)
    beyond = write(primary, 11)
    write(primary, 2)
    base = position(primary)
    with pytest.raises(PreflightFailed, match=rf"beyond 2026-08-21T03:00:10Z: it has {beyond}"):
        flavor.cut_before(endpoint, at(10), base)
    assert flavor.cut_before(endpoint, at(12), base).position == base


def test_a_stamp_that_no_clock_has_shown_says_nothing_about_the_base(
    primary: MariaDbPrimary, endpoint: Endpoint, flavor: MariaDbFlavor
) -> None:
    create(primary)
    primary.execute(f"SET TIMESTAMP={FAR.timestamp()}", "INSERT INTO w.t (stamped) VALUES (0)")
    write(primary, 1)
    base = position(primary)
    last = write(primary, 2)
    assert str(flavor.cut_before(endpoint, at(10), base).position) == last


def test_purged_files_are_named(primary: MariaDbPrimary, endpoint: Endpoint, flavor: MariaDbFlavor) -> None:
    start = create(primary)
    write(primary, 1)
    kept = position(primary)
    primary.execute("FLUSH BINARY LOGS")
    last = write(primary, 2)
    newest = primary.execute("SHOW BINARY LOGS")[-1][0]
    primary.purge_logs()
    with pytest.raises(BinlogPurged, match=rf"begin with {newest}, after {kept}; the base stands at {start}"):
        flavor.cut_before(endpoint, at(10), start)
    with pytest.raises(BinlogPurged, match="their very beginning"):
        flavor.cut_before(endpoint, at(10), MariaDbPosition())
    assert str(flavor.cut_before(endpoint, at(10), kept).position) == last


def test_reading_takes_no_memory(
    primary: MariaDbPrimary, endpoint: Endpoint, flavor: MariaDbFlavor, tmp_path: Path
) -> None:
    """100 MB of binary log, read by a process of its own."""
    start = create(primary)
    primary.execute("CREATE TABLE w.big (b LONGBLOB) ENGINE=MyISAM")
    primary.execute(*["INSERT INTO w.big SELECT REPEAT('x', 1000000) FROM w.seq_1_to_10"] * 10)
    goal = position(primary)
    script = (
        "import resource, sys, msgspec\n"
        "from datetime import datetime, UTC\n"
        "from airflow_restore_replay.core.flavor.base import Endpoint\n"
        "from airflow_restore_replay.core.flavor.mariadb.flavor import MariaDbFlavor\n"
        "endpoint = msgspec.json.decode(sys.stdin.read(), type=Endpoint)\n"
        "flavor = MariaDbFlavor()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"cut = flavor.cut_before(endpoint, datetime(2037, 1, 1, tzinfo=UTC), flavor.parse_position('{start}'))\n"
        "print(cut.position, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=msgspec.json.encode(endpoint),
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    reached, grown_kb = done.stdout.decode().split()
    assert reached == str(goal)
    assert int(grown_kb) < 40_000
