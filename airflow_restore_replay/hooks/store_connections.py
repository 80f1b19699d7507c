"""Credentials of object stores from Airflow connections: a repository's own, Amazon's, Azure's and Google's.

Their providers need not be installed. A setting that only they can resolve, on the worker, is refused by name, because
a node could not refresh the result.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_restore_replay.core.config.store_options import AZURE_SCHEMES, GOOGLE_SCHEMES
from airflow_restore_replay.core.errors import ConfigInvalid

if TYPE_CHECKING:
    from airflow.sdk import Connection

REPOSITORY_CONN_TYPE = "restore_replay_repository"
_AZURE_CONN_TYPE = "wasb"
_GOOGLE_CONN_TYPE = "google_cloud_platform"

#: Extra fields of an Amazon connection → names in a repository's credentials.
_AMAZON_EXTRA = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "endpoint_url": "endpoint",
    "region_name": "region",
    "role_arn": "role_arn",
    "external_id": "external_id",
}
#: Arguments that an Amazon connection may pass to STS → names in a repository's credentials.
_ASSUME_ROLE = {
    "ExternalId": "external_id",
    "RoleSessionName": "role_session_name",
    "DurationSeconds": "role_duration",
}
_AMAZON_ONLY = ("profile_name", "session_kwargs", "config_kwargs", "s3_config_file")
_AZURE_ONLY = ("connection_string", "workload_identity_tenant_id", "managed_identity_client_id")
_GOOGLE_ONLY = ("key_secret_name", "impersonation_chain", "credential_config_file", "is_anonymous")
#: Extra fields of a repository connection; they have the same names in a repository's credentials.
_REPOSITORY_EXTRA = ("endpoint", "ca_file")
_S3_EXTRA = ("session_token", "region", "role_arn", "external_id", "sts_endpoint")
_AZURE_EXTRA = ("account_name", "sas_token", "tenant_id")
#: Credentials that are masked in logs.
_SECRETS = (
    *("secret_access_key", "session_token", "external_id"),
    *("account_key", "sas_token", "client_secret", "service_account_key"),
)


def connection_credentials(conn: Connection, url: str) -> dict[str, str]:
    """Return a repository's credentials, and mask them in logs from now on.

    :param url: URL of the repository; its scheme decides what login and password of a repository connection mean.
    :raises ConfigInvalid: the connection relies on a setting that only its provider can resolve.
    """
    extra: dict[str, Any] = conn.extra_dejson
    scheme = urlsplit(url).scheme
    if conn.conn_type == _AZURE_CONN_TYPE:
        found = _from_azure(conn, extra)
    elif conn.conn_type == _GOOGLE_CONN_TYPE:
        found = _from_google(conn.conn_id, extra)
    elif conn.conn_type != REPOSITORY_CONN_TYPE:
        found = _amazon(conn, "s3")
    elif scheme in AZURE_SCHEMES:
        found = _given(extra, (*_REPOSITORY_EXTRA, *_AZURE_EXTRA)) | _azure_login(conn, extra)
    elif scheme in GOOGLE_SCHEMES:
        key = {"service_account_key": conn.password} if conn.password else {}
        found = _given(extra, _REPOSITORY_EXTRA) | key
    else:
        found = _given(extra, (*_REPOSITORY_EXTRA, *_S3_EXTRA))
        found |= _login(conn, "access_key_id", "secret_access_key")
    mask(*(found.get(name) for name in _SECRETS))
    return found


def kms_access(conn: Connection) -> dict[str, str]:
    """Return the access to a KMS that a connection of type ``vault`` or ``aws`` gives, and mask its secrets in logs.

    :raises ConfigInvalid: the connection relies on a setting that only its provider can resolve.
    """
    found = _vault(conn) if conn.conn_type == "vault" else _amazon(conn, "kms")
    mask(*(found.get(name) for name in ("token", *_SECRETS)))
    return found


def mask(*secrets: str | None) -> None:
    """Keep *secrets* out of Airflow's logs."""
    from airflow.sdk.log import mask_secret

    for secret in filter(None, secrets):
        mask_secret(secret)


def _given(extra: dict[str, Any], names: Sequence[str]) -> dict[str, str]:
    return {name: str(extra[name]) for name in names if extra.get(name)}


def _login(conn: Connection, login: str, password: str) -> dict[str, str]:
    return {name: value for name, value in ((login, conn.login), (password, conn.password)) if value}


def _azure_login(conn: Connection, extra: dict[str, Any]) -> dict[str, str]:
    """Return login and password: with a tenant those of a service principal, otherwise those of the storage account."""
    names = ("client_id", "client_secret") if extra.get("tenant_id") else ("account_name", "account_key")
    return _login(conn, *names)


def _vault(conn: Connection) -> dict[str, str]:
    """Return token and address of a connection of HashiCorp's provider."""
    extra: dict[str, Any] = conn.extra_dejson
    method = str(extra.get("auth_type") or "token")
    if method != "token" or not conn.password:
        why = f"auth_type {method}" if method != "token" else "no password, which should be the token"
        raise ConfigInvalid(
            f"Connection {conn.conn_id!r} has {why}.",
            hint="Give it a token; for other ways to log in run a Vault agent, and name its sink as token_file.",
        )
    plain = conn.schema in ("http", "vault") or extra.get("use_tls") is False
    host = f"[{conn.host}]" if ":" in (conn.host or "") else conn.host
    address = f"{'http' if plain else 'https'}://{host}{f':{conn.port}' if conn.port else ''}"
    return {"token": conn.password, **({"address": address} if conn.host else {})}


def _refuse(conn_id: str, only: Sequence[str], instead: str) -> None:
    if only:
        raise ConfigInvalid(
            f"Connection {conn_id!r} uses {', '.join(only)}, which a replay node cannot use.", hint=instead
        )


def _amazon(conn: Connection, service: str) -> dict[str, str]:
    """Return the credentials of an Amazon connection, by the provider's own rules of precedence.

    :param service: the service that is asked, by Amazon's name.
    """
    conn_id, extra = conn.conn_id, conn.extra_dejson
    method = extra.get("assume_role_method") or "assume_role"
    only = [name for name in _AMAZON_ONLY if extra.get(name)]
    if extra.get("verify") is False:
        only.append("verify: false")
    if extra.get("role_arn") and method != "assume_role":
        only.append(f"assume_role_method: {method}")
    _refuse(
        conn_id,
        only,
        "Give keys, or keys and role_arn; or give workers and nodes the role (instance profile, container "
        "role, web identity) and leave repository.connection out. For a CA use options.ca_file.",
    )
    found = {ours: str(extra[theirs]) for theirs, ours in _AMAZON_EXTRA.items() if extra.get(theirs)}
    if isinstance(extra.get("verify"), str):
        found["ca_file"] = extra["verify"]
    services = extra.get("service_config") or {}
    for name, ours in ((service, "endpoint"), ("sts", "sts_endpoint")):
        if endpoint := (services.get(name) or {}).get("endpoint_url"):
            found[ours] = str(endpoint)
    for theirs, ours in _ASSUME_ROLE.items():
        if value := (extra.get("assume_role_kwargs") or {}).get(theirs):
            found[ours] = str(value)
    return found | _login(conn, "access_key_id", "secret_access_key")


def _from_azure(conn: Connection, extra: dict[str, Any]) -> dict[str, str]:
    """Return the credentials of an Azure connection: account and key, SAS token, or service principal."""
    _refuse(
        conn.conn_id,
        [name for name in _AZURE_ONLY if extra.get(name)],
        "Give the account's key, a SAS token or a service principal; or give workers and nodes an identity and "
        "leave repository.connection out.",
    )
    found = _given(extra, ("sas_token", "tenant_id")) | _azure_login(conn, extra)
    if extra.get("shared_access_key"):
        found["account_key"] = str(extra["shared_access_key"])
    # The account's URL, or its name alone.
    url = conn.host or ""
    if host := urlsplit(url).hostname if "//" in url else url:
        found["account_name"] = host.split(".")[0]
    return found


def _from_google(conn_id: str, extra: dict[str, Any]) -> dict[str, str]:
    """Return the credentials of a Google connection: a service account's key, or the file that has it."""
    _refuse(
        conn_id,
        [name for name in _GOOGLE_ONLY if extra.get(name)],
        "Give keyfile_dict or key_path; or give workers and nodes an identity and leave repository.connection out.",
    )
    if key := extra.get("keyfile_dict"):
        return {"service_account_key": key if isinstance(key, str) else json.dumps(key)}
    return {"service_account_file": str(extra["key_path"])} if extra.get("key_path") else {}
