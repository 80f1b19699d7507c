"""Errors about the archive of binary logs; they are no evidence against a backup."""

from __future__ import annotations

from airflow_restore_replay.core.errors.circumstances import Circumstance


class ArchiveFault(Circumstance):
    """The archive of binary logs does not have what it should have."""

    retryable = False
    advice = "Run `restore-replay verify` for all that is damaged."


class LogMissing(ArchiveFault):
    """Stored bytes of an archived binary log are missing."""

    advice = (
        "Restore to a moment that the message names as reachable, or to a later backup; check the store's "
        "lifecycle rules."
    )


class LogCorrupt(ArchiveFault):
    """Stored bytes of an archived binary log do not decode, or are not those that were archived."""

    advice = "Restore to a moment that the message names as reachable, or to a later backup; check the store's disks."
