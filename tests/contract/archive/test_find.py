"""``restore-replay find`` over archived logs of real primaries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from airflow_restore_replay.cli.main import cli
from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.merging import merged
from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.repository.format.refs import part_path
from airflow_restore_replay.core.repository.repository import Repository
from tests.support.archives import RUN, Archivist, ReadLog, logs_of
from tests.support.flavors import KITS
from tests.support.primary import Primary
from tests.support.unpacked import without

_HOSTILE = "od\x1b[2J`\u202eders'; --"


@dataclass
class Shop:
    """A primary's history, in files that the test archives.

    :ivar gtids: name of a step → GTID of its transaction.
    """

    flavor: Flavor
    logs: list[ReadLog]
    gtids: dict[str, str]
    times: dict[str, datetime]


class _History:
    def __init__(self, primary: Primary) -> None:
        self.primary = primary
        self.gtids: dict[str, str] = {}
        self.times: dict[str, datetime] = {}

    def step(self, name: str, *statements: str) -> None:
        """Run statements in one session, and note the last transaction's GTID."""
        variable = "gtid_binlog_pos" if self.primary.flavor == "mariadb" else "gtid_executed"
        self.primary.execute(*statements)
        position = str(self.primary.execute(f"SELECT @@GLOBAL.{variable}")[0][0])
        source, _, last = position.replace("\n", "").rpartition(":")
        self.gtids[name] = position if self.primary.flavor == "mariadb" else f"{source}:{last.split('-')[-1]}"
        self.times[name] = self.primary.execute("SELECT UTC_TIMESTAMP(6)")[0][0].replace(tzinfo=UTC)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.skipif(without(name), reason=f"RR_WITHOUT={name}"))
        for name in ("mariadb", "mysql")
    ],
)
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    kit = KITS[request.param]
    primary = kit.primary.start(tmp_path_factory.mktemp("find"))
    flavor = get_flavor(kit.flavor)
    do = _History(primary)
    hostile = _HOSTILE.replace("`", "``")
    try:
        do.step(
            "created",
            "CREATE DATABASE shop",
            "CREATE TABLE shop.orders (id INT PRIMARY KEY, note VARCHAR(99))",
        )
        do.step("customers", "CREATE TABLE shop.customers (id INT PRIMARY KEY)")
        do.step("filled", "INSERT INTO shop.orders VALUES (1, 'one'), (2, 'two'), (3, 'three')")
        do.step("changed", "UPDATE shop.orders SET note = 'private' WHERE id < 3")
        do.step(
            "both",
            "BEGIN",
            "INSERT INTO shop.customers VALUES (1)",
            "DELETE FROM shop.orders WHERE id = 3",
            "COMMIT",
        )
        primary.execute("FLUSH BINARY LOGS")
        do.step("user", "CREATE USER app@'10.%' IDENTIFIED BY 'hunter2-hunter2'")
        do.step("hostile", f"CREATE TABLE shop.`{hostile}` (n INT COMMENT '\x1b]0;title\x07')")
        do.step("hostile rows", f"INSERT INTO shop.`{hostile}` VALUES (1)")
        xa = ("XA START 'x'", "DELETE FROM shop.orders WHERE id = 2", "XA END 'x'", "XA PREPARE 'x'")
        do.step("prepared", *xa)
        do.step("decided", "XA COMMIT 'x'")
        primary.execute("FLUSH BINARY LOGS")
        do.step("dropped", "USE shop", "DROP TABLE orders")
        do.step("database", "DROP DATABASE shop")
        yield Shop(flavor, logs_of(primary, flavor)[-3:], do.gtids, do.times)
    finally:
        primary.discard()


@dataclass
class Desk:
    """The command line over an archive."""

    shop: Shop
    root: Path

    def __post_init__(self) -> None:
        self.config = self.root / "clusters.yaml"
        store = self.root / "repository"
        self.config.write_text(
            f"clusters:\n  orders:\n    flavor: {self.shop.flavor.name}\n    primary: {{host: 127.0.0.1}}\n"
            f"    repository: {{url: 'file://{store}'}}\n"
        )
        self.repository = Repository.open(RepositorySpec(url=f"file://{store}"), cluster="orders", write=True)
        self.archivist = Archivist(self.repository, self.shop.flavor)

    def run(self, *arguments: str, exit_code: int = 0) -> Result:
        result = CliRunner().invoke(cli, ["find", *arguments, "--config", str(self.config)])
        assert result.exit_code == exit_code, result.output
        return result

    def find(self, *arguments: str, exit_code: int = 0) -> Any:
        return msgspec.json.decode(self.run(*arguments, "--json", exit_code=exit_code).stdout)

    def gtids(self, *arguments: str) -> list[str]:
        """Return names of the steps whose transactions were found."""
        names = {gtid: name for name, gtid in self.shop.gtids.items()}
        return [names.get(found["gtid"], found["gtid"]) for found in self.find(*arguments)["found"]]


@pytest.fixture
def desk(shop: Shop, tmp_path: Path) -> Desk:
    desk = Desk(shop, tmp_path)
    for number, log in enumerate(shop.logs):
        desk.archivist.add(log, range(number, len(log.groups), 2), closed=log is not shop.logs[-1])
    return desk


def test_what_happened(desk: Desk) -> None:
    """Without a question: definitions in the log's order, and rows by table."""
    answer = desk.find()
    found = [step for step in desk.gtids() if ":" not in step and "-" not in step]
    assert [step for step in found if step != "created"] == [
        "customers",
        "user",
        "hostile",
        "dropped",
        "database",
    ]
    assert all(each["defines"] for each in answer["found"])
    rows = {each["table"]: [each["inserted"], each["updated"], each["deleted"]] for each in answer["tables"]}
    assert rows["shop.orders"] == [3, 2, 2]
    assert rows["shop.customers"] == [1, 0, 0]
    (orders,) = (each for each in answer["tables"] if each["table"] == "shop.orders")
    assert orders["transactions"] == 4
    text = desk.run().output
    assert "DROP TABLE `orders`" in text or "DROP TABLE orders" in text
    assert text.index("CREATE TABLE") < text.index("DROP DATABASE")


def test_the_words_restore_to_just_before(desk: Desk, shop: Shop) -> None:
    (found,) = desk.find("--statement", "drop table")["found"]
    assert found["schemas"] == ["shop"]
    words = f"restore-replay restore --config {desk.config} --to DIR --before-gtid {shop.gtids['dropped']}"
    assert found["restore"] == words
    assert f"before it: {words}" in desk.run("--statement", "drop table").output


def test_a_tables_transactions(desk: Desk) -> None:
    """Its rows, whoever else's are in the transaction, and statements that name it or its schema."""
    steps = ["created", "filled", "changed", "both", "decided", "dropped", "database"]
    assert desk.gtids("--table", "shop.orders") == steps, desk.gtids("--table", "shop.orders")
    assert desk.gtids("--table", "SHOP.ORD%") == steps
    assert desk.gtids("--table", "shop.orders", "--statement", "delete") == ["both", "decided"]
    assert desk.gtids("--table", "shop.orders", "--statement", "DROP") == ["dropped", "database"]
    assert desk.gtids("--table", "shop.customers", "--table", "shop.orders", "--statement", "insert") == [
        "filled",
        "both",
    ]
    (both,) = (each for each in desk.find("--table", "shop.orders")["found"] if len(each["rows"]) == 2)
    assert {rows["table"]: (rows["inserted"], rows["deleted"]) for rows in both["rows"]} == {
        "shop.customers": (1, 0),
        "shop.orders": (0, 1),
    }


def test_an_xa_transaction_happens_when_it_is_decided(desk: Desk, shop: Shop) -> None:
    (found,) = desk.find("--gtid", shop.gtids["decided"])["found"]
    assert found["prepared_gtid"] == shop.gtids["prepared"]
    assert [(rows["table"], rows["deleted"]) for rows in found["rows"]] == [("shop.orders", 1)]
    (prepared,) = desk.find("--gtid", shop.gtids["prepared"])["found"]
    assert prepared["gtid"] == shop.gtids["prepared"]


def test_one_transaction(desk: Desk, shop: Shop) -> None:
    """Of pieces that cannot have it, nothing is fetched."""
    for step, gtid in shop.gtids.items():
        answer = desk.find("--gtid", f" {gtid.upper()}")
        assert [found["gtid"] for found in answer["found"]] == [gtid], step
        assert answer["transactions"] <= 3
    assert "nonsense" in desk.run("--gtid", "nonsense", exit_code=2).output


def test_the_largest_are_kept(desk: Desk) -> None:
    answer = desk.find(
        "--table", "shop.orders", "--statement", "insert", "--statement", "update", "--limit", "1"
    )
    assert [found["rows"][0]["inserted"] for found in answer["found"]] == [3]
    assert answer["left_out"] == 1
    assert "1 more transactions, of fewer rows" in desk.run("--table", "shop.orders", "--limit", "6").output
    assert desk.gtids("--table", "shop.orders", "--statement", "update", "--min-rows", "3") == []


def test_a_time_of_the_log(desk: Desk, shop: Shop) -> None:
    assert desk.gtids("--since", "1h", "--statement", "drop table") == ["dropped"]
    assert desk.gtids("--since", "1ms", "--table", "shop.%") == []
    assert desk.gtids("--until", "1h ago", "--table", "shop.%") == []
    after = shop.times["dropped"].isoformat()
    if shop.flavor.name == "mysql":  # which logs microseconds
        assert desk.gtids("--since", after) == ["database"]
        assert desk.gtids("--until", after, "--statement", "drop") == ["dropped"]
    # The forms are those of `restore --at`: without an offset, a time is in the cluster's zone, which is UTC here.
    local = (shop.times["dropped"] - timedelta(seconds=30)).replace(tzinfo=None)
    assert desk.gtids("--since", str(local), "--statement", "drop table") == ["dropped"]
    assert desk.gtids("--since", "10 minutes ago", "--statement", "drop table") == ["dropped"]
    assert "'yesterday' is not a time" in desk.run("--since", "yesterday", exit_code=2).output


def test_a_misspelled_table(desk: Desk) -> None:
    answer = desk.find("--table", "shop.ordrs")
    assert desk.gtids("--table", "shop.ordrs") == ["database"]
    assert answer["nearest"]["shop.ordrs"] == ["shop.orders", "shop.customers"]
    assert "with names like shop.ordrs: shop.orders" in desk.run("--table", "shop.ordrs").output
    assert "schema.table" in desk.run("--table", "orders", exit_code=2).output


def test_hostile_names_and_texts_are_inert(desk: Desk) -> None:
    """Names and statements of anybody reach the terminal; passwords and values do not."""
    for arguments in ((), ("--table", "shop.%"), ("--statement", "create")):
        result = desk.run(*arguments)
        text = result.stdout + result.stderr
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
        raw = desk.run(*arguments, "--json").stdout
        assert not {"\x1b", "\x07", "\u202e"} & set(raw)
        assert not any(word in text + raw for word in ("hunter2", "private", "title"))
    answer = desk.find("--table", "shop.%")
    assert any(
        _HOSTILE in rows["table"].replace("``", "`") for found in answer["found"] for rows in found["rows"]
    )
    (user,) = desk.find("--statement", "create user")["found"]
    assert "10.%" in user["statements"][0]


def test_merged_pieces_answer_alike(desk: Desk) -> None:
    before = desk.find()
    for stream in Archive.read(desk.repository).streams:
        for log in stream.logs[:2]:
            desk.archivist.store.write(merged(desk.archivist.store, log, run=RUN, lease_epoch=1))
    assert desk.find()["found"] == before["found"]


def test_a_transaction_of_two_streams_is_found_once(desk: Desk, shop: Shop) -> None:
    """After a failover, the new primary's log has some transactions of the old one's, too."""
    before = desk.find("--table", "shop.%")
    later = Archivist(desk.repository, shop.flavor, stream="20271101T000000Z-00000002")
    for log in shop.logs[1:]:
        later.add(log)
    after = desk.find("--table", "shop.%")
    assert [found["gtid"] for found in after["found"]] == [found["gtid"] for found in before["found"]]
    assert after["tables"] == before["tables"]


def test_damage_is_said_and_the_rest_is_found(desk: Desk) -> None:
    store = desk.root / "repository"
    first = Archive.read(desk.repository).streams[0].logs[1].pieces[0]
    path = store / part_path(first.parts[0].object)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-7])
    answer = desk.find(exit_code=1)
    assert "is corrupt" in answer["damaged"][0]
    assert answer["found"][-1]["gtid"] == desk.shop.gtids["database"]
    assert "Damaged: " in desk.run(exit_code=1).stderr


def test_without_an_archive(shop: Shop, tmp_path: Path) -> None:
    assert "No binary logs are archived" in Desk(shop, tmp_path).run().stderr
