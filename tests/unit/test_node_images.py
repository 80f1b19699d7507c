"""Which image a node's container is made of."""

from __future__ import annotations

import pytest

from airflow_restore_replay.core.config.cluster import Cluster, parse_clusters
from airflow_restore_replay.core.errors import ConfigInvalid, PrimaryUnreachable
from airflow_restore_replay.core.jobs.protocol import Secrets
from airflow_restore_replay.core.runtime.images import depends_on_release, image_name, release_needed


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("node", "node"),
        ("registry.example.com:5000/node-{flavor}:{version}", "registry.example.com:5000/node-mysql:9.7.4"),
        ("node-{flavor}:{series}", "node-mysql:9.7"),
        ("node@sha256:0123", "node@sha256:0123"),
    ],
)
def test_placeholders_are_filled_in(template: str, name: str) -> None:
    assert image_name(template, flavor="mysql", release="9.7.4") == name


@pytest.mark.parametrize("template", ["node:{relase}", "node:{", "node:{}", "node:{0}"])
def test_what_is_no_placeholder_is_refused(template: str) -> None:
    with pytest.raises(ConfigInvalid, match="is not a name with"):
        image_name(template, flavor="mysql", release="9.7.4")


def test_an_unknown_release_is_refused_only_where_it_matters() -> None:
    assert image_name("node-{flavor}", flavor="mariadb", release="") == "node-mariadb"
    for template in ("node:{version}", "node:{series}"):
        assert depends_on_release(template)
        with pytest.raises(ConfigInvalid, match="unknown for this node"):
            image_name(template, flavor="mariadb", release="")


def test_a_primary_is_asked_only_for_an_image_that_depends_on_it() -> None:
    """This one cannot be reached."""
    assert release_needed(cluster("node:1"), None, Secrets()) == ""
    with pytest.raises(PrimaryUnreachable, match="127.0.0.1"):
        release_needed(cluster("node:{series}"), None, Secrets())


def cluster(image: str) -> Cluster:
    section = {
        "primary": {"host": "127.0.0.1", "port": 1},
        "repository": {"url": "s3://bucket/orders"},
        "node": {"runtime": "docker", "image": image},
    }
    return parse_clusters({"clusters": {"orders": section}})["orders"]
