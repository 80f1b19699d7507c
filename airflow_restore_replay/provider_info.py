"""Description of this provider for Airflow.

Every ``airflow`` command loads this module, so it imports nothing.
"""

from __future__ import annotations

from typing import Any

_NAME = "Restore-replay"
_PACKAGE = "airflow_restore_replay"
_DOCUMENTATION = "https://github.com/airflow-restore-replay/airflow-restore-replay/tree/main/docs"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, as Airflow's ``provider_info.schema.json`` defines it."""
    operators = (
        *("lease", "choose_base", "node", "jobs", "diagnose", "quarantine", "published", "prune"),
        "restore_to",
    )
    return {
        "package-name": "airflow-restore-replay",
        "name": _NAME,
        "description": "MySQL and MariaDB backups that are produced by being restored.",
        "integrations": [
            {
                "integration-name": _NAME,
                "external-doc-url": _DOCUMENTATION,
                "tags": ["software"],
            }
        ],
        "operators": [_modules("operators", operators)],
        "sensors": [_modules("sensors", ("catch_up", "freshness"))],
        "hooks": [_modules("hooks", ("replay_node", "repository", "connections"))],
        "triggers": [_modules("triggers", ("job", "pause"))],
        "connection-types": [_repository_connection(), _node_connection()],
        "extra-links": [f"{_PACKAGE}.operators.links.{name}" for name in ("BackupLink", "VerdictLink")],
        "notifications": [f"{_PACKAGE}.notifications.Announcer"],
        "asset-uris": [{"schemes": ["restore-replay"], "handler": None}],
    }


def _modules(kind: str, names: tuple[str, ...]) -> dict[str, Any]:
    return {"integration-name": _NAME, "python-modules": [f"{_PACKAGE}.{kind}.{name}" for name in names]}


def _repository_connection() -> dict[str, Any]:
    return {
        "connection-type": "restore_replay_repository",
        "hook-class-name": f"{_PACKAGE}.hooks.connections.RepositoryConnectionHook",
        "hook-name": "Restore-replay repository",
        "ui-field-behaviour": {
            "hidden-fields": ["host", "port", "schema", "extra"],
            "relabeling": {
                "login": "Access key id, or storage account",
                "password": "Secret access key, or the account's key",
            },
            "placeholders": {
                "url": "s3://bucket/orders, az://container/orders, gs://bucket/orders or file:///srv/backups/orders",
                "login": "empty: from the worker's environment or role",
                "endpoint": "https://minio.example:9000",
                "region": "eu-central-1",
            },
        },
        "conn-fields": {
            "url": _field("URL", "Each cluster needs a prefix of its own."),
            "endpoint": _field("Endpoint", "For a store other than Amazon's, Azure's or Google's."),
            "region": _field("Region", "Region of the bucket."),
            "encryption_key": _field(
                "Encryption key", "64 hex digits or base64; empty: not encrypted.", format="password"
            ),
            "ca_file": _field(
                "CA file", "PEM file on workers and nodes, trusted in addition to the system's certificates."
            ),
            "session_token": _field("Session token", "For temporary credentials.", format="password"),
            "role_arn": _field(
                "Role", "Role to assume with the keys; its token is renewed before it expires."
            ),
            "external_id": _field("External id", "External id that the role's trust policy requires."),
            "account_name": _field(
                "Storage account", "Azure: needed if login and password are a service principal's."
            ),
            "tenant_id": _field("Tenant", "Azure: if given, login and password are a service principal's."),
            "sas_token": _field("SAS token", "Azure: used instead of the account's key.", format="password"),
        },
    }


def _node_connection() -> dict[str, Any]:
    return {
        "connection-type": "restore_replay_node",
        "hook-class-name": f"{_PACKAGE}.hooks.connections.ReplayNodeConnectionHook",
        "hook-name": "Restore-replay node",
        "ui-field-behaviour": {
            "hidden-fields": ["host", "port", "schema", "login", "password", "extra"],
            "relabeling": {},
            "placeholders": {"workdir": "/var/lib/restore-replay", "bindir": "/usr/local/mariadb/bin"},
        },
        "conn-fields": {
            "workdir": _field("Work directory", "On the workers' host, with room for one copy of the data."),
            "bindir": _field(
                "Program directory", "Directory of the server's programs, if they are not on PATH."
            ),
        },
    }


def _field(label: str, description: str, **schema: str) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["string", "null"], **schema}}
