"""Credentials for an object store in the environment, for a process elsewhere that does not have them."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from airflow_restore_replay.core.config.store_options import AZURE_SCHEMES, GOOGLE_SCHEMES, S3_SCHEMES

#: schemes of the repository's URL, and for those the variables with credentials, and obstore's names of them
_VARIABLES = (
    (
        S3_SCHEMES,
        {
            "AWS_ACCESS_KEY_ID": "access_key_id",
            "AWS_SECRET_ACCESS_KEY": "secret_access_key",
            "AWS_SESSION_TOKEN": "session_token",
        },
    ),
    (
        AZURE_SCHEMES,
        {
            "AZURE_STORAGE_ACCOUNT_NAME": "account_name",
            "AZURE_STORAGE_ACCOUNT_KEY": "account_key",
            "AZURE_STORAGE_SAS_KEY": "sas_key",
            "AZURE_STORAGE_CLIENT_ID": "client_id",
            "AZURE_STORAGE_CLIENT_SECRET": "client_secret",
            "AZURE_STORAGE_TENANT_ID": "tenant_id",
        },
    ),
    (GOOGLE_SCHEMES, {"GOOGLE_SERVICE_ACCOUNT_KEY": "service_account_key"}),
)


def credentials_of_environment(url: str) -> dict[str, str]:
    """Return what the environment has for the store of *url*; empty if it has nothing."""
    scheme = urlsplit(url).scheme
    found: dict[str, str] = {}
    for schemes, names in _VARIABLES:
        if scheme in schemes:
            found |= {ours: os.environ[name] for name, ours in names.items() if os.environ.get(name)}
    return found
