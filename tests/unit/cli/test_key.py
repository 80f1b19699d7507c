"""``restore-replay key``; and the other commands on an encrypted repository."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import msgspec
import pytest
import yaml
from click.testing import CliRunner, Result

from airflow_restore_replay.cli.main import cli
from airflow_restore_replay.core.config.encryption_keys import Encryption, read_keys
from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.repository.repository import Repository
from tests.support.backups import back_up, flip_one_bit, tree_bytes
from tests.support.keys import NEW, OLD, key_id
from tests.unit.cli.conftest import CLUSTER, Shop


def run(*arguments: str | Path, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["key", *map(str, arguments)])
    assert result.exit_code == exit_code, result.output
    return result


@pytest.fixture
def secret_shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop whose repository is encrypted, with the key in a variable."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "ibdata1").write_bytes(b"system" * 1000)
    monkeypatch.setenv("ACTIVE", OLD)
    monkeypatch.setenv("BEFORE", OLD)
    store, config = tmp_path / "repository", tmp_path / "clusters.yaml"
    repository = Repository.open(RepositorySpec(url=store.as_uri()), cluster=CLUSTER, keys=[OLD], write=True)
    shop = Shop(config, source, store, repository)
    configure(shop, "{key: {env: ACTIVE}}")
    return shop


def configure(shop: Shop, encryption: str) -> None:
    shop.config.write_text(
        f"clusters:\n  {CLUSTER}:\n    primary: {{host: 127.0.0.1}}\n"
        f"    repository: {{url: '{shop.store.as_uri()}', encryption: {encryption}}}\n"
    )


def test_new_makes_a_private_file_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "key"
    made = run("new", path)
    key = path.read_text().strip()
    assert len(bytes.fromhex(key)) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made.stdout.strip() == run("id", path).stdout.strip() == key_id(key)
    assert key not in made.output
    again = run("new", path, exit_code=2)
    assert "never overwritten" in again.stderr.replace("\n", " ")
    assert path.read_text().strip() == key
    run("new", tmp_path / "nowhere" / "key", exit_code=2)
    run("id", tmp_path / "no-such-key", exit_code=2)


def test_check_tells_which_backups_need_which_key(secret_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = secret_shop
    back_up(shop.repository, shop.source)
    assert shop.json("key", "check") == {
        "keys": [
            {
                "key_id": key_id(OLD),
                "source": "env ACTIVE",
                "state": "active",
                "backups": 1,
                "logs": 0,
                "complaint": "",
            }
        ],
        "ok": True,
    }
    monkeypatch.setenv("ACTIVE", NEW)
    assert "Wrong key" in shop.run("key", "check", exit_code=2).stderr
    configure(shop, "{key: {env: ACTIVE}, previous: [{env: BEFORE}]}")
    states = [(row["key_id"], row["state"]) for row in shop.json("key", "check")["keys"]]
    assert states == [(key_id(NEW), "active from the next run on"), (key_id(OLD), "earlier")]
    assert list((shop.store / "keys").iterdir()) == [shop.store / "keys" / f"{key_id(OLD)}.json"]

    rotated = Repository.open(
        RepositorySpec(url=shop.store.as_uri()), cluster=CLUSTER, keys=[NEW, OLD], write=True
    )
    back_up(rotated, shop.source, run="run-2")
    table = shop.run("key", "check").stdout
    assert table.count("env ") == 2
    configure(shop, "{key: {env: ACTIVE}}")
    lost = shop.json("key", "check", exit_code=2)
    assert lost["ok"] is False
    assert lost["keys"][1] == {
        "key_id": key_id(OLD),
        "source": "",
        "state": "earlier",
        "backups": 1,
        "logs": 0,
        "complaint": "",
    }
    assert not any(key in shop.run("key", "check", exit_code=2).output for key in (OLD, NEW))


def test_check_without_encryption_is_refused(shop: Shop) -> None:
    assert "encryption is not configured" in shop.run("key", "check", exit_code=2).stderr.replace("\n", " ")


def test_commands_find_the_key_by_the_cluster_file(
    secret_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = secret_shop
    manifest, _ = back_up(shop.repository, shop.source)
    assert shop.json("list")["backups"][0]["backup_id"] == manifest.backup_id
    assert shop.json("verify")["ok"] is True
    shop.run("restore", "--to", tmp_path / "out")
    assert tree_bytes(tmp_path / "out") == tree_bytes(shop.source)
    monkeypatch.delenv("ACTIVE")
    for command in (["list"], ["verify"], ["restore", "--to", tmp_path / "no"], ["key", "check"]):
        assert "ACTIVE" in shop.run(*command, exit_code=2).stderr
    assert not (tmp_path / "no").exists()


def test_the_documented_rotation(shop: Shop, tmp_path: Path) -> None:
    """docs/security.md: its commands and configurations, with a directory of the test's in place of /etc and s3."""
    text = (Path(__file__).parents[3] / "docs" / "security.md").read_text(encoding="utf-8")
    text = text.replace("/etc/restore-replay", str(tmp_path)).replace(
        "s3://backups/orders", f"file://{tmp_path}/r"
    )
    section = text[text.index("## Encryption") : text.index("### Keys of a KMS")]
    before, after = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    make, check = re.findall(r"```sh\nrestore-replay (.*?)\n```", section)

    def adopt(configuration: str) -> Repository:
        cluster = {"primary": {"host": "127.0.0.1"}, **yaml.safe_load(configuration)}
        shop.config.write_text(yaml.safe_dump({"clusters": {CLUSTER: cluster}}))
        encryption = msgspec.convert(cluster["repository"]["encryption"], Encryption)
        spec = RepositorySpec(url=cluster["repository"]["url"])
        return Repository.open(spec, cluster=CLUSTER, keys=read_keys(encryption), write=True)

    run("new", tmp_path / "orders.key")
    old, _ = back_up(adopt(before), shop.source)
    run(*make.split()[1:])
    rotated = adopt(after)
    shop.run(*check.split())
    new, _ = back_up(rotated, shop.source, run="run-2")
    rows = shop.json(*check.split())["keys"]
    assert [(row["key_id"], row["state"], row["backups"]) for row in rows] == [
        (new.key_id, "active", 1),
        (old.key_id, "earlier", 1),
    ]


@pytest.mark.parametrize("harm", ["flip", "half", "delete"])
def test_x41_verify_and_check_agree_on_a_damaged_key_check(secret_shop: Shop, harm: str) -> None:
    shop = secret_shop
    back_up(shop.repository, shop.source)
    path = shop.store / "keys" / f"{key_id(OLD)}.json"
    data = path.read_bytes()
    path.unlink()
    if harm != "delete":
        path.write_bytes(flip_one_bit(data) if harm == "flip" else data[: len(data) // 2])
    text = shop.run("verify", exit_code=4).stdout
    assert "all is well" not in text
    assert f"Unreadable: keys/{path.name}" in text
    found = shop.json("key", "check", exit_code=2)
    assert found["ok"] is False
    assert found["keys"][0]["complaint"]
    assert f"keys/{path.name}" in shop.run("key", "check", exit_code=2).stderr
