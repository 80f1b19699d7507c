"""What a user says about an object store beside its URL and credentials: ``repository.options``."""

from __future__ import annotations

import re
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from airflow_restore_replay.core.config.strict import Strict
from airflow_restore_replay.core.config.units import Seconds

S3_SCHEMES = ("s3", "s3a")
GOOGLE_SCHEMES = ("gs",)
AZURE_SCHEMES = ("az", "adl", "azure", "abfs", "abfss")
OBJECT_SCHEMES = (*S3_SCHEMES, *GOOGLE_SCHEMES, *AZURE_SCHEMES)

_MIN_ROLE_S, _MAX_ROLE_S = 900.0, 43_200.0
#: what every kind of object store has
_COMMON = frozenset(
    {"allow_http", "ca_file", "connect_timeout", "endpoint", "proxy_url", "retry_timeout", "timeout"}
)
#: what only Azure, and only Google Cloud Storage has
_AZURE = frozenset({"account_name", "other"})
_GOOGLE = frozenset({"service_account_file", "other"})
#: obstore's own names of secrets
_SECRET = re.compile(r"(key|secret|token)$", re.IGNORECASE)


class StoreOptions(Strict, frozen=True, kw_only=True):
    """No secrets: they come from a connection or the environment.

    :param endpoint: of a store that is not Amazon's, Azure's or Google's: ``https://minio.example:9000``.
    :param virtual_hosted: the bucket is part of the host's name; otherwise of the path, which every store knows.
    :param allow_http: send everything in the clear; an ``http://`` endpoint says so by itself.
    :param ca_file: PEM file, on every host that opens the repository, of certificates to trust beside the system's.
    :param timeout: of one request; longer for objects that are larger than 16 MiB.
    :param retry_timeout: for so long a call is repeated before it fails.
    :param sse: server-side encryption; unless given, the bucket's default counts.
    :param sse_kms_key_id: key for ``aws:kms``. :param sse_bucket_key: one data key for the bucket: fewer calls to KMS.
    :param storage_class: of objects of 128 KiB and more; only classes that can be read at once.
    :param role_arn: role to assume with the credentials; it is assumed anew before its token expires.
    :param role_duration: of one token of the role, 15m to 12h.
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
        """:returns: the options that are not at their defaults, by name."""
        return {
            field.name: value
            for field in msgspec.structs.fields(self)
            if (value := getattr(self, field.name)) != _default(field)
        }

    def refuse_unsuitable(self, url: str) -> None:
        """:raises ValueError: an option means nothing for the store of *url*, by name; or *url* has a secret."""
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
    """:returns: names of the options that mean something for a store of *scheme*."""
    if scheme in S3_SCHEMES:
        return frozenset(StoreOptions.__struct_fields__) - _AZURE - _GOOGLE
    if scheme in AZURE_SCHEMES:
        return _COMMON | _AZURE
    return _COMMON | _GOOGLE if scheme in GOOGLE_SCHEMES else frozenset()


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
