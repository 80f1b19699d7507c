"""What each channel was told, so that nothing is told twice. It lives in an Airflow variable for each DAG.

docs/decisions/0040 says why. A memory that is lost, damaged or out of reach lets a message be sent again.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import dataclass
from datetime import datetime
from typing import Any

log = logging.getLogger(__name__)

#: beginning of the keys of failures, which last until a run succeeds; all other findings happen once
LASTING = "failure:"
#: A run that fails long after it was told of was cleared meanwhile.
_SAME_RUN_S = 86400.0
_MOST_ENTRIES = 60
_LONGEST_KEY = 250


@dataclass(frozen=True)
class Occurrence:
    """How a finding relates to what was told before.

    :param tell: whether it is to be told now.
    :param runs: in how many runs it was found, with this one, since *since*.
    """

    tell: bool
    since: datetime
    runs: int = 1


@dataclass(frozen=True)
class Entry:
    """A finding that occurred.

    :param run: the run that it was found in last.
    :param told_at, told_run: when and in which run the channel was told last; None until a message was accepted.
    """

    since: datetime
    seen: datetime
    run: str
    runs: int = 1
    what: str = ""
    told_at: datetime | None = None
    told_run: str = ""

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Entry:
        times = {k: datetime.fromisoformat(raw[k]) for k in ("since", "seen", "told_at") if raw.get(k)}
        texts = {k: str(raw.get(k, "")) for k in ("run", "what", "told_run")}
        return cls(runs=int(raw["runs"]), **texts, **times)  # type: ignore[arg-type]


class Memory:
    """What one channel was told of one DAG.

    :param entries: finding → its entry.
    """

    def __init__(self, entries: dict[str, Entry]) -> None:
        self.entries = entries

    @classmethod
    def decode(cls, raw: Any) -> Memory:
        """Return the memory in *raw*, as far as it can be read."""
        entries = {}
        for key, value in raw.items() if isinstance(raw, dict) else ():
            try:
                entries[str(key)] = Entry.of(value)
            except (TypeError, KeyError, ValueError, AttributeError):
                log.warning("The memory of %s is damaged, so it may be told twice.", key)
        return cls(entries)

    def encode(self) -> dict[str, dict[str, Any]]:
        newest = sorted(self.entries.items(), key=lambda item: item[1].seen)[-_MOST_ENTRIES:]
        return {
            key: {
                name: value.isoformat() if isinstance(value, datetime) else value
                for name, value in vars(entry).items()
                if value
            }
            for key, entry in newest
        }

    def occur(
        self, key: str, *, run: str, now: datetime, repeat_after_s: float, what: str = ""
    ) -> Occurrence:
        """Note that a finding occurred, and return whether to tell it."""
        before = self.entries.get(key)
        if before is None:
            self.entries[key] = Entry(now, now, run, what=what)
            return Occurrence(True, now)
        runs = before.runs + (before.run != run)
        told = (before.told_at, before.told_run)
        self.entries[key] = Entry(before.since, now, run, runs, before.what or what, *told)
        return Occurrence(_is_due(key, before, run, now, repeat_after_s), before.since, runs)

    def told(self, *keys: str, run: str = "", now: datetime) -> None:
        """Note that the channel accepted a message about *keys*."""
        for key in keys:
            entry = self.entries.get(key) or Entry(now, now, run)
            self.entries[key] = Entry(entry.since, now, entry.run, entry.runs, entry.what, now, run)

    @property
    def failures(self) -> dict[str, Entry]:
        """Return the failures that last, of which the channel was told."""
        return {key: e for key, e in self.entries.items() if key.startswith(LASTING) and e.told_at}

    def forget_failures(self) -> None:
        """Let each failure begin anew, after a run has succeeded."""
        self.entries = {key: e for key, e in self.entries.items() if not key.startswith(LASTING)}

    def forget_failures_before(self, success: datetime | None) -> None:
        """Forget the failures that were last seen before a run succeeded."""
        if success is not None:
            self.entries = {
                key: e for key, e in self.entries.items() if not key.startswith(LASTING) or e.seen > success
            }


def _is_due(key: str, before: Entry, run: str, now: datetime, repeat_after_s: float) -> bool:
    if before.told_at is None:
        return True
    if not key.startswith(LASTING):
        return False
    silent_s = (now - before.told_at).total_seconds()
    return silent_s >= (max(repeat_after_s, _SAME_RUN_S) if before.told_run == run else repeat_after_s)


def load(dag_id: str, channel: str) -> Memory:
    """Return what *channel* was told of the DAG; empty if it is not known."""
    return Memory.decode(_read(dag_id).get(channel))


def save(dag_id: str, channel: str, memory: Memory) -> None:
    """Keep what *channel* was told.

    Two processes may do this at the same time. The later one wins, and what the other one told is told again.
    """
    try:
        everything = {**_read(dag_id), channel: memory.encode()}
        _variables().set(
            _key(dag_id),
            json.dumps(everything),
            description="What notifications told. If it is deleted, findings are told again.",
        )
    except Exception:
        log.warning("It cannot be remembered what was told, so it may be told twice.", exc_info=True)


def _read(dag_id: str) -> dict[str, Any]:
    try:
        variables = _variables()
        default = "default" if variables.__module__.startswith("airflow.sdk") else "default_var"
        found = json.loads(variables.get(_key(dag_id), **{default: "{}"}))
    except Exception:
        log.warning("What was told before cannot be read, so it may be told twice.", exc_info=True)
        return {}
    return found if isinstance(found, dict) else {}


def _key(dag_id: str) -> str:
    return f"restore_replay_told_{dag_id}"[:_LONGEST_KEY]


def _variables() -> Any:
    # `dag.test()` calls the callbacks of runs outside of a task, where only the metadata database has variables.
    if hasattr(sys.modules.get("airflow.sdk.execution_time.task_runner"), "SUPERVISOR_COMMS"):
        from airflow.sdk import Variable

        return Variable
    from airflow.models.variable import Variable as Model

    return Model
