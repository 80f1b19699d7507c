"""Encryption keys for tests."""

from __future__ import annotations

from airflow_restore_replay.core.repository.format.keyring import Key

OLD, NEW, OTHER = "0badc0de" * 8, "5eed" * 16, "feed" * 16


def key_id(key: str) -> str:
    return Key.of(key).key_id
