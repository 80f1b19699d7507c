"""P2, P6: many clusters in one file or a directory, with defaults; a mistake in one is named, and stops no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_restore_replay.core.config.cluster import Fleet, load_clusters, load_fleet
from airflow_restore_replay.core.config.reading import merged, parse_fleet
from airflow_restore_replay.core.config.schedule import refuse_jitter, staggered
from airflow_restore_replay.core.config.units import Seconds
from airflow_restore_replay.core.errors import ConfigInvalid


def section(host: str, **more: Any) -> dict[str, Any]:
    return {"primary": {"host": host}, "repository": {"url": f"file:///srv/{host}"}, **more}


def fleet(clusters: dict[str, Any], **top: Any) -> Fleet:
    return parse_fleet({"clusters": clusters, **top}, "clusters.yaml")


def told(found: Fleet) -> list[str]:
    return [f"{mistake} {mistake.hint}".strip() for mistake in found.mistakes]


def files(directory: Path, **content: Any) -> Path:
    for name, raw in content.items():
        text = raw if isinstance(raw, str) else yaml.safe_dump(raw)
        (directory / f"{name}.yaml").write_text(text)
    return directory


def test_p2_a_mistake_in_one_cluster_stops_that_one_and_is_named_with_its_path() -> None:
    found = fleet({"aa": section("aa"), "bb": section("bb", retention={"dayly": 3}), "cc": section("cc")})
    assert list(found.clusters) == ["aa", "cc"]
    assert found.names == ["aa", "bb", "cc"]
    (mistake,) = found.mistakes
    assert mistake.path == "clusters.bb.retention.dayly"
    assert mistake.clusters == ("bb",)
    assert mistake.hint == "Did you mean clusters.bb.retention.daily?"
    assert found.cluster("aa").primary.host == "aa"
    with pytest.raises(
        ConfigInvalid, match=r"unknown key clusters\.bb\.retention\.dayly; allowed here: keep"
    ):
        found.cluster("bb")
    with pytest.raises(ConfigInvalid, match=r"no cluster 'aaa'; it has: aa, bb, cc\.(.|\n)*Did you mean aa"):
        found.cluster("aaa")


def test_p2_all_mistakes_of_a_cluster_are_found_at_once() -> None:
    wrong = section("bb", nod={}, max_age="soon", seed={"method": "copy", "prefix": "ssh"})
    wrong["primary"] |= {"prt": 1, "port": 0}
    del wrong["repository"]
    found = fleet({"bb": wrong})
    assert sorted(m.path for m in found.mistakes) == [
        "clusters.bb",
        "clusters.bb.max_age",
        "clusters.bb.nod",
        "clusters.bb.primary.port",
        "clusters.bb.primary.prt",
        "clusters.bb.seed.method",
        "clusters.bb.seed.prefix",
    ]
    with pytest.raises(ConfigInvalid, match=r"And 6 more: `restore-replay config check` shows all"):
        found.cluster("bb")


@pytest.mark.parametrize(
    ("change", "path", "text"),
    [
        ({"timezone": "Europe/Berln"}, "timezone", "no time zone 'Europe/Berln'; near: Europe/Berlin"),
        ({"schedule": "61 3 * * *"}, "", "minute '61' is not between 0 and 59"),
        ({"name": "cc"}, "name", "unknown key clusters.bb.name"),
        (
            {"validate": {"assertions": [{"name": "a"}]}},
            "validate.assertions[0]",
            "missing required field `query`",
        ),
        ({"jitter": "30s"}, "", "jitter must be at least 2m"),
        ({"schedule": "50 23 1 * *", "jitter": "20m"}, "", "at most 10m is possible there"),
    ],
)
def test_p2_what_is_wrong_is_named(change: dict[str, Any], path: str, text: str) -> None:
    found = fleet({"aa": section("aa"), "bb": section("bb", **change)})
    assert list(found.clusters) == ["aa"]
    (mistake,) = found.mistakes
    assert mistake.path == ".".join(filter(None, ("clusters.bb", path)))
    assert text in mistake.text


def test_p2_a_mistake_has_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "clusters:\n  bb:\n    primary: {host: x}\n    repository: {url: 'file:///b'}\n"
        "    retention:\n      daily: 3\n      dayly: 3\n"
    )
    with pytest.raises(ConfigInvalid, match=r"c\.yaml:7: unknown key clusters\.bb\.retention\.dayly"):
        load_clusters(path)


def test_the_rule_of_defaults() -> None:
    default = {"a": {"x": 1, "y": {"z": 2}}, "list": [1, 2], "n": 5, "kept": 1}
    own: dict[str, Any] = {"a": {"y": {"w": 3}}, "list": [], "n": None, "new": {"q": 1}}
    assert merged(default, own) == {
        "a": {"x": 1, "y": {"z": 2, "w": 3}},
        "list": [],
        "n": None,
        "kept": 1,
        "new": {"q": 1},
    }
    found = fleet(
        {
            "aa": section("aa"),
            "bb": section("bb", schedule=None, retention={"daily": 2}, node={"readable": []}),
        },
        defaults={
            "primary": {"user": "backup"},
            "schedule": "0 1 * * *",
            "retention": {"daily": 7, "weekly": 4},
            "node": {"readable": ["/opt"]},
        },
    )
    aa, bb = found.cluster("aa"), found.cluster("bb")
    assert (aa.primary.user, aa.primary.host, aa.schedule, aa.retention.daily) == (
        "backup",
        "aa",
        "0 1 * * *",
        7,
    )
    assert (bb.schedule, bb.retention.daily, bb.retention.weekly, bb.node.readable) == (None, 2, 4, ())


def test_p2_a_mistake_in_the_defaults_is_named_there_once_and_stops_who_has_it() -> None:
    found = fleet(
        {"aa": section("aa"), "bb": section("bb"), "cc": section("cc", max_age="1d")},
        defaults={"max_age": "soon"},
    )
    assert list(found.clusters) == ["cc"]
    (mistake,) = found.mistakes
    assert mistake.path == "defaults.max_age"
    assert mistake.clusters == ("aa", "bb")


def test_p6_two_clusters_cannot_share_a_repository_and_the_first_keeps_it() -> None:
    found = fleet(
        {"aa": section("aa"), "bb": {**section("aa"), "primary": {"host": "bb"}}, "cc": section("cc")}
    )
    assert list(found.clusters) == ["aa", "cc"]
    (mistake,) = found.mistakes
    assert "clusters.aa and clusters.bb share the repository file:///srv/aa" in mistake.text
    assert mistake.clusters == ("bb",)


def test_a_directory_of_files_is_one_configuration(tmp_path: Path) -> None:
    files(
        tmp_path,
        defaults={"defaults": {"max_age": "1d"}},
        a={"clusters": {"aa": section("aa")}, "groups": {"shop": {"clusters": ["aa", "bb"]}}},
        b={"clusters": {"bb": section("bb")}},
        empty="",
    )
    (tmp_path / ".hidden.yaml").write_text("clusters: [")
    (tmp_path / "notes.txt").write_text("no YAML")
    found = load_fleet(tmp_path)
    assert told(found) == []
    assert list(found.clusters) == ["aa", "bb"]
    assert found.group("shop").clusters == ("aa", "bb")
    assert found.cluster("bb").max_age == Seconds("1d")
    assert load_clusters(tmp_path) == found.clusters


def test_p2_a_cluster_in_two_files_is_a_mistake_of_it_that_names_both(tmp_path: Path) -> None:
    files(
        tmp_path,
        a={"clusters": {"aa": section("aa"), "bb": section("bb")}},
        b={"clusters": {"bb": section("b")}},
    )
    found = load_fleet(tmp_path)
    assert list(found.clusters) == ["aa"]
    (mistake,) = found.mistakes
    assert mistake.clusters == ("bb",)
    assert f"clusters.bb is in {tmp_path}/a.yaml and {tmp_path}/b.yaml" in mistake.text


def test_p2_a_broken_file_of_a_directory_stops_no_other(tmp_path: Path) -> None:
    files(tmp_path, a={"clusters": {"aa": section("aa")}}, b="clusters: [", c="- a list\n")
    found = load_fleet(tmp_path)
    assert list(found.clusters) == ["aa"]
    assert "b.yaml is not YAML" in told(found)[0]
    assert f"{tmp_path}/c.yaml: the file: expected a mapping of clusters, got list." in told(found)


def test_p2_without_its_defaults_no_cluster_goes_on(tmp_path: Path) -> None:
    """Retention, checks or schedule would be others than meant."""
    files(tmp_path, a={"clusters": {"aa": section("aa")}}, defaults="defaults: [")
    found = load_fleet(tmp_path)
    assert found.clusters == {}
    with pytest.raises(ConfigInvalid, match=r"defaults\.yaml is not YAML"):
        found.cluster("aa")


@pytest.mark.parametrize("meant", [{"defualts": {"max_age": "1d"}}, {"max_age": "1d"}])
def test_p2_defaults_under_another_key_stop_all_clusters(tmp_path: Path, meant: dict[str, Any]) -> None:
    """They would silently have other settings than meant."""
    files(tmp_path, a={"clusters": {"aa": section("aa")}}, defaults=meant)
    found = load_fleet(tmp_path)
    assert found.clusters == {}
    assert "defaults.yaml:1: unknown key" in told(found)[0]
    misspelt = parse_fleet({"defualts": {}, "clusters": {"aa": section("aa")}}, "c.yaml")
    assert misspelt.clusters == {}
    assert "Did you mean defaults?" in told(misspelt)[0]


def test_p2_defaults_elsewhere_in_a_directory_are_refused(tmp_path: Path) -> None:
    files(
        tmp_path, a={"defaults": {}, "clusters": {"aa": section("aa")}}, b={"clusters": {"bb": section("bb")}}
    )
    found = load_fleet(tmp_path)
    assert list(found.clusters) == ["bb"]
    assert "defaults: of a directory, only defaults.yaml has defaults" in told(found)[0]


def test_p2_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    one, two = (json.dumps(section(name)) for name in ("aa", "bb"))
    path.write_text(f"clusters:\n  aa: {one}\n  bb: {two}\n  aa: {one}\n")
    found = load_fleet(path)
    assert list(found.clusters) == ["bb"]
    assert told(found) == [f"{path}:2: clusters.aa is there twice, in the lines 2 and 4."]


def test_keys_of_the_file_are_text_whatever_yaml_makes_of_them(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "clusters:\n  2024: &base\n    primary: {host: x}\n    repository: {url: 'file:///a'}\n"
        "    notify: {on: [gap]}\n  no:\n    <<: *base\n    repository: {url: 'file:///b'}\n"
    )
    clusters = load_clusters(path)
    assert list(clusters) == ["2024", "no"]
    assert clusters["no"].notify.on == ("gap",)


def test_p2_groups_name_clusters() -> None:
    found = fleet(
        {"shop1": section("s1"), "shop2": section("s2", nod=1)},
        groups={
            "shop": {"clusters": ["shop1", "shop2", "shop3"]},
            "empty": {"clusters": []},
            "twice": {"clusters": ["shop1", "shop1"]},
            "odd": {"cluster": ["shop1"]},
        },
    )
    assert list(found.groups) == ["shop"]
    assert found.group("shop").clusters == ("shop1", "shop2", "shop3")
    paths = [m.path for m in found.mistakes if m.path.startswith("groups")]
    assert paths == [
        "groups.shop.clusters",
        "groups.empty.clusters",
        "groups.twice",
        "groups.odd.cluster",
    ] + ["groups.odd"]
    assert "there is no cluster 'shop3'" in " ".join(told(found))
    with pytest.raises(ConfigInvalid, match=r"no group 'shopp'; it has: shop\.(.|\n)*Did you mean shop"):
        found.group("shopp")
    with pytest.raises(ConfigInvalid, match=r"groups\.twice: a cluster is named twice"):
        found.group("twice")


def test_p2_an_alias_to_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("defaults: &d {retention: *d}\nclusters:\n  aa: &a\n    node: *a\n")
    assert load_fleet(path).clusters == {}


@pytest.mark.parametrize(
    ("schedule", "late", "expected"),
    [
        ("0 3 * * *", 7, "7 3 * * *"),
        ("50 3 * * *", 20, "10 4 * * *"),
        ("30 23 * * *", 45, "15 0 * * *"),
        ("*/15 * * * *", 20, "5,20,35,50 * * * *"),
        ("0,30 1-3 * * mon", 10, "10,40 1-3 * * mon"),
        ("@daily", 59, "59 0 * * *"),
        ("5/20 * * * *", 1, "6,26,46 * * * *"),
        ("0 3 * * * 15", 7, "7 3 * * * 15"),
        ("0 22 * * sun", 90, "30 23 * * sun"),
        ("0,50 3 * * *", 15, None),
        ("50 23 * * sun", 15, None),
    ],
)
def test_a_later_start_is_one_cron_expression(schedule: str, late: int, expected: str | None) -> None:
    from airflow_restore_replay.core.config.schedule import _later

    assert _later(schedule, late) == expected


def test_jitter_spreads_clusters_of_one_schedule_always_in_the_same_way() -> None:
    refuse_jitter("0 3 * * *", 20 * 60)
    starts = [staggered("0 3 * * *", f"shop{n}", 20 * 60) for n in range(40)]
    assert starts == [staggered("0 3 * * *", f"shop{n}", 20 * 60) for n in range(40)]
    minutes = [int(cron.split()[0]) for cron in starts]
    assert set(minutes) <= set(range(20))
    assert max(minutes.count(m) for m in minutes) <= 6
    assert staggered("0 3 * * *", "shop1", None) == "0 3 * * *"
    assert staggered("0 3 * * *", "orders", 20 * 60) == "8 3 * * *", "as documented"
