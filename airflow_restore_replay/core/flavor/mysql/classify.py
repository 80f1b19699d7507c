"""Numbers of MySQL's errors, beside those of all flavors."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.classify import ErrorRules

_MEMORY = {3170}
_INTERRUPTED = {3572, 13118}

RULES = ErrorRules(
    transient={2026, 3024, 4031, 13117},
    denied={1410, 3955, 13120},
    circumstance=_MEMORY | _INTERRUPTED,
)
