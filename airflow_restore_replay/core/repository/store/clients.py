"""Create obstore's clients from ``repository.options`` and credentials."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from obstore import exceptions as oe
from obstore.store import from_url

from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.config.store_options import (
    AZURE_SCHEMES,
    GOOGLE_SCHEMES,
    S3_SCHEMES,
    StoreOptions,
)
from airflow_restore_replay.core.config.units import Seconds
from airflow_restore_replay.core.errors import ConfigInvalid
from airflow_restore_replay.core.repository.store.sts import AssumedRole, Role

MAX_BACKOFF_S = 5.0
#: the slowest link on which a request for a large object may still complete
_MIN_BYTES_PER_S = 2**20
#: options that a connection may have as well; those in the cluster file take precedence
_SHARED = ("ca_file", "role_arn", "role_session_name", "role_duration", "external_id", "sts_endpoint")

_QUERY = re.compile(r"\?[^\s\"'<>)]*")
_ANSWER = re.compile(
    r"(?:<\?xml[^>]*>)?\s*<Error>.*?<Code>([^<]*)</Code>(?:\s*<Message>([^<]*)</Message>)?.*"
)
_SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|SAS|CREDENTIAL", re.IGNORECASE)
_PUBLIC_NAME = re.compile(
    r"^(endpoint|region|bucket|container|ca_file|account_name|service_account_file|role_.*|.*_endpoint.*)$",
    re.IGNORECASE,
)
#: option → obstore's name of it for Google Cloud Storage
_GOOGLE_NAMES = {"endpoint": "base_url", "service_account_file": "service_account"}


@dataclass
class Clients:
    """The obstore clients of one store, each with its own request timeout.

    :ivar role: provides the credentials of an assumed role, or None.
    :ivar secrets: texts that never appear in messages.
    """

    spec: RepositorySpec
    credentials: Mapping[str, str]
    role: AssumedRole | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.secrets = _secret_values(self.credentials)
        self._slow: dict[int, Any] = {}
        try:
            self.spec.options.refuse_unsuitable(self.spec.url)
            self.options = _with_connection(self.spec.options, self.credentials)
        except (ValueError, msgspec.ValidationError) as exc:
            raise ConfigInvalid(f"repository: {exc}.") from None
        if self.options.role_arn:
            self.role = AssumedRole(_role(self.options, self.credentials))
        self.usual = self._made(self.options.timeout)

    def for_size(self, size_bytes: int) -> Any:
        """Return a client whose timeout is long enough to transfer *size_bytes* over a slow link."""
        doublings = (size_bytes // _MIN_BYTES_PER_S // 16).bit_length()
        if not doublings:
            return self.usual
        if doublings not in self._slow:
            self._slow[doublings] = self._made(self.options.timeout + 16 * 2**doublings)
        return self._slow[doublings]

    def redacted(self, text: str) -> str:
        """Return the first line of obstore's message, without query strings and known secrets."""
        return redacted(text, self.secrets)

    def _made(self, timeout_s: float) -> Any:
        config = self._config()
        provider: dict[str, Any] = {"credential_provider": self.role} if self.role else {}
        try:
            return from_url(
                self.spec.url,
                config=config,  # type: ignore[call-overload]
                client_options=self._client_options(timeout_s),
                retry_config=_retry_config(self.options.retry_timeout),
                **provider,
            )
        except (oe.BaseError, ValueError, TypeError) as exc:
            raise ConfigInvalid(
                f"repository: cannot open {self.spec.url}: {self.redacted(str(exc))}."
            ) from None

    def _config(self) -> dict[str, Any]:
        options = self.options
        config: dict[str, Any] = {k: v for k, v in self.credentials.items() if k not in _SHARED}
        if self.role:
            for name in ("access_key_id", "secret_access_key", "session_token"):
                config.pop(name, None)
        config |= {
            name: value
            for name, value in {
                "endpoint": options.endpoint,
                "region": options.region,
                "server_side_encryption": options.sse,
                "sse_kms_key_id": options.sse_kms_key_id,
                "account_name": options.account_name,
                "service_account_file": options.service_account_file,
            }.items()
            if value
        }
        if options.sse_bucket_key:
            config["sse_bucket_key_enabled"] = "true"
        scheme = urlsplit(self.spec.url).scheme
        if scheme in GOOGLE_SCHEMES:
            config = {_GOOGLE_NAMES.get(name, name): value for name, value in config.items()}
        if scheme in S3_SCHEMES:
            # Objects are deleted one by one, because not every store supports bulk deletes.
            config["disable_bulk_delete"] = "true"
        if options.virtual_hosted:
            config["virtual_hosted_style_request"] = "true"
        return config | options.other

    def _client_options(self, timeout_s: float) -> dict[str, Any]:
        options = self.options
        endpoints = (options.endpoint, self.credentials.get("endpoint"), _environment_endpoint(self.spec.url))
        plain = any(str(endpoint).startswith("http://") for endpoint in endpoints)
        client: dict[str, Any] = {
            "timeout": timedelta(seconds=timeout_s),
            "connect_timeout": timedelta(seconds=options.connect_timeout),
            "allow_http": options.allow_http or plain,
        }
        if options.proxy_url:
            client["proxy_url"] = options.proxy_url
        if options.ca_file:
            client["root_certificate"] = _pem(options.ca_file)
        return client


def redacted(text: str, secrets: tuple[str, ...]) -> str:
    """Return the first line of obstore's message, without query strings and *secrets*."""
    first = text.split("Debug source")[0].strip().replace("\n", " ")
    first = _ANSWER.sub(lambda match: ": ".join(filter(None, match.groups())), first)
    first = _QUERY.sub("", first)
    for secret in secrets:
        first = first.replace(secret, "***")
    return first[:600]


def _with_connection(options: StoreOptions, credentials: Mapping[str, str]) -> StoreOptions:
    """Return *options*, completed by those of a connection."""
    given = options.given()
    found = {key: credentials[key] for key in _SHARED if key in credentials and key not in given}
    if "role_duration" in found:
        return msgspec.structs.replace(
            options, **{**found, "role_duration": Seconds(float(found["role_duration"]))}
        )
    return msgspec.structs.replace(options, **found) if found else options


def _role(options: StoreOptions, credentials: Mapping[str, str]) -> Role:
    def source(name: str) -> str:
        # An access key and its secret belong together, so a connection is never completed from the environment.
        own = credentials.get("access_key_id")
        return credentials.get(name, "") if own else os.environ.get(f"AWS_{name.upper()}", "")

    if not source("access_key_id") or not source("secret_access_key"):
        raise ConfigInvalid(
            f"repository: to assume {options.role_arn}, an access key is needed, and there is none.",
            hint="Set one in the connection or the environment; or give the host the role itself (instance profile, "
            "container role, web identity), and leave role_arn out.",
        )
    return Role(
        role_arn=options.role_arn or "",
        access_key_id=source("access_key_id"),
        secret_access_key=source("secret_access_key"),
        session_token=source("session_token"),
        region=options.region or credentials.get("region") or os.environ.get("AWS_REGION") or "us-east-1",
        session_name=options.role_session_name,
        duration_s=options.role_duration,
        external_id=options.external_id or "",
        endpoint=options.sts_endpoint or os.environ.get("AWS_ENDPOINT_URL_STS", ""),
        ca_file=options.ca_file,
    )


def _environment_endpoint(url: str) -> str:
    scheme = urlsplit(url).scheme
    names: tuple[str, ...] = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    if scheme in AZURE_SCHEMES:
        names = ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
    elif scheme in GOOGLE_SCHEMES:
        names = ("GOOGLE_BASE_URL",)
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


def _pem(path: str) -> bytes:
    try:
        pem = Path(path).read_bytes()
    except OSError as exc:
        raise ConfigInvalid(
            f"Cannot read repository.options.ca_file {path}: {exc.strerror}.",
            hint="The file must be on every host that opens the repository: workers and nodes.",
        ) from exc
    if b"BEGIN CERTIFICATE" not in pem:
        raise ConfigInvalid(f"repository.options.ca_file {path} holds no certificate in PEM form.")
    return pem


def _retry_config(retry_timeout_s: float) -> dict[str, Any]:
    """Return the settings of obstore's own jittered retries, within one attempt of :class:`RemoteStore`."""
    backoff = {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=MAX_BACKOFF_S),
    }
    return {"max_retries": 3, "retry_timeout": timedelta(seconds=retry_timeout_s), "backoff": backoff}


def _secret_values(credentials: Mapping[str, str]) -> tuple[str, ...]:
    given = [v for k, v in credentials.items() if not _PUBLIC_NAME.match(k)]
    environment = [v for k, v in os.environ.items() if _SECRET_NAME.search(k)]
    return tuple(v for v in sorted({*given, *environment}, key=len, reverse=True) if len(v) >= 4)
