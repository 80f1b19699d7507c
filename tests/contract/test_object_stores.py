"""What every object store must do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.errors import ConfigInvalid, StoreFailed
from airflow_restore_replay.core.repository.store.base import (
    AlreadyExists,
    ObjectMissing,
    ObjectTooLarge,
    create_or_same,
)
from airflow_restore_replay.core.repository.store.opening import open_store
from tests.contract.conftest import EVERYWHERE, Place

everywhere = pytest.mark.parametrize("place", EVERYWHERE, indirect=True)


@everywhere
def test_an_object_is_created_once_and_read_back(place: Place) -> None:
    store = place.store()
    store.put_new("a/b/one", b"first")
    with pytest.raises(AlreadyExists):
        store.put_new("a/b/one", b"second")
    assert store.get("a/b/one") == store.get_uncached("a/b/one") == b"first"
    assert store.size("a/b/one") == 5


@everywhere
def test_of_many_simultaneous_creates_one_wins_and_its_bytes_stay(place: Place) -> None:
    store = place.store()

    def create(number: int) -> int | None:
        try:
            store.put_new("manifests/race.json", b"%d" % number * 100_000)
        except AlreadyExists:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [n for n in pool.map(create, range(8)) if n is not None]
    assert len(winners) == 1
    assert store.get("manifests/race.json") == b"%d" % winners[0] * 100_000


@everywhere
def test_an_empty_object_is_an_object(place: Place) -> None:
    store = place.store()
    store.put_new("empty", b"")
    assert (store.get("empty", max_bytes=0), store.size("empty")) == (b"", 0)


@everywhere
def test_what_is_not_there_is_missing(place: Place) -> None:
    store = place.store()
    store.put_new("a/there", b"x")
    for path in ("a/not_there", "nowhere/at/all"):
        assert store.size(path) is None
        with pytest.raises(ObjectMissing):
            store.get(path)
        store.delete(path)
    assert list(store.list("nowhere")) == []


@everywhere
def test_a_reader_takes_no_more_than_it_asked_for(place: Place) -> None:
    store = place.store()
    store.put_new("big", bytes(1001))
    with pytest.raises(ObjectTooLarge):
        store.get("big", max_bytes=1000)
    assert len(store.get_uncached("big", max_bytes=1001)) == 1001


@everywhere
def test_listing_is_by_folder_and_says_sizes(place: Place) -> None:
    store = place.store()
    for path in ("chunks/aa/1", "chunks/ab/2", "chunks2/3"):
        store.put_new(path, path.encode())
    found = {info.path: info for info in store.list("chunks/")}
    assert sorted(found) == ["chunks/aa/1", "chunks/ab/2"]
    assert found["chunks/aa/1"].size_bytes == len("chunks/aa/1")
    assert found["chunks/aa/1"].modified.tzinfo is not None


@everywhere
def test_deleting_removes_exactly_one(place: Place) -> None:
    store = place.store()
    store.put_new("a/1", b"1")
    store.put_new("a/2", b"2")
    store.delete("a/1")
    assert [i.path for i in store.list("a")] == ["a/2"]


@everywhere
def test_creating_the_same_bytes_again_is_no_error_and_other_bytes_are(place: Place) -> None:
    store = place.store()
    assert create_or_same(store, "m", b"same") is True
    assert create_or_same(store, "m", b"same") is False
    for other in (b"other", b"", b"same and more"):
        with pytest.raises(AlreadyExists):
            create_or_same(store, "m", other)
    assert store.get("m") == b"same"


@everywhere
@pytest.mark.parametrize("path", ["../out", "/etc/passwd", "a/../../out", "", "a//b", "./a", "a/.."])
def test_names_outside_the_root_are_refused(place: Place, path: str) -> None:
    store = place.store()
    with pytest.raises(StoreFailed, match="outside its root"):
        store.put_new(path, b"x")
    with pytest.raises(StoreFailed, match="outside its root"):
        store.get(path)


@pytest.mark.parametrize(
    "url", ["ftp://host/x", "/plain/path", "file://otherhost/x", "file:///", "file:relative", "s3://"]
)
def test_urls_that_are_no_store_are_refused(url: str) -> None:
    with pytest.raises(ConfigInvalid, match="repository"):
        open_store(RepositorySpec(url=url))
