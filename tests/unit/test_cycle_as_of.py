"""The decisions of runs as of a past time, over catalogs made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from airflow_restore_replay.core.decisions.choose import Choice, choose_base, choose_base_as_of
from airflow_restore_replay.core.decisions.diagnose import Diagnosis, Next, diagnose
from airflow_restore_replay.core.decisions.freshness import freshness
from airflow_restore_replay.core.errors import (
    BinlogPurged,
    ChunkCorrupt,
    NoSuchBackup,
    PreflightFailed,
    PrimaryUnreachable,
    RestoreReplayError,
)
from airflow_restore_replay.core.flavor.values import EventStamp
from airflow_restore_replay.core.jobs.point_in_time import counts_from
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import Manifest, Outcome
from airflow_restore_replay.core.times import truncate_to_seconds
from tests.unit.test_cycle_decisions import NEW, NOON, OLD, RUN, catalog, manifest, verdict


class TestChooseBaseAsOf:
    """OLD is 48 hours old, NEW 24."""

    def choose(self, manifests: list[Manifest], hours_ago: float, **options: object) -> Choice:
        verdicts = options.pop("verdicts", None)
        as_of = NOON - timedelta(hours=hours_ago)
        return choose_base_as_of(catalog(manifests, verdicts), as_of, now=NOON, **options)  # type: ignore[arg-type]

    @pytest.mark.parametrize(("hours_ago", "base"), [(1, "new"), (24, "new"), (25, "old"), (48, "old")])
    def test_newest_from_before_that_time(self, hours_ago: float, base: str) -> None:
        assert self.choose([NEW, OLD], hours_ago).base.backup_id == base  # type: ignore[union-attr]

    def test_a_backup_whose_data_is_later_than_its_goal_is_no_base(self) -> None:
        """The comparison took it on, past the boundary: its last event's stamp shows that."""
        later = NOON - timedelta(hours=22)
        event = EventStamp(
            domain="0", gtid="0-1-9", timestamp_s=int(later.timestamp()), digest="", primary_uid=""
        )
        new = msgspec.structs.replace(NEW, chains=[event])
        assert self.choose([OLD, new], 23).base.backup_id == "old"  # type: ignore[union-attr]
        assert self.choose([OLD, new], 22).base.backup_id == "old"  # type: ignore[union-attr]
        assert self.choose([OLD, new], 21).base.backup_id == "new"  # type: ignore[union-attr]

    def test_never_a_full_but_a_failure_that_names_what_is_missing(self) -> None:
        with pytest.raises(
            NoSuchBackup, match="the oldest healthy backup, old, is from 2026-08-19T12:00:00Z"
        ):
            self.choose([OLD, NEW], 49)
        with pytest.raises(NoSuchBackup, match="orders has no healthy proven backup"):
            self.choose([], 1)
        stained = [verdict(Outcome.QUARANTINED, "old")]
        with pytest.raises(NoSuchBackup, match=r"backup, new, is from .* \(1 others were skipped\)"):
            self.choose([OLD, NEW], 30, verdicts=stained)

    def test_base_by_name(self) -> None:
        assert self.choose([OLD, NEW], 1, base_backup_id="old").base.backup_id == "old"  # type: ignore[union-attr]
        with pytest.raises(NoSuchBackup, match="new is not from before"):
            self.choose([OLD, NEW], 30, base_backup_id="new")

    def test_what_cannot_be(self) -> None:
        with pytest.raises(PreflightFailed, match=r"13:00:00Z is not past yet: it is 2026-08-21T12:00:00Z"):
            self.choose([OLD], -1)
        with pytest.raises(PreflightFailed, match="fresh full holds today's data"):
            self.choose([OLD], 1, force_full=True)

    def test_no_second_backup_of_one_time(self) -> None:
        first = msgspec.structs.replace(manifest("first", age_h=30), as_of=NOON - timedelta(hours=30))
        choice = self.choose([OLD, first, NEW], 30)
        assert (choice.base, choice.existing and choice.existing.backup_id) == (None, "first")
        assert "already there" in choice.reason
        again = self.choose([OLD, first, NEW], 30, verdicts=[verdict(Outcome.QUARANTINED, "first")])
        assert again.existing is None
        assert again.base is not None
        assert again.base.backup_id == "old"
        assert self.choose([OLD, first, NEW], 29).base.backup_id == "first"  # type: ignore[union-attr]

    def test_a_rebuilt_backup_is_neither_fresh_nor_preferred(self) -> None:
        """It was made just now, of old data."""
        at = NOON - timedelta(hours=30)
        rebuilt = msgspec.structs.replace(NEW, backup_id="zz", as_of=at, goal_read_at=at, created_at=NOON)
        found = catalog([OLD, NEW, rebuilt])
        assert choose_base(found).base.backup_id == "new"  # type: ignore[union-attr]
        assert freshness(found, now=NOON).age_s == 24 * 3600
        assert freshness(catalog([OLD, rebuilt]), now=NOON).age_s == 30 * 3600

    def test_a_usual_backup_taken_across_that_time_is_preferred(self) -> None:
        """Its goal is older, but the comparison took its data on beyond that time, perhaps."""
        at = NEW.goal_read_at + timedelta(minutes=5)
        rebuilt = msgspec.structs.replace(OLD, backup_id="zz", as_of=at, goal_read_at=at, created_at=NOON)
        took_long = msgspec.structs.replace(NEW, created_at=at + timedelta(minutes=5))
        assert choose_base(catalog([OLD, took_long, rebuilt])).base.backup_id == "new"  # type: ignore[union-attr]
        assert freshness(catalog([OLD, took_long, rebuilt]), now=NOON).age_s == 24 * 3600
        assert choose_base(catalog([OLD, NEW, rebuilt])).base.backup_id == "zz"  # type: ignore[union-attr]
        assert freshness(catalog([OLD, NEW, rebuilt]), now=NOON).age_s == 24 * 3600 - 300

    def test_times_are_whole_seconds_in_utc(self) -> None:
        east = timezone(timedelta(hours=5, minutes=45))
        assert truncate_to_seconds(datetime(2026, 8, 21, 8, 45, 0, 999, tzinfo=east)) == datetime(
            2026, 8, 21, 3, tzinfo=UTC
        )
        assert truncate_to_seconds(datetime(2026, 8, 21, 8, 45, tzinfo=east)).tzinfo is UTC


@pytest.mark.parametrize(("ahead_s", "hour"), [(0.0, 3), (1.5, 3), (-3600.0, 3), (3600.0, 2)])
def test_age_counts_by_our_clock_when_the_primarys_is_ahead(ahead_s: float, hour: int) -> None:
    """What it stamped 03:00 was written at 02:00; never the other way, which would make it look fresher."""
    as_of = datetime(2026, 8, 21, 3, tzinfo=UTC)
    assert counts_from(as_of, ahead_s) == datetime(2026, 8, 21, hour, tzinfo=UTC)


class TestDiagnoseAsOf:
    AS_OF = NOON - timedelta(hours=30)

    def diagnose(self, found: Catalog, *, had_base: bool = True) -> Diagnosis:
        return diagnose(found, run=RUN, had_base=had_base, as_of=self.AS_OF)

    @pytest.mark.parametrize("error", [ChunkCorrupt("x"), BinlogPurged("x"), PrimaryUnreachable("x")])
    def test_nothing_takes_a_bad_bases_place(self, error: RestoreReplayError) -> None:
        found = self.diagnose(catalog([OLD], [verdict(Outcome.QUARANTINED, "old", error=error)]))
        assert found.next is Next.FAIL
        assert found.failure is not None
        assert found.failure.code == error.code

    def test_no_base_is_no_reason_for_a_full(self) -> None:
        assert self.diagnose(catalog([]), had_base=False).next is Next.FAIL

    def test_only_the_backup_of_that_time_is_success(self) -> None:
        """A scheduled run that is backfilled again has its name, its records and its backup from before."""
        before = manifest("before", age_h=29, run=RUN, base="backup")
        records = [verdict(Outcome.PUBLISHED, published_id="before")]
        failed = verdict(Outcome.FAILED, error=PrimaryUnreachable("x"), verdict_id="z")
        assert self.diagnose(catalog([OLD, before], records)).next is Next.FAIL
        assert self.diagnose(catalog([OLD, before], [*records, failed])).failure is not None
        rebuilt = msgspec.structs.replace(before, backup_id="rebuilt", as_of=self.AS_OF)
        assert self.diagnose(catalog([OLD, before, rebuilt], records)).next is Next.PUBLISHED
