"""``repository.options``: settings of an object store besides its URL and credentials."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Literal
from urllib.parse import urlsplit

from airflow_restore_replay.core.config.strict import Strict
from airflow_restore_replay.core.config.units import Seconds

S3_SCHEMES = ("s3", "s3a")
GOOGLE_SCHEMES = ("gs",)
AZURE_SCHEMES = ("az", "adl", "azure", "abfs", "abfss")
OBJECT_SCHEMES = (*S3_SCHEMES, *GOOGLE_SCHEMES, *AZURE_SCHEMES)

_MIN_ROLE_S, _MAX_ROLE_S = 900.0, 43_200.0
#: options of every kind of object store
_COMMON = frozenset(
    {"allow_http", "ca_file", "connect_timeout", "endpoint", "proxy_url", "retry_timeout", "timeout"}
)
#: options of Azure only, and of Google Cloud Storage only
_AZURE = frozenset({"account_name", "other"})
_GOOGLE = frozenset({"service_account_file", "other"})
#: obstore's names of secrets
_SECRET = re.compile(r"(key|secret|token)$", re.IGNORECASE)


class StoreOptions(Strict, frozen=True, kw_only=True):
    """Options of an object store, without secrets: those come from a connection or the environment.

    :param endpoint: URL of a store that is not Amazon's, Azure's or Google's: ``https://minio.example:9000``.
    :param virtual_hosted: the bucket is part of the host name; by default it is part of the path, which every store
        supports.
    :param allow_http: allow unencrypted HTTP; an ``http://`` endpoint implies it.
    :param ca_file: PEM file of certificates to trust besides the system's, on every host that opens the repository.
    :param timeout: limit of one request; longer for objects larger than 16 MiB.
    :param retry_timeout: how long a failing call is retried.
    :param sse: server-side encryption; by default the bucket's default applies.
    :param sse_kms_key_id: key for ``aws:kms``.
    :param sse_bucket_key: use one data key for the bucket, which saves calls to KMS.
    :param storage_class: class of objects of 128 KiB and more; only classes with immediate reads are allowed.
    :param role_arn: role to assume with the credentials; it is assumed again before its token expires.
    :param role_duration: lifetime of one token of the role, 15m to 12h.
    :param account_name: Azure's storage account.
    :param service_account_file: Google's JSON key file, on every host that opens the repository.
    :param other: obstore's own keys, for ``gs://`` and ``az://`` only.
    """

    endpoint: str | None = None
    region: str | None = None
    virtual_hosted: bool = False
    allow_http: bool = False
    ca_file: str | None = None
    proxy_url: str | None = None
    timeout: Seconds = Seconds("60s")
    connect_timeout: Seconds = Seconds("10s")
    retry_timeout: Seconds = Seconds("2m")
    sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    sse_kms_key_id: str | None = None
    sse_bucket_key: bool = False
    storage_class: (
        Literal[
            "STANDARD",
            "STANDARD_IA",
            "ONEZONE_IA",
            "INTELLIGENT_TIERING",
            "GLACIER_IR",
            "REDUCED_REDUNDANCY",
        ]
        | None
    ) = None
    role_arn: str | None = None
    role_session_name: str = "restore-replay"
    role_duration: Seconds = Seconds("1h")
    external_id: str | None = None
    sts_endpoint: str | None = None
    account_name: str | None = None
    service_account_file: str | None = None
    other: dict[str, str] = {}

    def __post_init__(self) -> None:
        kms = self.sse in ("aws:kms", "aws:kms:dsse")
        if (self.sse_kms_key_id or self.sse_bucket_key) and not kms:
            raise ValueError("sse_kms_key_id and sse_bucket_key need sse: aws:kms or aws:kms:dsse")
        if self.external_id and not self.role_arn:
            raise ValueError("external_id needs role_arn")
        if not _MIN_ROLE_S <= self.role_duration <= _MAX_ROLE_S:
            raise ValueError(f"role_duration must be 15m to 12h, it is {self.role_duration:.0f} s")
        if secrets := sorted(filter(_SECRET.search, self.other)):
            raise ValueError(
                f"other.{secrets[0]} is a secret; it belongs into a connection or the environment"
            )

    def given(self) -> dict[str, Any]:
        """Return the options that differ from their defaults, by name."""
        return {
            name: value for name, default in _defaults().items() if (value := getattr(self, name)) != default
        }

    def refuse_unsuitable(self, url: str) -> None:
        """Raise if an option does not apply to the store of *url*, or if *url* contains a secret.

        :raises ValueError: the message names the option.
        """
        parts = urlsplit(url)
        if parts.scheme in OBJECT_SCHEMES and (parts.query or parts.password):
            raise ValueError(
                "url has a query or a password; secrets belong into a connection or the environment"
            )
        allowed = _allowed(parts.scheme)
        wrong = sorted(self.given().keys() - allowed)
        if wrong:
            names = f"allowed there: {', '.join(sorted(allowed))}" if allowed else "there are none for it"
            raise ValueError(f"options.{wrong[0]} means nothing for {url}; {names}")


def _allowed(scheme: str) -> frozenset[str]:
    """Return names of the options that apply to a store of *scheme*."""
    if scheme in S3_SCHEMES:
        return frozenset(StoreOptions.__struct_fields__) - _AZURE - _GOOGLE
    if scheme in AZURE_SCHEMES:
        return _COMMON | _AZURE
    return _COMMON | _GOOGLE if scheme in GOOGLE_SCHEMES else frozenset()


@cache
def _defaults() -> dict[str, Any]:
    """Return the defaults of all options; msgspec takes longer to find them than to read a cluster."""
    none_given = StoreOptions()
    return {name: getattr(none_given, name) for name in StoreOptions.__struct_fields__}
