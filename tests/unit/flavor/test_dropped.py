"""What is dropped while it is read is read again; an empty answer is no IndexError."""

from __future__ import annotations

from typing import Any

import pymysql
import pytest

from airflow_restore_replay.core.flavor import dropped
from airflow_restore_replay.core.flavor.dropped import again_if_dropped, row_of

GONE = pymysql.err.ProgrammingError(1146, "Table 'a.b' doesn't exist")


def reader(*answers: Any) -> Any:
    left = list(answers)

    def read() -> Any:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return read


def test_it_is_read_again() -> None:
    assert again_if_dropped(reader(GONE, GONE, "read")) == "read"


def test_not_for_ever_and_not_after_another_error() -> None:
    with pytest.raises(pymysql.err.ProgrammingError, match="doesn't exist"):
        again_if_dropped(reader(*[GONE] * 5, "too late"))
    with pytest.raises(pymysql.err.OperationalError, match="denied"):
        again_if_dropped(reader(pymysql.err.OperationalError(1142, "denied"), "never"))


def test_no_row_is_an_object_that_was_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[list[Any]] = [[], [("v", "CREATE VIEW")]]
    monkeypatch.setattr(dropped, "rows", lambda conn, query: answers.pop(0))
    conn: Any = None
    assert again_if_dropped(lambda: row_of(conn, "SHOW CREATE VIEW v", "v")) == ("v", "CREATE VIEW")
