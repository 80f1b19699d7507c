"""Where encryption keys come from; P2: a wrong source is refused by name. No message ever shows a key."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_restore_replay.core.config import encryption_keys as key_sources
from airflow_restore_replay.core.config.cluster import Cluster, parse_clusters
from airflow_restore_replay.core.config.encryption_keys import Encryption, KeySource, read_key, read_keys
from airflow_restore_replay.core.config.kms_sources import VaultKey
from airflow_restore_replay.core.decoding import convert, plain
from airflow_restore_replay.core.errors import ConfigInvalid, KeySourceFailed, RestoreReplayError
from airflow_restore_replay.core.jobs.protocol import Secrets
from airflow_restore_replay.core.repository.format.keyring import Key, Keyring
from tests.support.keys import NEW, OLD


def config(encryption: Any) -> dict[str, Any]:
    repository = {"url": "file:///srv/orders", "encryption": encryption}
    return {"clusters": {"orders": {"primary": {"host": "db1"}, "repository": repository}}}


@pytest.mark.parametrize(
    ("encryption", "message"),
    [
        ({}, r"clusters\.orders\.repository\.encryption: .*missing required field `key`"),
        (
            {"key": {}},
            r"repository\.encryption\.key: give exactly one of file, command, connection, env, vault, aws_kms; "
            "got none",
        ),
        (
            {"key": {"file": "/k", "env": "K"}},
            r"encryption\.key: give exactly one of file, command, connection, env, vault, aws_kms; got file and env",
        ),
        (
            {"key": {"path": "/k"}},
            r"unknown key clusters\.orders\.repository\.encryption\.key\.path; "
            r"allowed here: file, command, connection, env, vault, aws_kms",
        ),
        (
            {"key": {"env": "K"}, "old": []},
            r"unknown key clusters\.orders\.repository\.encryption\.old; allowed here: key, previous",
        ),
        (
            {"key": {"env": "K"}, "previous": [{"path": "x"}]},
            r"unknown key .*previous\[0\]\.path; allowed here: file, command, connection, env, vault, aws_kms",
        ),
        ({"key": {"command": "cat /k"}}, r"encryption\.key\.command: Expected `array.*`, got `str`"),
        ({"key": {"command": []}}, r"encryption\.key: command is empty"),
        ({"key": {"file": ""}}, r"encryption\.key: file is empty"),
        ({"key": {"vault": {"key": "a", "token": "s.x"}}}, r"unknown key .*encryption\.key\.vault\.token"),
        ({"key": {"vault": {"key": "../sys"}}}, r"encryption\.key\.vault: key '\.\./sys' is no name"),
        ({"key": {"vault": {"key": "a", "mount": ""}}}, r"key\.vault: mount '' is no name"),
        (
            {"key": {"vault": {"key": "a", "address": "http://vault:8200"}}},
            r"key\.vault: address must begin with https://",
        ),
        (
            {"key": {"vault": {"key": "a", "address": "https://me:pw@vault"}}},
            r"key\.vault: address must be a URL with a host, and without a password",
        ),
        ({"key": {"aws_kms": {}}}, r"key\.aws_kms: .*missing required field `key`"),
        (
            {"key": {"aws_kms": {"key": "alias/a", "endpoint": "http://kms"}}},
            r"key\.aws_kms: endpoint must begin with https://",
        ),
        ({"key": "0badc0de"}, r"encryption\.key: Expected `object`, got `str`"),
    ],
)
def test_p2_refused_naming_key_and_allowed_values(encryption: Any, message: str) -> None:
    with pytest.raises(ConfigInvalid, match=message):
        parse_clusters(config(encryption))


def test_sources_travel_and_keys_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K", OLD)
    cluster = parse_clusters(config({"key": {"env": "K"}, "previous": [{"file": "/k"}]}))["orders"]
    built = plain(cluster)
    assert built["repository"]["encryption"] == {"key": {"env": "K"}, "previous": [{"file": "/k"}]}
    assert convert(built, Cluster) == cluster


@pytest.mark.parametrize(
    "text",
    [
        OLD,
        f" {OLD.upper()}\n",
        base64.b64encode(bytes.fromhex(OLD)).decode(),
        base64.urlsafe_b64encode(bytes.fromhex(OLD)).decode() + "\n",
    ],
)
def test_every_source_and_notation(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    monkeypatch.setenv("A_KEY", text)
    sources = [
        KeySource(file=str(path)),
        KeySource(env="A_KEY"),
        KeySource(command=["cat", str(path)]),
        KeySource(connection="vault"),
    ]
    asked: list[str] = []

    def connection(conn_id: str) -> str:
        asked.append(conn_id)
        return text

    assert [read_key(source, connection) for source in sources] == [OLD] * 4
    assert asked == ["vault"]


def test_the_active_key_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K1", OLD)
    monkeypatch.setenv("K2", NEW)
    assert read_keys(None) == ()
    assert read_keys(Encryption(key=KeySource(env="K2"), previous=[KeySource(env="K1")])) == (NEW, OLD)


@pytest.mark.parametrize("text", [OLD[:-1], OLD + "0", "", OLD[:-1] + "g", "é" * 64, OLD[:48] + "=" * 16])
def test_what_is_no_key_is_refused_and_not_shown(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    path.write_bytes(text.encode())
    monkeypatch.setenv("A_KEY", text)
    for source in (
        KeySource(file=str(path)),
        KeySource(env="A_KEY"),
        KeySource(command=[sys.executable, "-c", f"import sys; sys.stdout.buffer.write({text.encode()!r})"]),
    ):
        with pytest.raises(ConfigInvalid) as caught:
            read_key(source)
        assert OLD[:16] not in chain_of(caught.value)


def chain_of(exc: BaseException | None) -> str:
    """Return all that a traceback would show of *exc* and what led to it."""
    found = ""
    while exc is not None:
        found += f"{exc!r} {exc} {getattr(exc, 'evidence', '')}"
        exc = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    return found


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        (KeySource(file="/nowhere/key"), ConfigInvalid, "/nowhere/key: No such file"),
        (KeySource(env="NOT_SET_AT_ALL"), ConfigInvalid, "NOT_SET_AT_ALL.* is not set"),
        (KeySource(command=["/nowhere/vault"]), ConfigInvalid, "/nowhere/vault.*No such file"),
        (KeySource(command=["sh", "-c", f"echo {OLD} >&2; exit 3"]), KeySourceFailed, "^sh, .* ended with 3"),
        (KeySource(connection="vault"), ConfigInvalid, "connection vault can only be resolved by Airflow"),
        (
            KeySource(vault=VaultKey(key="orders")),
            ConfigInvalid,
            "key of vault transit/orders is in a repository",
        ),
    ],
)
def test_a_source_that_is_not_there(source: KeySource, kind: type[RestoreReplayError], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        read_key(source)
    assert OLD not in chain_of(caught.value)
    assert OLD not in str(source)


def test_a_command_has_a_time_limit_and_no_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_sources, "COMMAND_TIMEOUT_S", 0.2)
    with pytest.raises(KeySourceFailed, match="more than"):
        read_key(KeySource(command=["sleep", "20"]))
    with pytest.raises(ConfigInvalid):
        read_key(KeySource(command=["echo", f"; touch {tmp_path}/shell"]))
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_holds_a_key_shows_it() -> None:
    key = Key.of(OLD)
    shown = f"{key!r} {key} {Keyring.of([OLD, NEW])!r} {Secrets(keys=(OLD,))!r} {[Secrets(keys=(OLD,))]}"
    for secret in (bytes.fromhex(OLD), key.names, key.data, key.records):
        assert secret.hex() not in shown
        assert repr(secret) not in shown
    assert key.key_id in shown
