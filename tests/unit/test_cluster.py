"""P2, P6: a wrong cluster file is refused, naming the key and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_restore_replay.core.config.cluster import Cluster, load_clusters, parse_clusters
from airflow_restore_replay.core.config.sections import primary_password
from airflow_restore_replay.core.decoding import convert, plain
from airflow_restore_replay.core.errors import ConfigInvalid


def config(**section: Any) -> dict[str, Any]:
    required = {"primary": {"host": "db1"}, "repository": {"url": "file:///srv/orders"}}
    return {"clusters": {"orders": {**required, **section}}}


def store(url: str = "s3://backups/orders", **options: Any) -> dict[str, Any]:
    return {"repository": {"url": url, "options": options}}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"nod": {}}, r"unknown key clusters\.orders\.nod; allowed here: flavor, primary, repository, node"),
        ({"node": {"dir": "/x"}}, r"unknown key clusters\.orders\.node\.dir; allowed here: runtime, workdir"),
        ({"retention": {"min_count": 0}}, r"clusters\.orders\.retention\.min_count: Expected `int` >= 1"),
        ({"max_age": -3}, r"clusters\.orders\.max_age: expected a duration > 0, got -3"),
        ({"max_age": "-3h"}, r"clusters\.orders\.max_age: expected a duration such as 90s"),
        ({"primary": {"ssl_cert": "/a"}}, "primary: ssl_cert and ssl_key go together"),
        (
            {"primary": {"ssl_ca": "ca.pem"}},
            r"primary: ssl_ca must be an absolute path, got 'ca\.pem'",
        ),
        (
            {"catch_up": {"appliers": "two"}},
            r"clusters\.orders\.catch_up\.appliers: Expected `int | null`, got `str`",
        ),
        ({"transfer": {"rate_limit": "fast"}}, r"transfer\.rate_limit: expected a size such as 100MB"),
        ({"seed": {"method": "copy"}}, r"clusters\.orders\.seed\.method: .*'copy'.*logical, physical, clone"),
        (
            {"seed": {"method": "clone"}},
            r"seed\.method clone is not possible with flavor mariadb; allowed: logical",
        ),
        (
            {"schedule": "61 3 * * *"},
            r"clusters\.orders: schedule '61 3 \* \* \*': minute '61' is not between 0 and 59",
        ),
        (
            {"schedule": "0 3 * *"},
            r"schedule '0 3 \* \*' has 4 fields; allowed: 5 to 7, or one of @hourly, @daily",
        ),
        ({"schedule": "@nightly"}, "schedule '@nightly' has 1 fields"),
        ({"schedule": "0 3 * * mon-fry"}, "day of week 'fry' is not between 0 and 7, or sun to sat"),
        ({"schedule": "*/0 3 * * *"}, "minute '\\*/0' has no step of at least 1"),
        ({"primary": {"port": 99999}}, r"clusters\.orders\.primary\.port: Expected `int` <= 65535"),
        ({"repository": {}}, r"clusters\.orders\.repository: url is missing"),
        (store(endpont="x"), r"unknown key .*\.repository\.options\.endpont; allowed here: endpoint, region"),
        (store(sse="aes"), r"repository\.options\.sse: .*'aes'; allowed: AES256, aws:kms, aws:kms:dsse\."),
        (store(sse_kms_key_id="k"), r"repository\.options: sse_kms_key_id .* need sse"),
        (store(storage_class="GLACIER"), r"options\.storage_class: .*; allowed: STANDARD, STANDARD_IA"),
        (store(timeout="soon"), r"repository\.options\.timeout: expected a duration such as"),
        (store(role_duration="5m"), r"options: role_duration must be 15m to 12h"),
        (store(external_id="x"), r"options: external_id needs role_arn"),
        (
            store("gs://b/x", region="x"),
            r"repository: options\.region means nothing for gs://b/x; allowed there",
        ),
        (store(account_name="x"), r"options\.account_name means nothing for s3://"),
        (store("gs://b/x", account_name="x"), r"options\.account_name means nothing for gs://b/x"),
        (store("az://b/x", service_account_file="x"), r"options\.service_account_file means nothing for az:"),
        (store("az://b/x", other={"account_key": "x"}), r"options: other\.account_key is a secret"),
        (store("gs://b/x", other={"Bearer_Token": "x"}), r"options: other\.Bearer_Token is a secret"),
        (store("az://b/x?sv=1&sig=x"), r"repository: url has a query or a password"),
        (store("s3://id:secret@b/x"), r"repository: url has a query or a password"),
        (
            store("file:///b", ca_file="x"),
            r"repository: options\.ca_file means nothing for file:///b; there are",
        ),
    ],
)
def test_p2_refused_naming_key_and_allowed_values(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigInvalid, match=message):
        parse_clusters(config(**section))


@pytest.mark.parametrize("raw", [None, [], {}, {"clusters": {}, "x": 1}, {"clusters": {"a b": {}}}])
def test_p2_not_a_cluster_file(raw: Any) -> None:
    with pytest.raises(ConfigInvalid):
        parse_clusters(raw)


def test_p6_two_clusters_cannot_share_a_repository() -> None:
    both = {"clusters": {name: config()["clusters"]["orders"] for name in ("orders", "carts")}}
    both["clusters"]["carts"] = {**both["clusters"]["carts"], "repository": {"url": "file:///srv/orders/"}}
    with pytest.raises(ConfigInvalid, match=r"clusters\.orders and clusters\.carts share the repository"):
        parse_clusters(both)


def test_travels_as_plain_json() -> None:
    cluster = parse_clusters(config(max_age="2d", transfer={"rate_limit": "10MB"}))["orders"]
    built = plain(cluster)
    assert built["max_age"] == 172800.0
    assert convert(built, Cluster) == cluster


def test_file_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"nothing\.yaml: No such file"):
        load_clusters(tmp_path / "nothing.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("clusters: [")
    with pytest.raises(ConfigInvalid, match=r"broken\.yaml is not YAML"):
        load_clusters(broken)


def test_password_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    from_file = parse_clusters(config(primary={"password_file": str(secret)}))["orders"]
    assert primary_password(from_file.primary) == "s3cret"
    from_env = parse_clusters(config(primary={"password_env": "ORDERS_PW"}))["orders"]
    with pytest.raises(ConfigInvalid, match="ORDERS_PW is not set"):
        primary_password(from_env.primary)
    monkeypatch.setenv("ORDERS_PW", "other")
    assert primary_password(from_env.primary) == "other"
    by_airflow = parse_clusters(config(primary={"connection": "orders_db"}))["orders"]
    with pytest.raises(ConfigInvalid, match="only be resolved by Airflow"):
        primary_password(by_airflow.primary)
