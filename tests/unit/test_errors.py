from __future__ import annotations

import errno

import pytest
from pymysql.err import OperationalError, ProgrammingError

from airflow_restore_replay.cli.exit_codes import Exit, exit_code
from airflow_restore_replay.core import errors
from airflow_restore_replay.core.errors import AnswerUnreadable, Blame, ChunkCorrupt, NodeFull, SeedFailed
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.flavor.sql import Answer


def _tree(kind: type[errors.RestoreReplayError]) -> list[type[errors.RestoreReplayError]]:
    return [kind, *(k for child in kind.__subclasses__() for k in _tree(child))]


@pytest.mark.parametrize("kind", _tree(errors.RestoreReplayError), ids=lambda k: k.__name__)
def test_every_error_travels_and_is_drawn(kind: type[errors.RestoreReplayError]) -> None:
    error = kind("it broke", hint="mend it", evidence={"chunk": "ab"})
    back = Failure.of(error).to_exception()
    assert type(back) is kind
    assert (back.message, back.hint, back.evidence, back.blame) == (
        "it broke",
        "mend it",
        {"chunk": "ab"},
        error.blame,
    )
    assert kind.__name__ in (errors.__doc__ or "")
    assert kind.__doc__


def test_o11_our_own_exceptions_blame_the_environment() -> None:
    for exc in (KeyError("x"), AssertionError(), ZeroDivisionError(), MemoryError(), KeyboardInterrupt()):
        failure = Failure.of(exc)
        assert (failure.blame, failure.code) == (Blame.ENVIRONMENT, "InternalError")


def test_what_a_server_refuses_or_leaves_out_is_no_exception_of_our_own() -> None:
    refused = Failure.of(ProgrammingError(1064, "You have an error in your SQL syntax"))
    assert (refused.code, refused.blame, refused.retryable) == ("AnswerUnreadable", Blame.ENVIRONMENT, False)
    assert exit_code(refused) is Exit.ENVIRONMENT
    assert Failure.of(OperationalError(2013, "Lost connection")).retryable
    with pytest.raises(AnswerUnreadable, match="has no version; it has: port"):
        Answer(port=1)["version"]
    assert Answer(port=1).get("version") is None


def test_an_error_that_a_retry_does_not_change_travels_as_such() -> None:
    error = SeedFailed("it broke", retryable=False)
    assert not Failure.of(Failure.of(error).to_exception()).retryable
    assert Failure.of(SeedFailed("it broke")).retryable


def test_full_disk_is_the_nodes() -> None:
    assert Failure.of(OSError(errno.ENOSPC, "No space left", "/x")).code == NodeFull.__name__


def test_fingerprint_ignores_what_varies() -> None:
    one = Failure.of(ChunkCorrupt("Chunk 9f3a0e11d2c4b5a6 of backup 20260821T030000Z-1f3a at /a/b: 12 bytes"))
    two = Failure.of(ChunkCorrupt("Chunk 41be77aa90d1c2e3 of backup 20260822T040000Z-bbbb at /c: 9 bytes"))
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint != Failure.of(ChunkCorrupt("another story")).fingerprint
