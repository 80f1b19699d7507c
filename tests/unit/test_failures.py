"""docs/failures.md is what the code does, and leaves no error out."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from airflow_restore_replay.core.errors import Blame, ChunkCorrupt, StoreFailed
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.flavor.classify import ErrorRules
from airflow_restore_replay.core.flavor.mariadb import errorlog as mariadb_log
from airflow_restore_replay.core.flavor.mariadb.classify import RULES as mariadb
from airflow_restore_replay.core.flavor.mysql import errorlog as mysql_log
from airflow_restore_replay.core.flavor.mysql.classify import RULES as mysql
from tests.support.failures import DUMP, LOGGED, classes, document, known, logged

ROOT = Path(__file__).parent.parent.parent


def test_the_document_is_made_from_this_code() -> None:
    assert (ROOT / "docs/failures.md").read_text() == document()


def test_every_error_has_advice_of_its_own() -> None:
    assert [kind.__name__ for kind in classes() if not vars(kind).get("advice")] == []


def test_an_error_without_a_hint_of_its_own_has_the_general_one() -> None:
    assert Failure.of(StoreFailed("down")).hint == StoreFailed.advice
    assert Failure.of(ChunkCorrupt("a chunk", hint="Do this.")).hint == "Do this."


@pytest.mark.parametrize(("flavor", "rules"), [("mariadb", mariadb), ("mysql", mysql)])
def test_every_number_that_a_flavor_knows_is_listed(flavor: str, rules: ErrorRules) -> None:
    rows = list(known(rules, DUMP[flavor]))
    listed = {int(number) for _, numbers, _, _ in rows for number in re.findall(r"\d+", numbers)}
    sets = [value for value in vars(rules).values() if isinstance(value, frozenset)]
    assert {number for known_numbers in sets for number in known_numbers} <= listed


@pytest.mark.parametrize(("flavor", "rules"), [("mariadb", mariadb), ("mysql", mysql)])
def test_only_conflicts_of_the_data_are_held_against_a_backup(flavor: str, rules: ErrorRules) -> None:
    rows = list(known(rules, DUMP[flavor]))
    against = {error.code for _, _, _, error in rows if error and error.blame is Blame.BACKUP}
    assert against == {"ReplayConflict"}
    by_text = {error.code for _, _, text, error in rows if error and text}
    assert {"BinlogPurged", "HistoryDiverged", "SourceCorrupt", "PrimaryUnreachable"} <= by_text


@pytest.mark.parametrize(("flavor", "rules"), [("mariadb", mariadb_log), ("mysql", mysql_log)])
def test_a_log_line_blames_the_data_the_host_or_nobody(flavor: str, rules: ModuleType) -> None:
    judged = [logged(rules.RULES, line) for line in LOGGED[flavor]]
    assert judged == ["backup"] * 5 + ["environment"] * 4 + ["no blame"] * 2
