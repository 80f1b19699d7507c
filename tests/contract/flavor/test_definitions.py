"""Each difference between two definitions of a table is seen, and named; what is the same is the same."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_restore_replay.core.flavor.definitions import Definitions
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.values import Table
from airflow_restore_replay.core.jobs.compare.comparison_pass import in_snapshot
from airflow_restore_replay.core.jobs.compare.ranges import Sides
from tests.support.flavors import KITS
from tests.support.primary import Primary
from tests.support.unpacked import without

BOTH = ("mariadb", "mysql")
_TABLE = "CREATE TABLE d.t (id INT PRIMARY KEY, a INT, v VARCHAR(20), b TEXT)"
#: what is created → what is changed → in what the table differs then
CHANGES: tuple[tuple[str, str, set[str], tuple[str, ...]], ...] = (
    (_TABLE, "ADD COLUMN n INT", {"column n (only on the node)"}, BOTH),
    (_TABLE, "DROP COLUMN b", {"column b (only on the primary)"}, BOTH),
    (_TABLE, "MODIFY a BIGINT", {"column a"}, BOTH),
    (_TABLE, "MODIFY a INT NOT NULL", {"column a"}, BOTH),
    (_TABLE, "ALTER a SET DEFAULT 5", {"column a"}, BOTH),
    (_TABLE, "MODIFY v VARCHAR(20) CHARACTER SET ascii", {"column v"}, BOTH),
    (_TABLE, "MODIFY a INT COMMENT 'c'", {"comment of column a (only on the node)"}, BOTH),
    (_TABLE, "MODIFY a INT AFTER v", {"column a", "column v"}, BOTH),
    (_TABLE, "ADD KEY k (v)", {"key k (only on the node)"}, BOTH),
    (f"{_TABLE[:-1]}, KEY k (v))", "DROP KEY k, ADD KEY k (v(5))", {"key k"}, BOTH),
    (f"{_TABLE[:-1]}, KEY k (v))", "DROP KEY k, ADD UNIQUE KEY k (v)", {"key k"}, BOTH),
    (f"{_TABLE[:-1]}, KEY k (a))", "ALTER INDEX k IGNORED", {"key k"}, ("mariadb",)),
    (f"{_TABLE[:-1]}, KEY k (a))", "ALTER INDEX k INVISIBLE", {"key k"}, ("mysql",)),
    (f"{_TABLE[:-1]}, KEY k ((a + 1)))", "DROP KEY k, ADD KEY k ((a + 2))", {"key k"}, ("mysql",)),
    (
        f"{_TABLE[:-1]}, FULLTEXT KEY k (b))",
        "DROP KEY k; ADD FULLTEXT KEY k (b) WITH PARSER ngram",
        {"shown key k"},
        ("mysql",),
    ),
    (
        f"{_TABLE[:-1]}, KEY k (a), CONSTRAINT f FOREIGN KEY (a) REFERENCES d.t (id))",
        "DROP FOREIGN KEY f, ADD CONSTRAINT f2 FOREIGN KEY (a) REFERENCES d.t (id) ON DELETE CASCADE",
        {"foreign key f (only on the primary)", "foreign key f2 (only on the node)"},
        BOTH,
    ),
    (_TABLE, "ADD CONSTRAINT c CHECK (a > 1)", {"check c (only on the node)"}, BOTH),
    (
        f"{_TABLE[:-1]}, CONSTRAINT c CHECK (a > 1))",
        "ALTER CHECK c NOT ENFORCED",
        {"check c"},
        ("mysql",),
    ),
    (f"{_TABLE[:-1]}, g INT AS (a + 1) VIRTUAL)", "MODIFY g INT AS (a + 2) VIRTUAL", {"column g"}, BOTH),
    (
        f"{_TABLE} PARTITION BY RANGE (id) (PARTITION p VALUES LESS THAN (9))",
        "ADD PARTITION (PARTITION q VALUES LESS THAN (99))",
        {"partition q (only on the node)"},
        BOTH,
    ),
    (_TABLE, "ENGINE=MyISAM", {"engine"}, BOTH),
    (_TABLE, "ROW_FORMAT=COMPACT", {"row format", "options"}, BOTH),
    (_TABLE, "COMMENT 'c'", {"comment"}, BOTH),
    (_TABLE, "ADD SYSTEM VERSIONING", {"versioning"}, ("mariadb",)),
    ("CREATE SEQUENCE d.t", "INCREMENT BY 2", {"increment"}, ("mariadb",)),
)


@pytest.fixture(scope="module", params=BOTH)
def primary(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Primary]:
    if without(request.param):
        pytest.skip(f"RR_WITHOUT={request.param}")
    started = KITS[request.param].start(tmp_path_factory.mktemp("defined") / "primary")
    yield started
    started.discard()
    # Tests of both flavors alternate, so that there is a server for each; their files are in memory.
    shutil.rmtree(started.root)


def defined(primary: Primary) -> Definitions:
    flavor = get_flavor(primary.flavor)
    with flavor.connect(primary.endpoint("restore_replay")) as conn:
        return flavor.definitions(conn)


@pytest.mark.parametrize(
    ("primary", "create", "change", "differing"),
    [
        pytest.param(flavor, *case, id=f"{flavor}-{case[1]}")
        for flavor in BOTH
        for *case, flavors in CHANGES
        if flavor in flavors
    ],
    indirect=["primary"],
)
def test_a_table_that_differs(primary: Primary, create: str, change: str, differing: set[str]) -> None:
    kind = "SEQUENCE" if "SEQUENCE" in create else "TABLE"
    primary.execute("DROP DATABASE IF EXISTS d", "CREATE DATABASE d", create)
    before = defined(primary)
    assert before.objects == defined(primary).objects
    primary.execute(*(f"ALTER {kind} d.t {one}" for one in change.split("; ")))
    after = defined(primary)
    changed = {name: after.differs(name, before) for name in after.objects | before.objects}
    assert {name: set(how) for name, how in changed.items() if how} == {f"{kind.lower()} d.t": differing}


def test_a_schema_that_differs(primary: Primary) -> None:
    primary.execute("DROP DATABASE IF EXISTS d", "CREATE DATABASE d")
    before = defined(primary)
    primary.execute("ALTER DATABASE d CHARACTER SET ascii")
    assert defined(primary).differs("schema d", before) == ("collation",)


def test_a_table_of_a_dropped_schema_is_not_in_the_snapshot(primary: Primary) -> None:
    """Sessions drop schemas while a comparison runs; MySQL answers with another error than for a dropped table."""
    with primary.connect() as conn, ThreadPoolExecutor(1) as pool:
        sides = Sides(primary=conn, node=conn, pool=pool)
        gone = Table(schema="gone", name="t", engine="InnoDB", mvcc=True)
        assert not in_snapshot(sides, gone)
        primary.execute("CREATE DATABASE gone", "CREATE TABLE gone.t (id INT)")
        assert in_snapshot(sides, gone)
        primary.execute("DROP DATABASE gone")
