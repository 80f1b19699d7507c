"""Which records a new one follows: each names the latest others, so that the loss of any but the last is noticed."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable

from airflow_restore_replay.core.repository.store.base import ObjectInfo, ObjectStore

#: folders of records whose loss is noticed because later records name them; pieces of logs follow each other by offset
FOLDERS = ("manifests", "verdicts", "prunes", "condemned", "verifications", "keys")
UPGRADE = "upgrade.json"
LEASE_OBJECT = re.compile(r"(?:log)?leases/(\d{12})/(claim|released|renewal-(\d{6}))\.json")
_RECORD = re.compile(r"[a-z]+/[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\.json")
#: more than writers at the same time, which do not see each other's records
_LATEST = 4
#: stores keep times in whole seconds, in which a run may write many records: all of the same second count
_MOST = 64
#: the current lease and the one before it: older ones are deleted
_EPOCHS = 2


def latest(store: ObjectStore) -> list[str]:
    """Return the names of the latest records of each folder, and of the latest leases, by the store's time."""
    names = []
    for folder in FOLDERS:
        found = (info for info in store.list(f"{folder}/") if _RECORD.fullmatch(info.path))
        newest = heapq.nlargest(_MOST, found, key=lambda i: (i.modified, i.path))
        names += [i.path for i in newest if i.modified >= newest[:_LATEST][-1].modified]
    names += latest_lease_objects(store.list("leases/"))
    if store.size(UPGRADE) is not None:
        names.append(UPGRADE)
    return sorted(names)


def latest_lease_objects(listed: Iterable[ObjectInfo]) -> list[str]:
    """Return the lease objects of the latest epochs that tell their state: claim, last renewal, release."""
    epochs: dict[int, dict[str, str]] = {}
    for info in sorted(listed, key=lambda info: info.path):
        if match := LEASE_OBJECT.fullmatch(info.path):
            # A later renewal takes the place of an earlier one.
            epochs.setdefault(int(match[1]), {})[match[2].partition("-")[0]] = info.path
    return [path for epoch in sorted(epochs)[-_EPOCHS:] for path in epochs[epoch].values()]
