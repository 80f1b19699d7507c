"""Which files of a backup belong to the tables that a person names."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from airflow_restore_replay.core.errors import NoSuchTable
from airflow_restore_replay.core.flavor.filenames import TableName
from airflow_restore_replay.core.recovery.forecast import forecast
from airflow_restore_replay.core.recovery.loading.into import renamed
from airflow_restore_replay.core.recovery.selection import Selection
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import (
    FileEntry,
    Manifest,
    Outcome,
    Verdict,
    utc_now,
)
from tests.unit.test_cycle_decisions import manifest

_SERVER = ("ibdata1", "undo001", "mysql/user.frm", "mysql.ibd", "#innodb_redo/#ib_redo1", "sys/db.opt")
_TABLES = (
    *(
        "shop/orders.frm",
        "shop/orders.ibd",
        "shop/order_items.ibd",
        "shop/parts#P#p0.ibd",
        "shop/parts#p#p1.ibd",
    ),
    *("shop/db.opt", "shop/tr.TRN", "shop/FTS_0000000000000013_CONFIG.ibd", "shop/my_404.sdi", "shop/my.MYD"),
    "shop/a_view.frm",
    *("other/orders.ibd", "a@002eb/c@0025d.ibd", "other/db.opt"),
)


def entries() -> list[FileEntry]:
    directories = {p.rpartition("/")[0] for p in (*_SERVER, *_TABLES)} - {""} | {"empty"}
    return [FileEntry(path=p, directory=True) for p in sorted(directories)] + [
        FileEntry(path=p) for p in (*_SERVER, *_TABLES)
    ]


def chosen(tables: str | None, databases: str | None = None, **fields: Any) -> set[str]:
    selection = Selection.of(tables, databases)
    assert selection
    made: Manifest = msgspec.structs.replace(manifest("backup", age_h=1), **fields)
    files = selection.chosen(entries(), made).files
    assert {*_SERVER} <= {f.path for f in files}
    return {f.path for f in files if not f.directory} - {*_SERVER}


def test_a_table_comes_with_the_files_of_its_schema() -> None:
    of_schema = {"shop/db.opt", "shop/tr.TRN", "shop/FTS_0000000000000013_CONFIG.ibd"}
    assert chosen("shop.orders") == {"shop/orders.frm", "shop/orders.ibd"} | of_schema
    assert chosen("shop.parts, shop.my") == of_schema | {
        *("shop/parts#P#p0.ibd", "shop/parts#p#p1.ibd", "shop/my_404.sdi", "shop/my.MYD")
    }
    assert chosen("shop.o%") == chosen("shop.orders") | {"shop/order_items.ibd"}
    assert "shop/a_view.frm" in chosen(None, "shop")
    with pytest.raises(NoSuchTable):
        chosen("shop.a_view")
    assert chosen("%.orders") == chosen("shop.orders") | {"other/orders.ibd", "other/db.opt"}


def test_a_schema_and_names_that_need_quotes() -> None:
    assert chosen(None, "other") == {"other/orders.ibd", "other/db.opt"}
    assert chosen(None, "empty") == set()
    assert chosen("`a.b`.`c%d`") == chosen(None, "a.b") == {"a@002eb/c@0025d.ibd"}


@pytest.mark.parametrize(
    "wrong", ["shop.nothing", "shop.order", "nowhere.orders", "nowhere.%", "other.o", "shop.O%"]
)
def test_what_the_backup_does_not_have_is_refused_with_the_nearest_names(wrong: str) -> None:
    with pytest.raises(NoSuchTable, match="has no table") as caught:
        chosen(wrong)
    if wrong == "shop.order":
        assert caught.value.evidence["nearest"][0] == "shop.orders"


def test_names_are_folded_as_the_server_folds_them() -> None:
    folding: dict[str, Any] = {"variables": {"lower_case_table_names": "1"}}
    assert chosen("SHOP.Orders", **folding) == chosen("shop.orders")


def test_a_table_of_mysql_may_be_in_a_tablespace_of_several() -> None:
    mysql: dict[str, Any] = {"flavor": "mysql", "variables": {"innodb_file_per_table": "OFF"}}
    assert chosen("shop.hidden", **mysql) >= {"shop/db.opt"}
    with pytest.raises(NoSuchTable):
        chosen("shop.hidden%", **mysql)
    with pytest.raises(NoSuchTable):
        chosen("shop.hidden", flavor="mysql")


def test_a_pattern_without_a_schema_is_refused() -> None:
    for wrong in ("orders", ".orders", "shop.", "`shop"):
        with pytest.raises(NoSuchTable, match="names no table"):
            Selection.of(wrong, None)
    assert Selection.of(None, None) is None


def test_names_for_the_living_server() -> None:
    a, b = TableName("shop", "a"), TableName("shop", "b")
    assert renamed([a, b], None) == {a: a, b: b}
    assert renamed([a, b], "new.%") == {a: TableName("new", "a"), b: TableName("new", "b")}
    assert renamed([a], "`x.y`.`z`") == {a: TableName("x.y", "z")}
    for tables, name in (([a, b], "shop.c"), ([a], "c")):
        with pytest.raises(Exception, match=r"cannot all become|names no table"):
            renamed(tables, name)


def test_the_time_is_that_of_measured_restores() -> None:
    def restored(number: int, **measured: object) -> Verdict:
        return Verdict(
            verdict_id=f"v{number}",
            at=utc_now(),
            cluster="orders",
            run="r",
            outcome=Outcome.RESTORED,
            measured=dict(measured),
        )

    fill = {"backup_id": "b", "bytes": 1000, "seconds": 12.0, "start_seconds": 2.0}
    cost = {"bytes": 1000, "seconds": 100.0}
    assert forecast(Catalog.of("orders", [], []), 500, starting=True).seconds is None
    seen = Catalog.of("orders", [], [restored(1, fill=fill, cost=cost), restored(2, fill="damaged")])
    assert forecast(seen, 500, starting=True).seconds == 7.0
    assert forecast(seen, 500, starting=False).seconds == 5.0
    assert forecast(Catalog.of("orders", [], [restored(1, cost=cost)]), 500, starting=True).seconds == 50.0
