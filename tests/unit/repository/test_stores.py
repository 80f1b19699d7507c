"""What is particular to one store."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.config.store_options import StoreOptions
from airflow_restore_replay.core.errors import ConfigInvalid, StoreFailed, StoreFull
from airflow_restore_replay.core.repository.objects.succession import latest
from airflow_restore_replay.core.repository.store.base import AlreadyExists, ObjectMissing
from airflow_restore_replay.core.repository.store.clients import Clients, _secret_values, redacted
from airflow_restore_replay.core.repository.store.local import LocalStore
from airflow_restore_replay.core.repository.store.opening import open_store
from airflow_restore_replay.core.repository.store.remote import RemoteStore


def test_a_local_repository_is_private(tmp_path: Path) -> None:
    LocalStore(tmp_path / "new" / "repository").put_new("a/b", b"x")
    for path in ("new", "new/repository", "new/repository/a"):
        assert stat.S_IMODE((tmp_path / path).stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "new/repository/a/b").stat().st_mode) == 0o600


def test_what_a_crash_leaves_is_no_object(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put_new("chunks/aa/good", b"x")
    (tmp_path / "chunks/aa/.tmp-0123456789abcdef").write_bytes(b"half of someth")
    assert [i.path for i in store.list("chunks")] == ["chunks/aa/good"]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreFull):
        store.put_new("a/b", b"x")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_link_inside_a_repository_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "object").symlink_to(tmp_path / "secret")
    store = LocalStore(tmp_path / "repository")
    with pytest.raises(StoreFailed):
        store.get("object")
    assert list(store.list("manifests")) == []


def test_a_file_where_a_folder_should_be_is_missing_or_failed_never_found(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put_new("a", b"x")
    with pytest.raises(ObjectMissing):
        store.get("a/b")
    with pytest.raises(StoreFailed):
        store.put_new("a/b", b"x")


def test_urls_may_have_escaped_characters(tmp_path: Path) -> None:
    root = tmp_path / "with space & ü"
    store = open_store(RepositorySpec(url=root.as_uri()))
    store.put_new("x", b"1")
    assert (root / "x").read_bytes() == b"1"


def test_unusable_options_are_refused_without_showing_credentials() -> None:
    spec = RepositorySpec(url="s3://bucket/x", options=StoreOptions(ca_file="/nonexistent/ca.pem"))
    with pytest.raises(ConfigInvalid, match=r"ca_file /nonexistent/ca\.pem: No such file") as caught:
        RemoteStore.from_spec(spec, {"secret_access_key": "very-secret"})
    assert "very-secret" not in str(caught.value)
    other = RepositorySpec(url="gs://bucket/x", options=StoreOptions(other={"no_such_option": "1"}))
    with pytest.raises(ConfigInvalid, match="no_such_option"):
        RemoteStore.from_spec(other, {})


@pytest.mark.parametrize("url", ["s3://b/p", "gs://b/p", "az://c/p"])
def test_all_object_stores_open_by_url(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = {"account_name": "acct", "account_key": "c2VjcmV0"} if url.startswith("az") else {}
    if url.startswith("gs"):
        credentials = {"skip_signature": "true"}
    assert open_store(RepositorySpec(url=url), credentials).url == url


def test_secrets_never_reach_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "from-the-environment")
    secrets = _secret_values(
        {"access_key_id": "AKIA0001", "secret_access_key": "given", "region": "eu-central-1"}
    )
    text = redacted(
        "GET https://h/b?X-Amz-Signature=abc failed for AKIA0001 given from-the-environment in eu-central-1\nmore",
        secrets,
    )
    assert text == "GET https://h/b failed for *** *** *** in eu-central-1 more"


def test_local_store_without_nameless_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS has no O_TMPFILE: the same guarantees by a temporary name, which is gone afterwards."""
    real = os.open

    def no_tmpfile(path: object, flags: int, *rest: object, **named: object) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return real(path, flags, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", no_tmpfile)
    store = LocalStore(tmp_path)
    store.put_new("chunks/aa/x", b"one")
    with pytest.raises(AlreadyExists):
        store.put_new("chunks/aa/x", b"two")
    assert store.get("chunks/aa/x") == b"one"
    assert [p.name for p in (tmp_path / "chunks/aa").iterdir()] == ["x"]


def test_large_objects_get_more_time_on_few_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    clients = Clients(RepositorySpec(url="s3://bucket/x"), {})
    made: list[float] = []

    def make(timeout_s: float) -> object:
        made.append(timeout_s)
        return object()

    monkeypatch.setattr(clients, "_made", make)
    assert clients.for_size(8 * 2**20) is clients.usual
    sizes = [n * 2**20 for n in (17, 30, 100, 300, 1024)]
    for size in sizes:
        clients.for_size(size)
    assert len(made) == 4
    for size in sizes:
        doublings = (size // 2**20 // 16).bit_length()
        assert 60 + 16 * 2**doublings >= size / 2**20, "at least 1 MiB/s is waited for"


def test_a_stores_answer_is_shown_as_its_code_and_message() -> None:
    xml = '403 Forbidden: <?xml version="1"?><Error><Code>AccessDenied</Code>\n<Message>No.</Message></Error>'
    assert redacted(xml, ()) == "403 Forbidden: AccessDenied: No."


def test_x41_all_records_of_one_second_are_named(tmp_path: Path) -> None:
    """Object stores keep times in whole seconds, and a quarantine of many backups takes less."""
    store = LocalStore(tmp_path)
    names = [f"verdicts/20260101T000000Z-{number:08x}.json" for number in range(9)]
    for name in names:
        store.put_new(name, b"")
        os.utime(tmp_path / name, (0, 1_800_000_000 - (name == names[0])))
    assert latest(store) == names[1:]
    store.put_new("verdicts/README", b"")
    assert latest(store) == names[1:]
