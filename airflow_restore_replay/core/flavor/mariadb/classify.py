"""Numbers of MariaDB's errors, beside those of all flavors."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.classify import ErrorRules

_INTERRUPTED = {1927, 1964, 1969}
# An option of an engine that the node lacks, Galera.
_MISSING_SOFTWARE = {1911, 4165}

RULES = ErrorRules(transient={1927}, denied={1275}, circumstance=_INTERRUPTED | _MISSING_SOFTWARE)
