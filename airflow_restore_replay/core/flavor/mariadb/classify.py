"""Numbers of MariaDB's errors, beside those of all flavors."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.classify import ErrorRules

_INTERRUPTED = {1927, 1964, 1969}

RULES = ErrorRules(transient={1927, 1969}, denied={1275}, circumstance=_INTERRUPTED)
