"""Events of real binary log files, against what their server says of them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_restore_replay.core.flavor.binlogstream import FORMAT, _digest_group
from airflow_restore_replay.core.flavor.changes.reader import Reader
from airflow_restore_replay.core.flavor.log_file import LogDamaged, LogEvent, log_events, servable
from airflow_restore_replay.core.flavor.registry import get_flavor
from tests.support.flavors import KITS, Kit
from tests.support.logged import Logged, total
from tests.support.mariadb import MariaDbPrimary
from tests.support.primary import Primary
from tests.support.unpacked import without

_NAMES = ("mariadb", "mariadb-11.8", "mysql")
_ANNOTATE = 160


@pytest.fixture(scope="module", params=_NAMES)
def kit(request: pytest.FixtureRequest) -> Kit:
    if without(request.param):
        pytest.skip(f"RR_WITHOUT={request.param}")
    return KITS[request.param]


@pytest.fixture(scope="module")
def logged(kit: Kit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    primary = kit.primary.start(tmp_path_factory.mktemp("logged") / "primary")
    yield Logged(primary)
    primary.discard()


@pytest.fixture(scope="module")
def log(logged: Logged) -> Any:
    return get_flavor(logged.primary.flavor).log


def some_transactions(logged: Logged) -> None:
    logged.run(
        "CREATE DATABASE IF NOT EXISTS some",
        "CREATE TABLE IF NOT EXISTS some.t (id INT AUTO_INCREMENT PRIMARY KEY, t TEXT)",
        "INSERT INTO some.t (t) VALUES (REPEAT('text', 1000)), ('x')",
        "UPDATE some.t SET t = UPPER(t)",
        "DELETE FROM some.t WHERE id % 2 = 0",
    )


def in_domains_or_tags(logged: Logged) -> None:
    if logged.primary.flavor == "mysql":
        for tag in ("app", "batch", ""):
            gtid_next = f"AUTOMATIC:{tag}" if tag else "AUTOMATIC"
            logged.run(f"SET gtid_next = '{gtid_next}'", "INSERT INTO some.t (t) VALUES ('tagged')")
    else:
        for domain in (7, 0, 4_000_000_000):
            logged.run("INSERT INTO some.t (t) VALUES ('of a domain')", domain=domain)
        # another server's, as after a failover
        logged.run("SET SESSION server_id = 9", "INSERT INTO some.t (t) VALUES ('of 9')", domain=7)


#: name → variables while the file is written, by flavor
_FORMS: dict[str, dict[str, dict[str, str]]] = {
    "plain": {"mariadb": {}, "mysql": {}},
    "without checksums": {"mariadb": {"binlog_checksum": "NONE"}, "mysql": {"binlog_checksum": "NONE"}},
    "compressed": {
        "mariadb": {"log_bin_compress": "ON", "log_bin_compress_min_len": "10"},
        "mysql": {"binlog_transaction_compression": "ON"},
    },
    "statements": {"mariadb": {"binlog_format": "STATEMENT"}, "mysql": {"binlog_format": "STATEMENT"}},
}


@pytest.fixture(params=_FORMS)
def name(request: pytest.FixtureRequest, logged: Logged) -> Iterator[str]:
    """Return the name of a file with transactions of that form."""
    variables = _FORMS[request.param][logged.primary.flavor]
    before = {variable: logged.primary.execute(f"SELECT @@GLOBAL.{variable}")[0][0] for variable in variables}
    for variable, value in variables.items():
        logged.primary.execute(f"SET GLOBAL {variable} = {value}")
    logged.rotate()
    some_transactions(logged)
    in_domains_or_tags(logged)
    yield logged.rotate()
    for variable, value in before.items():
        text = str(int(value)) if isinstance(value, int) else f"'{value}'"
        logged.primary.execute(f"SET GLOBAL {variable} = {text}")


def events(path: Path) -> list[LogEvent]:
    with path.open("rb") as file:
        return list(log_events(file))


def test_events_are_where_the_server_shows_them(logged: Logged, name: str) -> None:
    found = events(logged.file(name))
    assert found[-1].end == logged.file(name).stat().st_size
    mine = [(e.event.offset, e.event.server_id, e.end_on_primary) for e in found]
    # Of a compressed transaction the server shows what is in it, too, without an end.
    shown = [(place, server, end) for place, _, server, end, _ in logged.shown(name) if place != end]
    assert mine == shown
    assert all(e.end_on_primary in (0, e.end) for e in found)


def test_positions_are_what_the_server_says(logged: Logged, name: str, log: Any) -> None:
    """Before a file, what its heading lists; after it, that and its transactions."""
    before = logged.position()
    logged.rotate()
    some_transactions(logged)
    in_domains_or_tags(logged)
    after = logged.position()
    found = events(logged.file(logged.rotate()))
    headings = [position for e in found if (position := log.listed(e.event)) is not None]
    assert len(headings) == 1
    parse = get_flavor(logged.primary.flavor).parse_position
    assert headings[0] == parse(before)
    starts = [start.gtid for e in found if (start := log.start(e.event))]
    assert headings[0].extended(starts) == parse(after)
    assert starts


def test_a_copy_as_replicas_get_it_has_the_same_events(logged: Logged, name: str, tmp_path: Path) -> None:
    copy = logged.copy(name, tmp_path)
    assert events(copy) == events(logged.file(name))
    assert copy.read_bytes()[:4] == logged.file(name).read_bytes()[:4]


def test_the_newest_file_is_read_while_it_is_written(logged: Logged) -> None:
    """Its format event says so by a flag that its checksum does not know."""
    some_transactions(logged)
    newest = logged.names()[-1]
    first = events(logged.file(newest))[0].event
    assert (first.kind, first.flags & 1) == (FORMAT, 1)


def test_a_torn_tail_ends_before_the_incomplete_event(logged: Logged) -> None:
    logged.rotate()
    logged.run("CREATE DATABASE IF NOT EXISTS torn", "DROP DATABASE torn")
    whole = logged.file(logged.rotate()).read_bytes()
    found = list(log_events(io.BytesIO(whole)))
    for size in range(len(whole)):
        cut = list(log_events(io.BytesIO(whole[:size])))
        assert cut == [event for event in found if event.end <= size]


def test_reading_begins_at_any_event(logged: Logged, name: str) -> None:
    found = events(logged.file(name))
    checksum_bytes = found[1].end - found[1].event.offset - 19 - len(found[1].event.body)
    for index, event in enumerate(found):
        if event.event.kind == FORMAT:
            continue
        with logged.file(name).open("rb") as file:
            file.seek(event.event.offset)
            rest = log_events(file, begin=event.event.offset, checksum_bytes=checksum_bytes)
            assert list(rest) == found[index:]


def test_a_stream_has_the_digests_of_the_file(logged: Logged, name: str, log: Any) -> None:
    """MariaDB 11.8 writes no end positions into the events of a transaction, which are events all the same."""
    found = [e.event for e in events(logged.file(name))]
    starts = [(index, start) for index, event in enumerate(found) if (start := log.start(event))]
    index, start = starts[2]
    group = log.find(logged.primary.endpoint(), name, start.gtid)
    # Replicas ask for annotations, this reader does not.
    of_file = [event for event in found[index + 1 :] if event.kind != _ANNOTATE]
    assert group.digest == _digest_group(found[index], iter(of_file), log.ends)


def test_an_event_of_the_largest_packet(logged: Logged) -> None:
    """A row of 60 MB is one event, read whole by the one reader, and part by part by the other."""
    logged.rotate()
    with logged.primary.connect(max_allowed_packet=2**26) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS some.large (id INT PRIMARY KEY, b LONGBLOB)")
        cursor.execute("SELECT @@GLOBAL.max_allowed_packet")
        ((limit,),) = cursor.fetchall()
        size = min(limit, 2**26) - 2**16
        cursor.execute(f"INSERT INTO some.large VALUES (1, REPEAT('b', {size})), (2, 'x')")
        cursor.execute("DROP TABLE some.large")
    path = logged.file(logged.rotate())
    assert max(e.end - e.event.offset for e in events(path)) > size
    with path.open("rb") as file:
        found = list(Reader().transactions(iter(lambda: file.read(2**20), b"")))
    assert total(found) == {("some", "large", "inserted"): 2}


@pytest.fixture(scope="module")
def small(logged: Logged) -> bytes:
    logged.rotate()
    some_transactions(logged)
    in_domains_or_tags(logged)
    if logged.primary.flavor == "mysql":
        logged.run("SET SESSION binlog_transaction_compression = ON", "INSERT INTO some.t (t) VALUES ('z')")
    return logged.file(logged.rotate()).read_bytes()


@settings(max_examples=300)
@given(data=st.data())
def test_damage_is_found_or_harmless(small: bytes, logged: Logged, log: Any, data: st.DataObject) -> None:
    """With checksums, what was read before the damage is right, and damage is an error or a torn tail."""
    whole = list(log_events(io.BytesIO(small)))
    damaged = bytearray(small)
    for at in data.draw(st.lists(st.integers(4, len(small) - 1), min_size=1, max_size=4)):
        damaged[at] ^= data.draw(st.integers(1, 255))
    read: list[LogEvent] = []
    with contextlib.suppress(LogDamaged):
        read.extend(log_events(io.BytesIO(bytes(damaged))))
    # A checksum is not asked for where the format event lies about it.
    if damaged[4:200] == small[4:200]:
        assert read == whole[: len(read)] or bytes(damaged) == small


@settings(max_examples=300)
@given(data=st.data())
def test_damage_without_checksums_does_not_crash(small: bytes, log: Any, data: st.DataObject) -> None:
    damaged = bytearray(small)
    for at in data.draw(st.lists(st.integers(0, len(small) - 1), min_size=1, max_size=8)):
        damaged[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(small)))
    with contextlib.suppress(LogDamaged):
        for transaction in Reader().transactions([bytes(damaged[:cut]), bytes(damaged[cut:])]):
            log.listed(transaction.first)
            transaction.row_count  # noqa: B018


@given(body=st.binary(max_size=200), kind=st.sampled_from([33, 35, 42, 162, 163]))
def test_any_heading_is_decoded_or_refused(log: Any, body: bytes, kind: int) -> None:
    event = io.BytesIO(b"\xfebin" + bytes(4) + bytes([kind]) + bytes(4))
    event.seek(0, io.SEEK_END)
    event.write((19 + len(body)).to_bytes(4, "little") + bytes(6) + body)
    event.seek(0)
    (found,) = log_events(event)
    with contextlib.suppress(LogDamaged):
        log.listed(found.event)


@pytest.fixture
def encrypting(tmp_path: Path) -> Iterator[Primary]:
    keys = tmp_path / "keys"
    keys.write_text(f"1;{'ab' * 32}\n")
    options = ["--plugin-load-add=file_key_management", f"--file-key-management-filename={keys}"]
    primary = MariaDbPrimary.start(tmp_path / "primary", options=[*options, "--encrypt-binlog"])
    yield primary
    primary.discard()


def test_a_file_that_the_server_encrypts(encrypting: Primary, tmp_path: Path) -> None:
    """Its own bytes are refused by name; the copy that a replica gets is not encrypted, though it
    has the event about encryption, too."""
    logged = Logged(encrypting)
    logged.rotate()
    some_transactions(logged)
    name = logged.rotate()
    with pytest.raises(LogDamaged, match=r"the server encrypted it from \d+ on"):
        events(logged.file(name))
    with pytest.raises(LogDamaged, match="encrypted"):
        list(Reader().transactions([logged.file(name).read_bytes()]))
    copied = events(logged.copy(name, tmp_path))
    shown = [(place, server, end) for place, _, server, end, _ in logged.shown(name)]
    assert [(e.event.offset, e.event.server_id, e.end_on_primary) for e in copied] == shown
    with (tmp_path / name).open("rb") as file:
        assert total(Reader().transactions([file.read()])) == logged.rows


@pytest.mark.parametrize("checksum", ["CRC32", "NONE"])
def test_a_copy_of_an_encrypted_file_can_be_served(
    encrypting: Primary, tmp_path: Path, checksum: str
) -> None:
    """A server without the key sends it on, and a replica applies it."""
    encrypting.execute(f"SET GLOBAL binlog_checksum = {checksum}")
    logged = Logged(encrypting)
    logged.rotate()
    logged.run("CREATE DATABASE some", "CREATE TABLE some.t (n INT)", "INSERT INTO some.t VALUES (1), (2)")
    name = logged.rotate()
    (tmp_path / "copies").mkdir()
    copy = logged.copy(name, tmp_path / "copies")
    data = servable(copy.read_bytes())
    assert [e.event.offset for e in log_events(io.BytesIO(data))] == [e.event.offset for e in events(copy)]
    assert servable(data) == data
    server = MariaDbPrimary.start(tmp_path / "server")
    replica = MariaDbPrimary.start(tmp_path / "replica", server_id=7)
    try:
        server.stop()
        for path in server.datadir.glob("binlog.*"):
            path.unlink()
        (server.datadir / "binlog.000001").write_bytes(data)
        (server.datadir / "binlog.index").write_text("./binlog.000001\n")
        server = MariaDbPrimary.start(tmp_path / "server", port=server.port)
        replica.follow(server)
        waited = replica.execute(
            f"SELECT MASTER_GTID_WAIT('{logged.position()}', 30)", "SELECT COUNT(*) FROM some.t"
        )
        assert waited == [(2,)]
    finally:
        server.discard()
        replica.discard()
