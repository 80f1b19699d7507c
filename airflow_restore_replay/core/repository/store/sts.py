"""Temporary credentials of an assumed role, renewed before they expire by one signed request to AWS STS.

obstore itself refreshes credentials of an instance profile, a container role or a web identity, but it cannot assume a
role with other credentials. This module does so without boto3, which nodes do not need to have.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree

_NAMESPACE = {"sts": "https://sts.amazonaws.com/doc/2011-06-15/"}
_MARGIN = timedelta(minutes=5)
_TYPE = "application/x-www-form-urlencoded; charset=utf-8"


class RoleDenied(Exception):
    """STS refused, so retrying does not help. The text is STS's own, without any secret."""


class StsUnavailable(Exception):
    """STS did not answer as it should, so a retry may help."""


@dataclass(frozen=True)
class Role:
    """A role to assume, and the credentials to assume it with.

    :param endpoint: endpoint of STS; by default Amazon's of the region.
    :param ca_file: certificates to trust besides the system's.
    """

    role_arn: str
    access_key_id: str
    secret_access_key: str
    session_token: str = ""
    region: str = "us-east-1"
    session_name: str = "restore-replay"
    duration_s: float = 3600.0
    external_id: str = ""
    endpoint: str = ""
    ca_file: str | None = None
    timeout_s: float = 30.0

    def __repr__(self) -> str:
        return f"Role({self.role_arn})"


class AssumedRole:
    """Credential provider for obstore, which may call it from any of its threads."""

    def __init__(self, role: Role) -> None:
        self._role = role
        self._lock = threading.Lock()
        self._current: Mapping[str, Any] | None = None
        self._until = self._renew_at = datetime.min.replace(tzinfo=UTC)

    def __call__(self) -> dict[str, Any]:
        """Return credentials that remain valid for some minutes, as far as STS is available.

        :raises RoleDenied, StsUnavailable: STS failed, and the current credentials have expired.
        """
        with self._lock:
            now = datetime.now(UTC)
            if self._current is None or now >= self._renew_at:
                self._renew(now)
            # obstore caches credentials until they expire. With this time it always asks again, so this class decides
            # when to renew them.
            return {**(self._current or {}), "expires_at": now}

    def forget(self) -> None:
        """Discard the credentials, because the store says that they have expired, whatever this host's clock says."""
        with self._lock:
            self._current = None

    def _renew(self, now: datetime) -> None:
        try:
            self._current, self._until = assume(self._role, now)
        except (RoleDenied, StsUnavailable):
            if self._current is None or now >= self._until:
                raise
            return
        # The margin covers a clock that is wrong by a few minutes, and one request of average length.
        self._renew_at = self._until - min(_MARGIN, (self._until - now) / 3)


def assume(role: Role, now: datetime) -> tuple[dict[str, str], datetime]:
    """Request credentials of the role from STS.

    :returns: credentials by obstore's names, and when they expire.
    :raises RoleDenied: STS refuses.
    :raises StsUnavailable: STS does not answer as it should.

    Source: AWS STS API reference, "AssumeRole"; IAM user guide, "Create a signed AWS API request".
    """
    body = urlencode(_parameters(role)).encode()
    endpoint = role.endpoint or _amazons(role.region)
    request = urllib.request.Request(
        f"{endpoint.rstrip('/')}/", data=body, headers=_signed(role, endpoint, body, now), method="POST"
    )
    context = ssl.create_default_context() if endpoint.startswith("https:") else None
    if context and role.ca_file:
        context.load_verify_locations(cafile=role.ca_file)
    try:
        with urllib.request.urlopen(request, timeout=role.timeout_s, context=context) as answer:
            return _parsed(answer.read(2**20))
    except urllib.error.HTTPError as exc:
        text = f"{role.role_arn}: {exc.code} {_said(exc.read(2**16))}"
        kind = RoleDenied if 400 <= exc.code < 500 and exc.code != 429 else StsUnavailable
        raise kind(text) from None
    except (OSError, ElementTree.ParseError, ValueError) as exc:
        raise StsUnavailable(f"{urlsplit(endpoint).netloc}: {exc}") from None


def _parameters(role: Role) -> dict[str, str]:
    parameters = {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": role.role_arn,
        "RoleSessionName": role.session_name,
        "DurationSeconds": str(round(role.duration_s)),
    }
    return parameters | ({"ExternalId": role.external_id} if role.external_id else {})


def _amazons(region: str) -> str:
    return f"https://sts.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def _signed(role: Role, endpoint: str, body: bytes, now: datetime) -> dict[str, str]:
    """Return the headers of the request, with its AWS signature of version 4."""
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {"content-type": _TYPE, "host": urlsplit(endpoint).netloc, "x-amz-date": stamp}
    if role.session_token:
        headers["x-amz-security-token"] = role.session_token
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{day}/{role.region}/sts/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{role.secret_access_key}".encode()
    for part in (day, role.region, "sts", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"{role.access_key_id}/{scope}"
    authorization = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "authorization": authorization}


def _parsed(answer: bytes) -> tuple[dict[str, str], datetime]:
    found = ElementTree.fromstring(answer).find(".//sts:Credentials", _NAMESPACE)
    if found is None:
        raise ValueError("the answer has no credentials")

    def field(name: str) -> str:
        text = found.findtext(f"sts:{name}", namespaces=_NAMESPACE)
        if not text:
            raise ValueError(f"the answer has no {name}")
        return text

    credentials = {
        "access_key_id": field("AccessKeyId"),
        "secret_access_key": field("SecretAccessKey"),
        "token": field("SessionToken"),
    }
    until = datetime.fromisoformat(field("Expiration").replace("Z", "+00:00"))
    return credentials, until if until.tzinfo else until.replace(tzinfo=UTC)


def _said(answer: bytes) -> str:
    """Return code and message of an error of STS."""
    try:
        # Not every STS states the namespace of its errors.
        texts = {
            element.tag.rpartition("}")[2]: element.text for element in ElementTree.fromstring(answer).iter()
        }
    except ElementTree.ParseError:
        texts = {}
    found = [text.strip() for name in ("Code", "Message") if (text := texts.get(name))]
    return ": ".join(found)[:300] or answer[:200].decode(errors="replace")
