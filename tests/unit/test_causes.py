"""One cause never costs the standing of more than one backup."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_restore_replay.core.decisions.attempts import FULL, OLDER, PROVE, REPLAY, next_step
from airflow_restore_replay.core.decisions.causes import causes, judge
from airflow_restore_replay.core.decisions.choose import choose_base
from airflow_restore_replay.core.errors import (
    AssertionFailed,
    BackupFault,
    Blame,
    ChunkCorrupt,
    DataMismatch,
    ErrantFromNode,
    ErrorLogDirty,
    FileMissing,
    PositionMismatch,
    ReplayConflict,
    TableCheckFailed,
)
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import (
    BackupState,
    BaseRef,
    Manifest,
    Outcome,
    Verdict,
)
from tests.unit.test_cycle_decisions import manifest

_START = datetime(2026, 8, 21, tzinfo=UTC)
_OUTCOMES = {Blame.BACKUP: Outcome.QUARANTINED, Blame.STRANDED: Outcome.STRANDED}


def conflict(event: str, *, after: str = "0-1-7") -> ReplayConflict:
    evidence = {"error": 1032, "position": f"binlog.000003:{event} after {after}", "table": f"shop.t{event}"}
    return ReplayConflict(f"The applier stopped at {event} after {after}.", evidence=evidence)


def rows(*keys: str, table: str = "shop.orders") -> DataMismatch:
    changed = {"count": len(keys), "keys": list(keys)}
    evidence = {
        "differences": [{"table": table, "key_range": "(1, 2]", "rows_primary": 9, "changed": changed}]
    }
    return DataMismatch(f"{keys} differ", evidence=evidence)


def damaged(**tables: str) -> TableCheckFailed:
    return TableCheckFailed(f"{len(tables)} damaged", evidence={"tables": tables})


@dataclass
class History:
    """A cluster's records, as cycles write them."""

    manifests: list[Manifest] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    runs: int = 0
    now: datetime = _START

    @property
    def catalog(self) -> Catalog:
        return Catalog.of("orders", self.manifests, self.verdicts)

    def state(self, backup_id: str) -> BackupState:
        return self.catalog.backup(backup_id).state

    def run(self) -> str:
        self.runs += 1
        return f"run-{self.runs}"

    def publish(self, run: str, base: str = "") -> str:
        name = f"b{len(self.manifests)}"
        ref = BaseRef(kind="backup", backup_id=base) if base else BaseRef(kind="seed")
        made = msgspec.structs.replace(
            manifest(name, age_h=0, run=run), base=ref, created_at=self._later(), goal_read_at=self.now
        )
        self.manifests.append(made)
        return name

    def fail(self, error: BackupFault, base: str, *, run: str = "", attempt: str = REPLAY) -> Failure:
        """Record what a job records when it fails."""
        run = run or self.run()
        judged = judge(self.catalog, Failure.of(error), run=run, attempt=attempt, base_id=base)
        outcome = _OUTCOMES.get(judged.failure.blame, Outcome.FAILED)
        about = base if outcome is not Outcome.FAILED else ""
        self._record(outcome, run, attempt, about, failure=judged.failure, measured={"base": base})
        for refuted in judged.withdraw:
            self._record(Outcome.WITHDRAWN, run, attempt, refuted.backup_id, withdraws=[refuted.verdict_id])
        return judged.failure

    def cycle(self, errors: dict[str, BackupFault], fallback: str, always: BackupFault | None) -> None:
        """Run a cycle: *errors* are defects of backups, *always* is a cause outside that each replay meets."""
        run, attempt, base = self.run(), REPLAY, choose_base(self.catalog).base
        while base:
            error = errors.get(base.backup_id) or always
            if error is None:
                self.publish(run, base.backup_id)
                return
            failure = self.fail(error, base.backup_id, run=run, attempt=attempt)
            step = next_step(attempt, failure.blame, fallback=fallback)
            if step.attempt is None:
                return
            attempt, base = step.attempt, choose_base(self.catalog).base if step.attempt == OLDER else None
        self.publish(run)

    def _record(self, outcome: Outcome, run: str, attempt: str, backup_id: str, **fields: object) -> None:
        verdict_id = f"v{len(self.verdicts)}"
        self.verdicts.append(
            Verdict(
                verdict_id=verdict_id,
                at=self._later(),
                cluster="orders",
                outcome=outcome,
                run=run,
                attempt=attempt,
                backup_id=backup_id,
                **fields,  # type: ignore[arg-type]
            )
        )

    def _later(self) -> datetime:
        self.now += timedelta(hours=1)
        return self.now


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (conflict("4"), conflict("4", after="0-1-9"), True),
        (conflict("4"), conflict("5"), False),
        (rows("1", "2"), rows("1", "2"), True),
        (rows("1"), rows("2"), False),
        (rows("1"), rows("1", table="shop.notes"), False),
        (damaged(a="page 7: Corrupt"), damaged(a="page 7: Corrupt"), True),
        (damaged(a="Corrupt"), damaged(b="Corrupt"), False),
        (FileMissing("at 7: /x/n1/data/shop/a.ibd"), FileMissing("at 8: /x/n2/data/shop/a.ibd"), True),
        (FileMissing("missing ./shop/a.ibd"), FileMissing("missing ./shop/b.ibd"), False),
        (ErrorLogDirty("page 12 of space 4"), ErrorLogDirty("page 13 of space 4"), True),
        (
            ErrantFromNode("x", evidence={"gtid": "0-9-1"}),
            ErrantFromNode("x", evidence={"gtid": "0-9-2"}),
            False,
        ),
        (
            AssertionFailed("a", evidence={"assertion": "fresh", "observed": "1"}),
            AssertionFailed("b", evidence={"assertion": "fresh", "observed": "2"}),
            True,
        ),
    ],
)
def test_when_two_failures_have_the_same_cause(one: BackupFault, other: BackupFault, *, same: bool) -> None:
    assert (causes(Failure.of(one)) == causes(Failure.of(other))) is same


@pytest.mark.parametrize("error", [ChunkCorrupt("chunk 1"), PositionMismatch("elsewhere")])
def test_damage_in_the_store_counts_for_each_backup(error: BackupFault) -> None:
    history = History()
    first, second = history.publish("a"), history.publish("b")
    for backup in (first, second):
        assert history.fail(error, backup).blame is Blame.BACKUP
    assert {history.state(b) for b in (first, second)} == {BackupState.QUARANTINED}


def test_a_second_base_clears_the_first() -> None:
    history = History()
    old = history.publish("a")
    new = history.publish("b", old)
    run = history.run()
    assert history.fail(conflict("4"), new, run=run).blame is Blame.BACKUP
    assert history.state(new) is BackupState.QUARANTINED
    failure = history.fail(conflict("4", after="0-1-3"), old, run=run, attempt=OLDER)
    assert (failure.code, failure.retryable) == ("NotReplayable", False)
    assert new in failure.message
    assert history.state(new) is BackupState.HEALTHY
    assert history.state(old) is BackupState.STRANDED
    base = choose_base(history.catalog).base
    assert base is not None
    assert base.backup_id == new


def test_a_cause_that_a_fresh_full_does_not_cure_is_named_once() -> None:
    for error, code in ((damaged(dst="discarded"), "CauseRemains"), (rows("1"), "SourceDrift")):
        history = History()
        base, seen = history.publish("a"), []
        for _ in range(4):
            run = history.run()
            failure = history.fail(error, base, run=run)
            seen.append(failure.code)
            if failure.blame in (Blame.BACKUP, Blame.STRANDED):
                base = history.publish(run)
        assert seen == [error.code, code, "NotReplayable", "NotReplayable"]
        assert [b for b in history.catalog.backups if b.state is BackupState.QUARANTINED] == []


def test_another_row_of_the_same_table_after_a_fresh_full_is_the_primarys_drift() -> None:
    history = History()
    base, run = history.publish("a"), history.run()
    history.fail(rows("1"), base, run=run)
    full = history.publish(run)
    failure = history.fail(rows("2"), full)
    assert (failure.code, failure.blame) == ("SourceDrift", Blame.SOURCE)
    assert {history.state(b) for b in (base, full)} == {BackupState.HEALTHY}


def test_the_proof_of_a_new_backup_strands_nothing() -> None:
    history = History()
    base, run = history.publish("a"), history.run()
    history.fail(damaged(dst="discarded"), base, run=run)
    full = history.publish(run)
    failure = history.fail(damaged(dst="discarded"), full, run=run, attempt=PROVE)
    assert (failure.code, failure.blame) == ("CauseRemains", Blame.ENVIRONMENT)
    assert {history.state(b) for b in (base, full)} == {BackupState.HEALTHY}


def test_a_fresh_full_clears_what_an_earlier_run_said() -> None:
    history = History()
    base = history.publish("a")
    history.fail(conflict("4"), base)
    failure = history.fail(conflict("4"), "", attempt=FULL)
    assert failure.code == "ReplayConflict"
    assert history.state(base) is BackupState.HEALTHY


events = st.sampled_from("12")
outside = st.one_of(st.none(), events.map(conflict), events.map(lambda n: damaged(**{f"t{n}": "discarded"})))
#: in each cycle: the cause outside, whether the newest backup has a defect of its own, the fallback
cycles = st.lists(
    st.tuples(outside, st.booleans(), st.sampled_from(["full", "older_base"])), min_size=1, max_size=12
)


@given(cycles)
def test_for_every_cause_at_most_one_backup_stands_quarantined(
    nights: list[tuple[BackupFault | None, bool, str]],
) -> None:
    history = History()
    defects: dict[str, BackupFault] = {}
    history.publish("a")
    for always, broken, fallback in nights:
        base = choose_base(history.catalog).base
        if broken and base:
            defects[base.backup_id] = rows(base.backup_id, table=f"shop.{base.backup_id}")
        before = {b.backup_id: b.state for b in history.catalog.backups}
        history.cycle(defects, fallback, always)
        standing = [b for b in history.catalog.backups if b.state is BackupState.QUARANTINED]
        blamed = [causes(v.failure) for b in standing for v in b.against if v.failure]
        assert len(frozenset[str]().union(*blamed)) == sum(map(len, blamed)), "a cause costs two backups"
        # A real defect is held against its backup as long as nobody else has it.
        used = {v.backup_id for v in history.verdicts if v.outcome is Outcome.QUARANTINED}
        assert {b for b in defects if b in used} <= {b.backup_id for b in standing}
        for backup in history.catalog.backups:
            if (
                before.get(backup.backup_id) is BackupState.QUARANTINED
                and backup.state is BackupState.HEALTHY
            ):
                assert choose_base(history.catalog, base_backup_id=backup.backup_id).base == backup
    assert choose_base(history.catalog).base is not None or history.manifests


@given(st.permutations("abcd"))
def test_defects_of_several_backups_are_held_against_each(order: list[str]) -> None:
    history = History()
    for name in order:
        history.publish(name)
    for number, backup in enumerate(history.catalog.backups):
        assert history.fail(rows(str(number)), backup.backup_id).blame is Blame.BACKUP
    assert {b.state for b in history.catalog.backups} == {BackupState.QUARANTINED}
