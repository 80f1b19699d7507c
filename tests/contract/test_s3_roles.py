"""S9 with credentials that can be renewed: a role's token expires during a snapshot, which continues."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Self

import pytest

from airflow_restore_replay.core.errors import Blame, ConfigInvalid, StoreFailed
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store import sts
from airflow_restore_replay.core.repository.transfer.restore import restore_tree
from tests.support.backups import back_up, tree_bytes
from tests.support.proxy import Act, first
from tests.support.stores.moto import Moto
from tests.support.stores.s3 import CREDENTIALS
from tests.support.tokens import TokenGate

ROLE = "arn:aws:iam::123456789012:role/backup"


class Gated:
    """A repository behind a gate that lets tokens expire."""

    def __init__(self, server: Moto, gate: TokenGate) -> None:
        self.server, self.gate, self.bucket = server, gate, server.new_bucket()

    def open(self, *, credentials: dict[str, str] | None = None, **options: Any) -> Repository:
        role = {"role_arn": ROLE, "sts_endpoint": self.gate.endpoint, "retry_timeout": "10s"}
        spec = self.server.spec(self.bucket, endpoint=self.gate.endpoint, **{**role, **options})
        keys = CREDENTIALS if credentials is None else credentials
        return Repository.open(spec, cluster="orders", credentials=keys, write=True)

    def published(self) -> list[str]:
        spec = self.server.spec(self.bucket)
        direct = Repository.open(spec, cluster="orders", credentials=CREDENTIALS, write=False)
        return [manifest.backup_id for manifest in direct.catalog().manifests]


@pytest.fixture
def gated(moto: Moto, request: pytest.FixtureRequest) -> Iterator[Gated]:
    with TokenGate(moto.port, **getattr(request, "param", {"life_s": 3600})) as gate:
        yield Gated(moto, gate)


def _slowly(gate: TokenGate, pause_s: float) -> None:
    """Make every upload of a chunk take a while, so that a snapshot outlives its token."""

    def rule(method: str, path: str) -> Act:
        if method == "PUT" and "chunks" in path:
            time.sleep(pause_s)
        return Act.PASS

    gate.rule = rule


def test_a_role_is_assumed_once_and_its_token_is_used(gated: Gated, tree: Path, tmp_path: Path) -> None:
    repository = gated.open()
    manifest, files = back_up(repository, tree)
    restore_tree(repository.chunks, files, tmp_path / "out", chunk_size_bytes=manifest.chunk_size_bytes)
    assert tree_bytes(tmp_path / "out") == tree_bytes(tree)
    assert (gated.gate.issued, gated.gate.refused) == (1, 0)
    assert gated.gate.source_keys == {CREDENTIALS["access_key_id"]}


def test_s9_a_token_is_renewed_before_it_expires(
    gated: Gated, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock of the test's own: the first upload lasts until four minutes before the token's end."""
    day_s, gate = 86400.0, gated.gate
    # Behind, because obstore has this host's clock, and never asks again before that time.
    gate.ahead_s = -day_s

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(gate.clock().timestamp(), tz)

    monkeypatch.setattr(sts, "datetime", Clock)

    def rule(method: str, path: str) -> Act:
        if method == "PUT" and "chunks" in path:
            gate.ahead_s = 3600 - 240 - day_s
        return Act.PASS

    repository = gated.open()
    gate.rule = rule
    manifest, _ = back_up(repository, tree)
    assert gated.published() == [manifest.backup_id]
    assert (gate.issued, gate.refused) == (2, 0), "no request was made with an old token"


@pytest.mark.parametrize("gated", [{"life_s": 2, "told_s": 3600}], indirect=True)
def test_s9_a_token_that_expires_early_is_renewed_when_the_store_says_so(gated: Gated, tree: Path) -> None:
    repository = gated.open()
    _slowly(gated.gate, 1.5)
    manifest, _ = back_up(repository, tree)
    assert gated.published() == [manifest.backup_id]
    assert gated.gate.refused > 0
    assert gated.gate.issued > 1


def test_s9_an_answer_without_a_body_may_mean_an_expired_token(gated: Gated) -> None:
    """An answer to HEAD has no body, and so no error code."""
    repository = gated.open()
    gated.gate.expire()
    assert repository.store.size("repository.json")
    assert (gated.gate.refused, gated.gate.issued) == (1, 2)


@pytest.mark.parametrize("gated", [{"life_s": 4}], indirect=True)
def test_s9_an_sts_that_is_down_for_a_while_is_survived(gated: Gated, tree: Path) -> None:
    repository = gated.open()
    gated.gate.sts_down = True
    back = threading.Timer(6, lambda: setattr(gated.gate, "sts_down", False))
    back.start()
    _slowly(gated.gate, 1.5)
    manifest, _ = back_up(repository, tree)
    back.join()
    assert gated.published() == [manifest.backup_id]


@pytest.mark.parametrize("gated", [{"life_s": 1}], indirect=True)
def test_s9_an_sts_that_stays_down_fails_the_run_and_publishes_nothing(gated: Gated, tree: Path) -> None:
    repository = gated.open(retry_timeout="3s")
    gated.gate.sts_down = True
    time.sleep(1.1)
    with pytest.raises(StoreFailed, match="StsUnavailable") as caught:
        back_up(repository, tree)
    assert caught.value.blame is Blame.ENVIRONMENT
    assert caught.value.__cause__ is None
    assert CREDENTIALS["secret_access_key"] not in str(caught.value)
    assert gated.published() == []


def test_s9_a_static_token_that_expires_fails_at_once(gated: Gated, tree: Path) -> None:
    expired = {**CREDENTIALS, "session_token": "not-issued-here"}
    begun = time.monotonic()
    with pytest.raises(StoreFailed, match="InvalidToken"):
        gated.open(credentials=expired, role_arn=None, retry_timeout="2s")
    gated.gate._until["not-issued-here"] = datetime.min.replace(tzinfo=UTC)
    with pytest.raises(StoreFailed, match="ExpiredToken") as caught:
        gated.open(credentials=expired, role_arn=None, retry_timeout="60s")
    assert time.monotonic() - begun < 30
    assert "not-issued-here" not in str(caught.value)


def test_the_connections_role_counts_unless_the_options_have_one(gated: Gated) -> None:
    found = {**CREDENTIALS, "role_arn": ROLE, "role_duration": "1200", "role_session_name": "nightly"}
    gated.open(credentials={**found, "sts_endpoint": gated.gate.endpoint}, role_arn=None, sts_endpoint=None)
    assert gated.gate.issued == 1


def test_a_role_without_keys_is_refused_before_anything(
    gated: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    with pytest.raises(ConfigInvalid, match=re.escape(f"to assume {ROLE}, an access key is needed")):
        gated.open(credentials={})
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS["secret_access_key"])
    assert gated.open(credentials={}).cluster == "orders"


def test_a_role_that_may_not_be_assumed_fails_with_stss_own_words() -> None:
    with Moto() as server:
        bucket = server.new_bucket()
        denied = {"Effect": "Deny", "Action": "sts:AssumeRole", "Resource": "*"}
        user = server.user("nobody", {"Version": "2012-10-17", "Statement": [denied]})
        server.demand_rights()
        options = {"role_arn": ROLE, "sts_endpoint": server.endpoint}
        begun = time.monotonic()
        with pytest.raises(StoreFailed, match="RoleDenied.*AccessDenied.*AssumeRole") as caught:
            Repository.open(server.spec(bucket, **options), cluster="orders", credentials=user, write=True)
    assert time.monotonic() - begun < 20, "a refusal is not repeated"
    assert user["secret_access_key"] not in str(caught.value)


def test_faults_and_renewals_go_together(gated: Gated, tree: Path) -> None:
    """S7 beside S9: the gate drops some requests."""
    repository = gated.open()
    gated.gate.rule = first(6, Act.FAIL_503)
    manifest, _ = back_up(repository, tree)
    assert gated.published() == [manifest.backup_id]
