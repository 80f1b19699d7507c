"""What retention keeps, and what it may never delete."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_restore_replay.core.config.cluster import parse_clusters
from airflow_restore_replay.core.config.sections import Retention
from airflow_restore_replay.core.config.units import Seconds
from airflow_restore_replay.core.errors import ConfigInvalid
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import (
    BaseRef,
    Manifest,
    Outcome,
    Proof,
    Sizes,
    Verdict,
)
from airflow_restore_replay.core.repository.pruning.retention import plan_retention

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
#: one backup a run
EPOCHS = itertools.count(1)
SIZES = Sizes(total_bytes=9, new_bytes=0, reused_bytes=0, zero_bytes=0, stored_bytes=0, files=0, new_chunks=0)


def backup(age: timedelta, name: str = "", **fields: Any) -> Manifest:
    at = NOW - age
    values: dict[str, Any] = {
        "backup_id": name or f"{at:%Y%m%dT%H%M%SZ}",
        "cluster": "orders",
        "flavor": "mariadb",
        "server_release": "10.11.14",
        "created_at": at,
        "run": "r",
        "lease_epoch": next(EPOCHS),
        "base": BaseRef(kind="seed", method="logical"),
        "position": "0-1-1",
        "goal": "0-1-1",
        "goal_read_at": at,
        "chunk_size_bytes": 4096,
        "file_list": "0" * 64,
        "sizes": SIZES,
    }
    return Manifest(**(values | fields))


def verdict(name: str, outcome: Outcome, backup_id: str, age: timedelta, **fields: Any) -> Verdict:
    return Verdict(
        verdict_id=name,
        at=NOW - age,
        cluster="orders",
        run="r",
        outcome=outcome,
        backup_id=backup_id,
        **fields,
    )


def days(*ages: float) -> list[Manifest]:
    return [backup(timedelta(days=age), f"d{age:g}") for age in ages]


def kept(manifests: list[Manifest], *verdicts: Verdict, timezone: str = "UTC", **policy: Any) -> set[str]:
    catalog = Catalog.of("orders", manifests, verdicts)
    plan = plan_retention(catalog, Retention(**({"min_count": 1} | policy)), now=NOW, timezone=timezone)
    assert not plan.keep.keys() & plan.delete.keys()
    assert plan.keep.keys() | plan.delete.keys() == {m.backup_id for m in manifests}
    return set(plan.keep)


def test_without_a_rule_every_backup_is_kept() -> None:
    quarantined = verdict("v1", Outcome.QUARANTINED, "d3000", timedelta(days=2999))
    assert kept(days(3, 30, 3000), quarantined) == {"d3", "d30", "d3000"}


def test_last() -> None:
    assert kept(days(3, 4, 5, 6), last=2) == {"d3", "d4"}


def test_keep_within_counts_from_the_newest() -> None:
    assert kept(days(100, 104, 106), keep_within=Seconds("5d")) == {"d100", "d104"}


def test_daily_keeps_the_newest_of_each_day_that_has_one() -> None:
    manifests = days(3, 3.2, 4, 9, 9.1, 12)
    assert kept(manifests, daily=3) == {"d3", "d4", "d9"}


def test_weekly_and_monthly_add_up() -> None:
    assert kept(days(3, 10, 17, 45, 80), weekly=2, monthly=3) == {"d3", "d10", "d45", "d80"}


def test_the_clusters_timezone_says_what_a_day_is() -> None:
    # 2026-11-17 23:30 and 2026-11-18 00:30 UTC are the same day in Kiritimati (UTC+14), not in UTC.
    manifests = days(3 + 12.5 / 24, 3 + 11.5 / 24)
    newest = days(2.4)
    assert len(kept([*newest, *manifests], daily=3)) == 3
    assert len(kept([*newest, *manifests], daily=3, timezone="Pacific/Kiritimati")) == 2


def test_an_hour_that_a_clock_change_repeats_is_two_hours() -> None:
    # Berlin, 2026-10-25: 00:30Z and 01:30Z are both 02:30 local time.
    twice = [backup(NOW - datetime(2026, 10, 25, hour, 30, tzinfo=UTC), f"h{hour}") for hour in (0, 1)]
    assert kept(twice, hourly=2, timezone="Europe/Berlin") == {"h0", "h1"}


def test_min_count_is_of_healthy_proven_backups() -> None:
    manifests = [*days(4, 5, 6), backup(timedelta(days=3), "unproven", proof=Proof.UPLOADED)]
    bad = verdict("v1", Outcome.QUARANTINED, "d4", timedelta(days=3))
    assert kept(manifests, bad, last=1, min_count=2) == {"unproven", "d4", "d5", "d6"}


def test_quarantined_and_unproven_have_their_own_keep_time() -> None:
    manifests = [*days(3, 50, 60), backup(timedelta(days=100), "unproven", proof=Proof.UPLOADED)]
    lately = verdict("v1", Outcome.QUARANTINED, "d50", timedelta(days=9))
    long_ago = verdict("v2", Outcome.QUARANTINED, "d60", timedelta(days=11))
    assert kept(manifests, lately, long_ago, last=1, quarantined_within=Seconds("10d")) == {"d3", "d50"}


def test_stranded_is_protected_until_released() -> None:
    stranded = verdict("v1", Outcome.STRANDED, "d500", timedelta(days=499))
    released = verdict("v2", Outcome.WITHDRAWN, "d500", timedelta(days=1), withdraws=["v1"])
    assert kept(days(3, 500), stranded, last=1) == {"d3", "d500"}
    also = verdict("v3", Outcome.QUARANTINED, "d500", timedelta(days=499))
    assert kept(days(3, 500), stranded, also, last=1) == {"d3", "d500"}
    assert kept(days(3, 500), stranded, released, last=1) == {"d3"}


def test_a_hold_protects_all_healthy_backups() -> None:
    hold = verdict("v1", Outcome.HELD, "", timedelta(days=1))
    assert kept(days(3, 10, 20), hold, last=1) == {"d3", "d10", "d20"}


def test_the_newest_restored_backup_is_kept() -> None:
    restored = [verdict(f"v{n}", Outcome.RESTORED, f"d{n}", timedelta(days=1)) for n in (20, 30)]
    assert kept(days(3, 20, 30), *restored, last=1) == {"d3", "d20"}


def test_nothing_younger_than_the_grace_period_goes() -> None:
    assert kept(days(0.5, 1, 1.9, 2.1), last=1, grace=Seconds("2d")) == {"d0.5", "d1", "d1.9"}


def test_an_unreadable_record_keeps_everything() -> None:
    catalog = Catalog.of("orders", days(3, 30), [], {"verdicts/x.json": "it is not JSON"})
    assert plan_retention(catalog, Retention(last=1, min_count=1), now=NOW).delete == {}


POLICY = Retention(daily=14, weekly=8, monthly=12, last=3, min_count=5)
A_DAY = timedelta(days=1)


def real() -> list[Manifest]:
    """:returns: daily backups, as they stand before somebody writes manifests of their own."""
    return [backup(n * A_DAY + timedelta(hours=9), f"real-{n:02}") for n in range(18)]


def plan_of(manifests: list[Manifest], verdicts: list[Verdict], stored: dict[str, datetime]) -> set[str]:
    """:returns: ids that retention keeps; *stored* where the store's time is another than the manifest's."""
    catalog = Catalog.of(
        "orders", manifests, verdicts, stored={m.backup_id: m.created_at for m in manifests} | stored
    )
    return set(plan_retention(catalog, POLICY, now=NOW).keep)


@pytest.mark.parametrize("restored", [False, True], ids=["unproven", "with-forged-verdicts"])
@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(
            lambda n: {"created_at": NOW - 3 * A_DAY, "goal_read_at": NOW + (365 * 73 + n) * A_DAY},
            id="goals-in-the-future",
        ),
        pytest.param(
            lambda n: {"created_at": NOW - n * A_DAY, "goal_read_at": NOW - n * A_DAY}, id="made-in-the-past"
        ),
        pytest.param(
            lambda n: {"created_at": NOW + A_DAY / 9, "goal_read_at": NOW - n * A_DAY},
            id="made-later-than-stored",
        ),
        pytest.param(
            lambda n: {"created_at": NOW, "goal_read_at": NOW - n * A_DAY, "as_of": NOW - n * A_DAY},
            id="as-of-every-day",
        ),
        pytest.param(
            lambda n: {"created_at": NOW, "goal_read_at": NOW - n * A_DAY}, id="of-runs-that-took-weeks"
        ),
    ],
)
def test_x12_manifests_of_who_can_only_create_displace_nothing(
    forge: Callable[[int], dict[str, datetime]], restored: bool
) -> None:
    good = real()
    before = plan_of(good, [], {})
    forged = [backup(timedelta(), f"forged-{n:02}", **forge(n)) for n in range(100)]
    verdicts = [
        verdict(f"v{m.backup_id}", Outcome.RESTORED, m.backup_id, timedelta()) for m in forged if restored
    ]
    after = plan_of([*good, *forged], verdicts, {m.backup_id: NOW for m in forged})
    assert before - after == set()


def test_x12_newer_unproven_backups_displace_no_restored_ones() -> None:
    good = real()
    verdicts = [verdict(f"v{m.backup_id}", Outcome.RESTORED, m.backup_id, A_DAY) for m in good]
    before = plan_of(good, verdicts, {})
    quick = [backup(timedelta(minutes=n), f"quick-{n:02}") for n in range(30)]
    assert before - plan_of([*good, *quick], verdicts, {}) == set()


def test_x12_a_second_manifest_of_a_run_is_kept_and_not_counted() -> None:
    good = real()
    twins = [
        backup(timedelta(minutes=n), f"twin-{n:02}", lease_epoch=m.lease_epoch)
        for n, m in enumerate(good[:10])
    ]
    catalog = Catalog.of("orders", [*good, *twins], [])
    plan = plan_retention(catalog, POLICY, now=NOW)
    assert set(plan.doubtful) == {m.backup_id for m in twins}
    assert plan.doubtful["twin-00"] == f"its run (epoch {good[0].lease_epoch}) published real-00 before"
    assert plan.keep.keys() >= plan_of(good, [], {}) | set(plan.doubtful)


def test_a_repository_that_was_copied_to_another_store_is_pruned_as_before() -> None:
    """There, all manifests are younger by the store's clock than by their own."""
    good = real()
    copied = {m.backup_id: NOW - timedelta(hours=1) for m in good}
    assert plan_of(good, [], copied) == plan_of(good, [], {})
    newer = [backup(timedelta(minutes=5), "newer")]
    assert plan_of([*newer, *good], [], copied) == plan_of([*newer, *good], [], {})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("min_count", 0),
        ("most_deleted", 0),
        ("last", -1),
        ("daily", "two"),
        ("keep_within", "-1h"),
        ("grace", "59m"),
        ("keep", 3),
    ],
)
def test_p2_wrong_values_are_refused_by_name(key: str, value: object) -> None:
    cluster = {"primary": {}, "repository": {"url": "file:///x"}, "retention": {key: value}}
    with pytest.raises(ConfigInvalid, match=key):
        parse_clusters({"clusters": {"orders": cluster}})


counts = st.integers(0, 4)
policies = st.builds(
    Retention,
    keep_within=st.none() | st.floats(3600, 86400 * 40).map(Seconds),
    last=counts,
    hourly=counts,
    daily=counts,
    weekly=counts,
    monthly=counts,
    min_count=st.integers(1, 5),
)
manifests_of_any_age = st.lists(st.integers(0, 3000), unique=True, max_size=25).map(
    lambda ages: [
        backup(timedelta(hours=age), f"h{age}", proof=Proof.UPLOADED if age % 7 == 3 else Proof.READ_BACK)
        for age in ages
    ]
)
outcomes = st.sampled_from([Outcome.QUARANTINED, Outcome.STRANDED, Outcome.RESTORED])


@given(manifests_of_any_age, st.dictionaries(st.integers(0, 3000), outcomes, max_size=10), policies)
def test_p3_never_below_min_count_and_never_anything_protected(
    manifests: list[Manifest], spoken: dict[int, Outcome], policy: Retention
) -> None:
    verdicts = [verdict(f"v{age}", o, f"h{age}", timedelta(hours=1)) for age, o in spoken.items()]
    catalog = Catalog.of("orders", manifests, verdicts)
    plan = plan_retention(catalog, policy, now=NOW)
    healthy = [b.backup_id for b in catalog.healthy()]
    left = [i for i in healthy if i in plan.keep]
    assert len(left) >= min(policy.min_count, len(healthy))
    assert healthy[-policy.min_count :] == left[-policy.min_count :], "the newest ones"
    for gone in plan.delete:
        found = catalog.backup(gone)
        assert NOW - found.manifest.created_at >= timedelta(seconds=policy.grace)
        assert not any(v.outcome is Outcome.STRANDED for v in found.against)


@given(manifests_of_any_age, policies)
def test_what_was_decided_stays_decided(manifests: list[Manifest], policy: Retention) -> None:
    """Pruning twice is pruning once."""
    catalog = Catalog.of("orders", manifests, [])
    plan = plan_retention(catalog, policy, now=NOW)
    left = [m for m in manifests if m.backup_id in plan.keep]
    again = plan_retention(Catalog.of("orders", left, []), policy, now=NOW)
    assert again.delete == {}
    assert again.keep == plan.keep
