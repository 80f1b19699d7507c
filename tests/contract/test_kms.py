"""S16 and X4 with data keys that a KMS wraps: OpenBao's transit engine, and AWS KMS as moto has it."""

from __future__ import annotations

import base64
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_restore_replay.core.config.cluster import Cluster, load_clusters
from airflow_restore_replay.core.errors import (
    Blame,
    ConfigInvalid,
    KeyRefused,
    KeySourceFailed,
    RestoreReplayError,
    TargetNotEmpty,
)
from airflow_restore_replay.core.repository.key_sources import DataKey, WrappedKeys, read_repository_keys
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.verification.verify import verify
from tests.support.backups import back_up, flip_one_bit, tree_bytes
from tests.support.keys import OLD, key_id
from tests.support.kms import Keys, MotoKms, OpenBao
from tests.support.primary import free_port
from tests.support.stores.moto import Moto
from tests.unit.test_key_sources import chain_of


@pytest.fixture(scope="module")
def openbao() -> Iterator[OpenBao]:
    with OpenBao() as server:
        yield server


@pytest.fixture(scope="module")
def moto_kms(moto: Moto) -> Iterator[MotoKms]:
    with MotoKms(moto) as kms:
        yield kms


@pytest.fixture(params=["openbao", "moto_kms"])
def kms(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keys]:
    found: Keys = request.getfixturevalue(request.param)
    _may(monkeypatch, found.variables)
    yield found
    if isinstance(found, MotoKms):
        found.demand_no_rights()


def _may(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


class Shop:
    """A cluster whose repository is a directory."""

    def __init__(self, root: Path, kms: Keys) -> None:
        self.kms, self.store, self.file = kms, root / "repository", root / "clusters.yaml"
        self.key = kms.new_key()
        self.configure(kms.source(self.key))

    def configure(self, key: dict[str, Any], *previous: dict[str, Any]) -> None:
        repository = {"url": self.store.as_uri(), "encryption": {"key": key, "previous": list(previous)}}
        section = {"primary": {"host": "127.0.0.1"}, "repository": repository}
        self.file.write_text(yaml.safe_dump({"clusters": {"orders": section}}))

    @property
    def cluster(self) -> Cluster:
        return load_clusters(self.file)["orders"]

    def wrapped(self) -> WrappedKeys:
        encryption = self.cluster.repository.encryption
        assert encryption
        return WrappedKeys.of(self.cluster, encryption.key)

    def keys(self) -> tuple[str, ...]:
        return read_repository_keys(self.cluster)

    def open(self, *, write: bool = True) -> Repository:
        return Repository.of_cluster(self.cluster, keys=self.keys(), write=write)

    def path(self, data_key: DataKey, generation: int = 0) -> Path:
        return self.store / "keys" / f"{data_key.key_id}.wrapped-{generation}.json"

    def command(self, *arguments: str, exit_code: int = 0) -> str:
        """Run the command line in a process of its own; return all that it says."""
        argv = [
            sys.executable,
            "-m",
            "airflow_restore_replay.cli.main",
            *arguments,
            "--config",
            str(self.file),
        ]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=dict(os.environ))
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def refused(self) -> KeyRefused:
        """Return why the keys cannot be read; it blames no backup and is not retried."""
        with pytest.raises(KeyRefused) as caught:
            self.keys()
        assert (caught.value.blame, caught.value.retryable) == (Blame.ENVIRONMENT, False)
        shows_no_secret(caught.value, self.kms)
        return caught.value


@pytest.fixture
def shop(tmp_path: Path, kms: Keys) -> Shop:
    return Shop(tmp_path, kms)


@pytest.fixture
def vault_shop(tmp_path: Path, openbao: OpenBao, monkeypatch: pytest.MonkeyPatch) -> Shop:
    _may(monkeypatch, openbao.variables)
    return Shop(tmp_path, openbao)


def shows_no_secret(shown: RestoreReplayError | str, kms: Keys, *keys: str) -> None:
    text = shown if isinstance(shown, str) else chain_of(shown)
    secrets = [value for name, value in kms.variables.items() if "ACCESS_KEY_ID" not in name]
    for key in keys:
        raw = bytes.fromhex(key)
        secrets += [key, base64.b64encode(raw).decode(), repr(raw)[2:-1]]
    assert not [secret for secret in secrets if secret in text]


def test_a_backup_under_a_wrapped_key_comes_back_in_another_process(
    shop: Shop, tree: Path, tmp_path: Path
) -> None:
    said = shop.command("key", "new", "--kms")
    repository = shop.open()
    assert repository.key_id in said
    manifest, _ = back_up(repository, tree)
    assert manifest.key_id == repository.key_id
    (key,) = shop.keys()
    said += shop.command("restore", "--to", str(tmp_path / "out"))
    restored = {p: data for p, data in tree_bytes(tmp_path / "out").items() if p in tree_bytes(tree)}
    assert restored == tree_bytes(tree)
    checked = shop.command("key", "check", "--json")
    assert json.loads(checked)["keys"] == [
        {
            "key_id": repository.key_id,
            "source": f"{shop.kms.kind} {shop.wrapped().kms.name}",
            "state": "active",
            "backups": 1,
            "logs": 0,
            "complaint": "",
        }
    ]
    assert verify(shop.open(write=False)).ok
    shows_no_secret(said + checked, shop.kms, key)
    for path in filter(Path.is_file, [*shop.store.rglob("*"), shop.file]):
        shows_no_secret(path.read_bytes().decode("latin-1"), shop.kms, key)


def test_s16_no_cycle_makes_a_key_by_itself(shop: Shop) -> None:
    """Else a typo in the name of the KMS key would start a second series of backups."""
    assert "key new --kms" in str(shop.refused())
    assert not shop.store.exists() or list(shop.store.rglob("*.json")) == []
    made = shop.wrapped().new()
    with pytest.raises(TargetNotEmpty, match=made.key_id):
        shop.wrapped().new()


def test_s16_rewrap_keeps_the_data_key(shop: Shop, tree: Path) -> None:
    made = shop.wrapped().new()
    back_up(shop.open(), tree)
    before = shop.path(made).read_bytes()
    shop.kms.rotate(shop.key)
    assert shop.keys() == (made.text,), "the old version of the KMS key still unwraps"
    shop.command("key", "rewrap")
    assert shop.path(made).read_bytes() == before
    assert shop.path(made, 1).exists()
    if isinstance(shop.kms, OpenBao):
        assert json.loads(shop.path(made, 1).read_bytes())["wrapped"].startswith("vault:v2:")
        shop.kms.retire_old_versions(shop.key)
    assert shop.wrapped().read() == DataKey(made.text, 1, 1)
    assert verify(shop.open()).ok


def test_s16_an_old_version_that_may_not_unwrap_is_refused(vault_shop: Shop, openbao: OpenBao) -> None:
    vault_shop.wrapped().new()
    openbao.rotate(vault_shop.key)
    openbao.retire_old_versions(vault_shop.key)
    assert "min_decryption_version" in str(vault_shop.refused())


def test_s16_another_kms_key_is_a_rotation(shop: Shop, tree: Path) -> None:
    first = shop.wrapped().new()
    old, _ = back_up(shop.open(), tree)
    old_source, new_source = shop.kms.source(shop.key), shop.kms.source(shop.kms.new_key())
    shop.configure(new_source, old_source)
    second = shop.wrapped().new()
    new, _ = back_up(shop.open(), tree, run="run-2")
    assert (old.key_id, new.key_id) == (first.key_id, second.key_id)
    assert shop.keys() == (second.text, first.text)
    assert verify(shop.open()).ok
    shop.configure(new_source)
    with pytest.raises(RestoreReplayError, match=first.key_id):
        shop.open()


def test_s16_a_wrapped_key_takes_the_place_of_a_file(
    shop: Shop, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFORE", OLD)
    kms = shop.kms.source(shop.key)
    shop.configure({"env": "BEFORE"})
    back_up(shop.open(), tree)
    shop.configure(kms, {"env": "BEFORE"})
    made = shop.wrapped().new()
    back_up(shop.open(), tree, run="run-2")
    assert [m.key_id for m in shop.open(write=False).catalog().manifests] == [key_id(OLD), made.key_id]


def test_s16_a_kms_that_cannot_be_reached_is_retried(shop: Shop) -> None:
    made = shop.wrapped().new()
    where = "address" if shop.kms.kind == "vault" else "endpoint"
    scheme = "https" if shop.kms.kind == "vault" else "http"
    shop.configure(shop.kms.source(shop.key, **{where: f"{scheme}://127.0.0.1:{free_port()}"}))
    with pytest.raises(KeySourceFailed) as caught:
        shop.keys()
    assert (caught.value.blame, caught.value.retryable) == (Blame.ENVIRONMENT, True)
    shows_no_secret(caught.value, shop.kms, made.text)
    assert "KeySourceFailed" in shop.command("key", "check", "--json", exit_code=1)


def test_s16_who_has_no_right_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.wrapped().new()
    _may(monkeypatch, shop.kms.denied())
    shop.refused()
    shop.command("key", "check", exit_code=2)


def test_a_reader_needs_only_the_right_to_decrypt(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    made = shop.wrapped().new()
    if isinstance(shop.kms, OpenBao):
        _may(monkeypatch, {"VAULT_TOKEN": shop.kms.token(f"transit/decrypt/{shop.key}")})
    elif isinstance(shop.kms, MotoKms):
        _may(monkeypatch, shop.kms.user("reader", "kms:Decrypt"))
    assert shop.keys() == (made.text,)
    with pytest.raises(KeyRefused, match="encrypt"):
        shop.wrapped().rewrap()


def test_s16_a_disabled_key_is_refused(shop: Shop) -> None:
    shop.wrapped().new()
    shop.kms.disable(shop.key)
    assert shop.key in str(shop.refused())


def test_x4_a_damaged_wrapped_key_is_found_and_an_older_one_serves(shop: Shop, tree: Path) -> None:
    made = shop.wrapped().new()
    repository = shop.open()
    back_up(repository, tree)
    shop.wrapped().rewrap()
    name = f"keys/{made.key_id}.wrapped-1.json"
    whole = shop.path(made, 1).read_bytes()
    content = json.loads(whole)
    text = content["wrapped"]
    for harmed in (
        whole[:30],
        b"",
        json.dumps(content | {"wrapped": flip_one_bit(text.encode()).decode("latin-1")}).encode(),
        json.dumps(content | {"kms_key": "transit/other"}).encode(),
        json.dumps(content | {"seal": ""}).encode(),
        json.dumps(content | {"made_at": "2020-01-01T00:00:00Z"}).encode(),
        json.dumps(content | {"cluster": "customers"}).encode(),
    ):
        shop.path(made, 1).write_bytes(harmed)
        assert name in verify(repository).unreadable, harmed
        assert shop.keys() == (made.text,)
        assert name in shop.command("key", "check", exit_code=2)
    shop.path(made, 1).write_bytes(whole)
    assert verify(repository).ok
    damaged = json.dumps(json.loads(shop.path(made).read_bytes()) | {"wrapped": "x"}).encode()
    for generation in (0, 1):
        shop.path(made, generation).write_bytes(damaged)
    assert name in str(shop.refused())


def test_x4_a_deleted_wrapped_key_is_found(shop: Shop, tree: Path) -> None:
    made = shop.wrapped().new()
    repository = shop.open()
    back_up(repository, tree)
    kept = shop.path(made).read_bytes()
    shop.path(made).unlink()
    report = verify(repository)
    assert f"keys/{made.key_id}.wrapped-0.json" in report.missing
    assert "put back a copy" in str(shop.refused()).lower()
    shop.path(made).write_bytes(kept)
    assert verify(shop.open()).ok


def test_x4_a_wrapped_key_of_another_place_is_none(shop: Shop, kms: Keys, tree: Path, tmp_path: Path) -> None:
    """It is bound to its cluster and its key; and a whole other key opens no repository."""
    made = shop.wrapped().new()
    back_up(shop.open(), tree)
    (tmp_path / "other").mkdir()
    other = Shop(tmp_path / "other", kms)
    other.configure(kms.source(shop.key))
    theirs = other.wrapped().new()
    kept = shop.path(made).read_bytes()
    renamed = json.loads(other.path(theirs).read_bytes()) | {"key_id": made.key_id}
    shop.path(made).write_bytes(json.dumps(renamed).encode())
    assert f"keys/{made.key_id}.wrapped-0.json" in str(shop.refused())
    shop.path(made).unlink()
    shop.path(theirs).write_bytes(other.path(theirs).read_bytes())
    assert shop.keys() == (theirs.text,)
    for write in (True, False):
        with pytest.raises(KeyRefused, match=f"Wrong key.*has {made.key_id}"):
            shop.open(write=write)
    # Beside the right one, which is older, it changes nothing.
    shop.path(made).write_bytes(kept)
    assert shop.keys() == (made.text,)


def test_no_log_has_a_secret(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    made = shop.wrapped().new()
    shop.wrapped().rewrap()
    assert shop.keys() == (made.text,)
    shop.kms.disable(shop.key)
    shop.refused()
    shows_no_secret(caplog.text, shop.kms, made.text)
    logging.getLogger("botocore.x").debug("after it, debug logs are as before")
    assert "as before" in caplog.text


def test_a_server_of_another_ca_gets_no_token(vault_shop: Shop, openbao: OpenBao) -> None:
    vault_shop.configure(openbao.source(vault_shop.key, ca_file=None))
    with pytest.raises(KeySourceFailed, match="certificate verify failed"):
        vault_shop.wrapped().new()


@pytest.mark.parametrize("token", ["", "s3cr3t\nX-Evil: 1", "s3cr3t\u00fc"])
def test_p2_what_is_no_token_is_refused_and_not_shown(
    token: str, openbao: OpenBao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path, openbao)
    (tmp_path / "token").write_text(token, encoding="utf-8")
    monkeypatch.setenv("VAULT_TOKEN", token)
    for options in ({}, {"token_file": str(tmp_path / "token")}):
        shop.configure(openbao.source("orders", **options))
        with pytest.raises(ConfigInvalid) as caught:
            shop.keys()
        assert "s3cr3t" not in chain_of(caught.value)


def test_a_token_from_a_file_is_read_at_each_use(openbao: OpenBao, tmp_path: Path) -> None:
    sink = tmp_path / "token"
    shop = Shop(tmp_path, openbao)
    shop.configure(openbao.source(shop.key, token_file=str(sink)))
    sink.write_text(f"{openbao.variables['VAULT_TOKEN']}\n")
    made = shop.wrapped().new()
    sink.write_text("expired")
    shop.refused()
    sink.write_text(openbao.token(f"transit/decrypt/{shop.key}"))
    assert shop.keys() == (made.text,)


def test_s16_a_sealed_vault_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenBao() as server:
        _may(monkeypatch, server.variables)
        shop = Shop(tmp_path, server)
        shop.wrapped().new()
        server.ask("PUT", "sys/seal", {})
        with pytest.raises(KeySourceFailed, match="503 Vault is sealed"):
            shop.keys()
