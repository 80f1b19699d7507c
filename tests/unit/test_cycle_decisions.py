"""The cycle's decisions, over catalogs made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from airflow_restore_replay.core.config.sections import FullEvery
from airflow_restore_replay.core.config.units import Seconds
from airflow_restore_replay.core.decisions.attempts import (
    ATTEMPTS,
    FULL,
    OLDER,
    PROVE,
    REPLAY,
    Step,
    next_step,
)
from airflow_restore_replay.core.decisions.causes import differed_before, judge
from airflow_restore_replay.core.decisions.choose import choose_base
from airflow_restore_replay.core.decisions.diagnose import Next, diagnose
from airflow_restore_replay.core.decisions.freshness import freshness
from airflow_restore_replay.core.decisions.holds import holds, released
from airflow_restore_replay.core.errors import (
    BinlogPurged,
    Blame,
    ChunkCorrupt,
    DataMismatch,
    Held,
    NoSuchBackup,
    PrimaryUnreachable,
    ReplayConflict,
    RestoreReplayError,
    SourceCorrupt,
    SourceShrank,
    TableCheckFailed,
)
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import (
    BaseRef,
    Manifest,
    Outcome,
    Proof,
    Sizes,
    Verdict,
)

NOON = datetime(2026, 8, 21, 12, tzinfo=UTC)
RUN = "orders/run-7"


def manifest(name: str, *, age_h: float, run: str = "other", base: str = "seed") -> Manifest:
    at = NOON - timedelta(hours=age_h)
    return Manifest(
        backup_id=name,
        cluster="orders",
        flavor="mariadb",
        server_release="10.11.1",
        created_at=at,
        run=run,
        lease_epoch=1,
        base=BaseRef(kind=base),
        position="0-1-1",
        goal="0-1-1",
        goal_read_at=at,
        chunk_size_bytes=4 * 2**20,
        file_list="x",
        sizes=Sizes(
            total_bytes=1, new_bytes=1, reused_bytes=0, zero_bytes=0, stored_bytes=1, files=1, new_chunks=1
        ),
    )


def verdict(outcome: Outcome, backup_id: str = "", **fields: object) -> Verdict:
    error = fields.pop("error", None)
    failure = Failure.of(error) if isinstance(error, RestoreReplayError) else None
    defaults: dict[str, object] = {
        "verdict_id": f"v-{outcome}-{backup_id}",
        "at": NOON,
        "cluster": "orders",
        "run": RUN,
        "attempt": "replay",
    }
    return Verdict(outcome=outcome, backup_id=backup_id, failure=failure, **{**defaults, **fields})  # type: ignore[arg-type]


def catalog(manifests: list[Manifest], verdicts: list[Verdict] | None = None, **kw: object) -> Catalog:
    return Catalog.of("orders", manifests, verdicts or [], **kw)  # type: ignore[arg-type]


OLD, NEW = manifest("old", age_h=48), manifest("new", age_h=24)


class TestChooseBase:
    def test_newest_healthy(self) -> None:
        assert choose_base(catalog([NEW, OLD])).base.backup_id == "new"  # type: ignore[union-attr]

    @pytest.mark.parametrize("outcome", [Outcome.QUARANTINED, Outcome.STRANDED])
    def test_excluded_backups_are_passed_over_and_named(self, outcome: Outcome) -> None:
        choice = choose_base(catalog([OLD, NEW], [verdict(outcome, "new")]))
        assert choice.base is not None
        assert choice.base.backup_id == "old"
        assert choice.skipped == {"new": outcome.value}

    def test_withdrawn_quarantine_does_not_count(self) -> None:
        against = verdict(Outcome.QUARANTINED, "new")
        back = verdict(Outcome.WITHDRAWN, "new", withdraws=[against.verdict_id])
        for order in ([against, back], [back, against]):
            assert choose_base(catalog([OLD, NEW], order)).base.backup_id == "new"  # type: ignore[union-attr]

    def test_restored_does_not_lift_a_quarantine(self) -> None:
        verdicts = [verdict(Outcome.QUARANTINED, "new"), verdict(Outcome.RESTORED, "new")]
        assert choose_base(catalog([OLD, NEW], verdicts)).base.backup_id == "old"  # type: ignore[union-attr]

    def test_no_base(self) -> None:
        assert choose_base(catalog([])).base is None
        assert choose_base(catalog([NEW]), force_full=True).base is None

    def test_unreadable_records_are_reported(self) -> None:
        choice = choose_base(catalog([OLD], unreadable={"manifests/new.json": "truncated"}))
        assert choice.skipped == {"manifests/new.json": "unreadable: truncated"}

    def test_damaged_verdict_casts_doubt_on_backups_older_than_it(self) -> None:
        old, new = manifest("20260820T030000Z-aa", age_h=33), manifest("20260821T030000Z-bb", age_h=9)
        between = {"verdicts/20260820T040000Z-cc.json": "truncated"}
        choice = choose_base(catalog([old, new], unreadable=between))
        assert choice.base is not None
        assert choice.base.backup_id == new.backup_id
        assert old.backup_id in choice.skipped
        after = {"verdicts/20260821T040000Z-cc.json": "truncated"}
        assert choose_base(catalog([old, new], unreadable=after)).base is None
        nameless = {"verdicts/x.json": "not a record's name"}
        assert choose_base(catalog([old, new], unreadable=nameless)).base is None

    def test_named_base_must_exist_and_be_healthy(self) -> None:
        stained = catalog([OLD, NEW], [verdict(Outcome.QUARANTINED, "old")])
        assert choose_base(stained, base_backup_id="new").base.backup_id == "new"  # type: ignore[union-attr]
        with pytest.raises(NoSuchBackup, match="quarantined"):
            choose_base(stained, base_backup_id="old")
        with pytest.raises(NoSuchBackup, match="no readable backup nix"):
            choose_base(stained, base_backup_id="nix")

    def test_before_a_time(self) -> None:
        choice = choose_base(catalog([OLD, NEW]), before=NOON - timedelta(hours=30))
        assert choice.base.backup_id == "old"  # type: ignore[union-attr]


class TestHolds:
    HOLD = verdict(Outcome.HELD, error=SourceCorrupt("page 7 of shop.orders"))

    def test_nothing_is_chosen_while_a_hold_stands(self) -> None:
        held = catalog([OLD, NEW], [self.HOLD])
        for options in ({}, {"force_full": True}, {"base_backup_id": "new"}):
            with pytest.raises(Held, match="page 7 of shop.orders") as refusal:
                choose_base(held, **options)
            assert f"--hold {self.HOLD.verdict_id}" in refusal.value.hint

    def test_a_released_hold_is_past(self) -> None:
        release = verdict(Outcome.WITHDRAWN, verdict_id="w", withdraws=[self.HOLD.verdict_id])
        later = catalog([OLD, NEW], [self.HOLD, release])
        assert choose_base(later).base.backup_id == "new"  # type: ignore[union-attr]
        assert released(later, "SourceCorrupt", NOON - timedelta(hours=1)) == [self.HOLD]
        assert released(later, "SourceCorrupt", NOON) == []
        assert released(later, "SourceShrank", None) == []

    @pytest.mark.parametrize(
        ("error", "step", "expected"),
        [
            (SourceCorrupt("a page"), "validate", True),
            (SourceCorrupt("a dump"), "seed", True),
            (SourceCorrupt("a binary log"), "catch_up", False),
            (TableCheckFailed("after a full", blame=Blame.SOURCE), "validate", True),
            (TableCheckFailed("of a base"), "validate", False),
            (SourceShrank("nothing left"), "validate", True),
            (PrimaryUnreachable("down"), "validate", False),
        ],
    )
    def test_what_holds(self, error: RestoreReplayError, step: str, expected: bool) -> None:
        assert holds(Failure.of(error), step) is expected


class TestFullEvery:
    def chain(self) -> Catalog:
        """A full of 90 hours ago, and three generations since."""
        names = [("full", 90.0, "seed"), ("a", 60.0, "full"), ("b", 40.0, "a"), ("c", 20.0, "b")]
        made = []
        for depth, (name, age_h, base) in enumerate(names):
            ref = BaseRef(kind="seed") if base == "seed" else BaseRef(kind="backup", backup_id=base)
            made.append(msgspec.structs.replace(manifest(name, age_h=age_h), base=ref, lineage_depth=depth))
        return catalog(made)

    @pytest.mark.parametrize(
        ("policy", "due"),
        [
            ({}, ""),
            ({"generations": 4}, ""),
            ({"generations": 3}, "3 backups were made since the last"),
            ({"age": Seconds("91h")}, ""),
            ({"age": Seconds("90h")}, "the last is 3d18h old"),
        ],
    )
    def test_a_lineage_ends(self, policy: dict[str, object], due: str) -> None:
        choice = choose_base(self.chain(), full_every=FullEvery(**policy), now=NOON)  # type: ignore[arg-type]
        assert (choice.base is None) == bool(due)
        assert due in choice.reason

    def test_its_age_is_known_without_its_first_backups(self) -> None:
        newest = self.chain().manifests[-1]
        newest = msgspec.structs.replace(newest, lineage_since=NOON - timedelta(hours=90))
        alone = catalog([newest])
        assert choose_base(alone, full_every=FullEvery(age=Seconds("89h")), now=NOON).base is None
        assert choose_base(alone, full_every=FullEvery(age=Seconds("91h")), now=NOON).base is not None

    def test_a_base_that_somebody_names_is_taken(self) -> None:
        policy = FullEvery(generations=1)
        choice = choose_base(self.chain(), base_backup_id="c", full_every=policy, now=NOON)
        assert choice.base is not None


class TestNextStep:
    @pytest.mark.parametrize(
        ("attempt", "blame", "fallback", "expected"),
        [
            (REPLAY, Blame.BACKUP, "full", Step(True, FULL)),
            (REPLAY, Blame.STRANDED, "full", Step(False, FULL)),
            (REPLAY, Blame.BACKUP, "older_base", Step(True, OLDER)),
            (REPLAY, Blame.STRANDED, "older_base", Step(False, OLDER)),
            (OLDER, Blame.BACKUP, "older_base", Step(True, FULL)),
            (OLDER, Blame.STRANDED, "older_base", Step(False, FULL)),
            (REPLAY, Blame.BACKUP, "none", Step(True, None)),
            (REPLAY, Blame.STRANDED, "none", Step(False, None)),
            (FULL, Blame.BACKUP, "full", Step(True, None)),
            (PROVE, Blame.BACKUP, "full", Step(True, None)),
            (REPLAY, Blame.SOURCE, "full", Step()),
            (REPLAY, Blame.ENVIRONMENT, "older_base", Step()),
        ],
    )
    def test_every_row(self, attempt: str, blame: Blame, fallback: str, expected: Step) -> None:
        assert next_step(attempt, blame, fallback=fallback) == expected

    def test_a_past_time_has_no_fallback(self) -> None:
        assert next_step(REPLAY, Blame.BACKUP, fallback="full", as_of=True) == Step()

    def test_no_attempt_follows_itself_or_an_earlier_one(self) -> None:
        order = list(ATTEMPTS)
        for attempt in order:
            for blame in Blame:
                for fallback in ("full", "older_base", "none"):
                    after = next_step(attempt, blame, fallback=fallback).attempt
                    assert after is None or order.index(after) > order.index(attempt)


class TestDiagnose:
    def test_without_a_fallback_a_stranded_base_ends_the_run(self) -> None:
        stranded = verdict(Outcome.STRANDED, "new", error=BinlogPurged("gone"))
        found = diagnose(catalog([NEW], [stranded]), run=RUN, had_base=True, fallback="none")
        assert (found.next, found.verdict) == (Next.FAIL, stranded)

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (ChunkCorrupt("x"), Next.QUARANTINE),
            (BinlogPurged("x"), Next.FULL),
            (SourceCorrupt("x"), Next.FAIL),
            (PrimaryUnreachable("x"), Next.FAIL),
        ],
    )
    def test_by_blame(self, error: RestoreReplayError, expected: Next) -> None:
        found = diagnose(catalog([OLD], [verdict(Outcome.FAILED, error=error)]), run=RUN, had_base=True)
        assert found.next is expected
        assert found.failure is not None

    def test_no_record_fails(self) -> None:
        assert diagnose(catalog([OLD]), run=RUN, had_base=True).next is Next.FAIL

    def test_other_runs_records_do_not_count(self) -> None:
        other = verdict(Outcome.QUARANTINED, "old", error=ChunkCorrupt("x"), run="orders/run-6")
        assert diagnose(catalog([OLD], [other]), run=RUN, had_base=True).next is Next.FAIL

    def test_without_base_a_full_follows(self) -> None:
        assert diagnose(catalog([]), run=RUN, had_base=False).next is Next.FULL

    def test_published_wins_over_an_earlier_failure(self) -> None:
        records = [
            verdict(Outcome.FAILED, error=PrimaryUnreachable("x"), at=NOON - timedelta(minutes=5)),
            verdict(Outcome.PUBLISHED, published_id="new"),
        ]
        assert diagnose(catalog([OLD, NEW], records), run=RUN, had_base=True).next is Next.PUBLISHED

    def test_manifest_alone_counts_as_published(self) -> None:
        mine = manifest("mine", age_h=0, run=RUN, base="backup")
        assert diagnose(catalog([OLD, mine]), run=RUN, had_base=True).next is Next.PUBLISHED

    def test_restored_base_alone_is_not_an_end(self) -> None:
        found = diagnose(catalog([OLD], [verdict(Outcome.RESTORED, "old")]), run=RUN, had_base=True)
        assert found.next is Next.FAIL


def test_same_fault_by_fingerprint() -> None:
    base = verdict(
        Outcome.QUARANTINED, "old", error=ChunkCorrupt("chunk 12 of 20260821T030000Z-aabb is broken")
    )
    alike = Failure.of(ChunkCorrupt("chunk 99 of 20260822T030000Z-ccdd is broken"))
    other = Failure.of(ChunkCorrupt("something else"))

    def withdrawn(failure: Failure, run: str) -> list[Verdict]:
        judged = judge(catalog([OLD], [base]), failure, run=run, attempt=FULL, base_id="")
        assert judged.failure is failure
        return list(judged.withdraw)

    assert withdrawn(alike, RUN) == [base]
    assert withdrawn(other, RUN) == []
    assert withdrawn(alike, "orders/run-8") == []


def test_a_table_that_differs_again_after_a_fresh_full() -> None:
    """By the lineage of the base, back to the full that a mismatch of the same table had made necessary."""
    mismatch = DataMismatch(
        "rows differ", evidence={"differences": [{"table": "shop.a"}], "missing_tables": ["b.c"]}
    )
    first = verdict(Outcome.QUARANTINED, "old", error=mismatch)
    full = manifest("full", age_h=20, run=RUN)
    later = msgspec.structs.replace(
        manifest("later", age_h=10), base=BaseRef(kind="backup", backup_id="full")
    )
    orphan = msgspec.structs.replace(
        manifest("orphan", age_h=9), base=BaseRef(kind="backup", backup_id="pruned")
    )
    found = catalog([OLD, full, later, orphan], [first])
    assert differed_before(found, "full", {"shop.a", "shop.b"}) == [first]
    assert differed_before(found, "later", {"b.c"}) == [first]
    assert differed_before(found, "later", {"shop.b"}) == []
    assert differed_before(found, "old", {"shop.a"}) == []
    assert differed_before(found, "orphan", {"shop.a"}) == []
    conflict = verdict(Outcome.QUARANTINED, "old", error=ReplayConflict("1032", evidence={"table": "shop.a"}))
    assert differed_before(catalog([OLD, full], [conflict]), "full", {"shop.a"}) == [conflict]


class TestFreshness:
    def test_age_counts_from_when_the_goal_was_read(self) -> None:
        assert freshness(catalog([OLD, NEW]), now=NOON).age_s == 24 * 3600

    def test_unknown_without_healthy_backup(self) -> None:
        stained = catalog([NEW], [verdict(Outcome.QUARANTINED, "new")])
        assert freshness(stained, now=NOON).age_s is None

    def test_proof(self) -> None:
        proven = catalog([OLD, NEW], [verdict(Outcome.RESTORED, "old")])
        assert freshness(proven, now=NOON, proof=Proof.RESTORED).age_s == 48 * 3600
