"""Names as structures: quoted and joined names give the parts back, whatever users write into them."""

from __future__ import annotations

import random

import pytest

from airflow_restore_replay.core.flavor.grants import revoked_in_schemas
from airflow_restore_replay.core.flavor.quoting import identifier, joined, parted, unquoted
from airflow_restore_replay.core.jobs.compare.comparison_pass import matches
from airflow_restore_replay.core.recovery.restore import event_statements
from tests.support.names import HOSTILE


def _names() -> list[str]:
    dice = random.Random(5)
    letters = "ab.`'\"/#%\\ \t\n\x01;é@漢"
    return [*HOSTILE, *("".join(dice.choices(letters, k=dice.randint(1, 6))) for _ in range(300))]


def test_a_quoted_name_gives_the_name_back() -> None:
    assert [unquoted(identifier(name)) for name in _names()] == _names()


def test_joined_names_give_their_parts_back_and_differ_where_the_parts_differ() -> None:
    names = _names()
    pairs = sorted({(a, b) for a, b in zip(names, names[1:], strict=False)} | {("a", "b.c"), ("a.b", "c")})
    assert [parted(joined(*pair)) for pair in pairs] == pairs
    assert len({joined(*pair) for pair in pairs}) == len(pairs)


def test_a_plain_name_is_joined_as_before() -> None:
    assert joined("shop", "old orders") == "shop.old orders"


def test_a_partial_revoke_names_the_schema() -> None:
    for name in _names():
        line = f"REVOKE SELECT, EVENT ON {identifier(name)}.* FROM `restore_replay`@`%`"
        assert revoked_in_schemas(["GRANT SELECT ON *.* TO `a`@`%`", line]) == {name: {"SELECT", "EVENT"}}


@pytest.mark.parametrize(
    ("schema", "event", "statement"),
    [
        ("shop", "tick", "ALTER EVENT `shop`.`tick` ENABLE;"),
        ("www.example.org", "clean.up", "ALTER EVENT `www.example.org`.`clean.up` ENABLE;"),
        ("a`b", "c", "ALTER EVENT `a``b`.`c` ENABLE;"),
    ],
)
def test_the_statement_for_an_event_names_it(schema: str, event: str, statement: str) -> None:
    assert list(event_statements({joined(schema, event): "ENABLED"})) == [statement]


@pytest.mark.parametrize(
    ("pattern", "schema", "name", "matched"),
    [
        ("shop.*", "shop", "orders", True),
        ("shop.*", "shop", "orders.old", True),
        ("shop.*", "shop.old", "orders", False),
        ("www.example.org.t.a", "www.example.org", "t.a", True),
        ("www.example.org.*", "www.example.org", "t.a", True),
        ("*.log", "shop", "log", True),
        ("*", "shop", "log", True),
        ("shop*", "shop", "log", True),
    ],
)
def test_a_pattern_of_tables_matches_by_parts(pattern: str, schema: str, name: str, matched: bool) -> None:
    assert matches(pattern, schema, name) is matched
