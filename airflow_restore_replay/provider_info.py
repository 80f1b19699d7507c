"""What Airflow discovers about this provider. Loaded by every ``airflow`` call: no imports."""

from __future__ import annotations

from typing import Any

_NAME = "Restore-replay"
_PACKAGE = "airflow_restore_replay"


def get_provider_info() -> dict[str, Any]:
    """:returns: the provider's description by Airflow's ``provider_info.schema.json``."""
    operators = ("lease", "choose_base", "node", "jobs", "diagnose", "quarantine", "published", "prune")
    return {
        "package-name": "airflow-restore-replay",
        "name": _NAME,
        "description": "MySQL and MariaDB backups that are produced by being restored.",
        "integrations": [
            {
                "integration-name": _NAME,
                "external-doc-url": "https://mariadb.com/kb/en/gtid/",
                "tags": ["software"],
            }
        ],
        "operators": [_modules("operators", operators)],
        "sensors": [_modules("sensors", ("catch_up", "freshness"))],
        "hooks": [_modules("hooks", ("replay_node", "repository"))],
        "triggers": [_modules("triggers", ("job", "pause"))],
        "asset-uris": [{"schemes": ["restore-replay"], "handler": None}],
    }


def _modules(kind: str, names: tuple[str, ...]) -> dict[str, Any]:
    return {"integration-name": _NAME, "python-modules": [f"{_PACKAGE}.{kind}.{name}" for name in names]}
