"""What follows from definitions that differ."""

from __future__ import annotations

from airflow_restore_replay.core.decisions.definitions import consequences_of, not_replayable
from airflow_restore_replay.core.errors import Blame

COLUMN = {"table a.t": ("column n (only on the primary)",)}
ACCOUNT = {"account u.%": ("authentication_string",)}
COMMENT = {"table a.u": ("row format", "comment of column c")}
ALL = COLUMN | ACCOUNT | COMMENT


def test_what_the_primary_changed_without_its_log_needs_a_fresh_full_only_if_rows_depend_on_it() -> None:
    found = consequences_of(ALL, full=False, altered=(), left_out={}, known=())
    assert (found.evidence, found.unlogged) == ({}, COLUMN)
    assert found.listed.keys() == ACCOUNT.keys() | COMMENT.keys()


def test_only_what_was_altered_in_the_store_is_evidence() -> None:
    found = consequences_of(ALL, full=False, altered=("table a.t", "account u.%"), left_out={}, known=())
    assert (found.evidence, found.unlogged) == (COLUMN | ACCOUNT, {})
    assert consequences_of(ALL, full=False, altered=None, left_out={}, known=()).evidence == ALL


def test_a_fresh_full_and_what_continues_it_list_what_a_copy_does_not_carry() -> None:
    full = consequences_of(ALL, full=True, altered=(), left_out={"account u.%": "refused"}, known=())
    assert (full.evidence, full.unlogged) == ({}, {})
    assert full.listed["account u.%"] == "refused"
    later = consequences_of(ALL, full=False, altered=(), left_out={}, known=full.listed.keys())
    assert (later.evidence, later.unlogged) == ({}, {})
    assert later.listed.keys() == ALL.keys()
    damaged = consequences_of(
        ALL, full=False, altered=("account u.%",), left_out={"account u.%": "refused"}, known=()
    )
    assert damaged.evidence == ACCOUNT


def test_the_finding_names_the_cause_and_blames_no_backup() -> None:
    error = not_replayable({f"table a.t{n:02}": ("column n", *"bcdefg") for n in range(12)})
    assert error.blame is Blame.STRANDED
    assert "table a.t00: column n, b, c, d, e and 2 more; table a.t01" in error.message
    assert "and 2 more. Rows" in error.message
    assert len(error.evidence["tables"]) == 12
