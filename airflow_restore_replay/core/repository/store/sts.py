"""A role's temporary credentials, assumed anew before they expire: AWS STS in one signed request.

obstore refreshes by itself what comes from a machine's role, a container's or a web identity. A role that is assumed
with other credentials it does not know; and a node need not have boto3 for that.
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
    """STS refused: repeating does not help. The text is STS's own, without any secret."""


class StsUnavailable(Exception):
    """STS did not answer; it may later."""


@dataclass(frozen=True)
class Role:
    """What to assume, and as whom.

    :param endpoint: of STS; Amazon's of the region unless given.
    :param ca_file: certificates to trust beside the system's.
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
    """Credentials as obstore asks for them, from any of its threads."""

    def __init__(self, role: Role) -> None:
        self._role = role
        self._lock = threading.Lock()
        self._current: Mapping[str, Any] | None = None
        self._until = self._renew_at = datetime.min.replace(tzinfo=UTC)

    def __call__(self) -> dict[str, Any]:
        """:returns: credentials that are good for some more minutes.

        :raises RoleDenied, StsUnavailable: and what there is has expired.
        """
        with self._lock:
            now = datetime.now(UTC)
            if self._current is None or now >= self._renew_at:
                self._renew(now)
            # obstore keeps what it is given until it expires: this makes it ask again, and the decision stays here.
            return {**(self._current or {}), "expires_at": now}

    def forget(self) -> None:
        """The store says that the credentials have expired, whatever our clock says."""
        with self._lock:
            self._current = None

    def _renew(self, now: datetime) -> None:
        try:
            self._current, self._until = assume(self._role, now)
        except (RoleDenied, StsUnavailable):
            if self._current is None or now >= self._until:
                raise
            return
        # A clock that is wrong by a few minutes, and one request of average length, fit into the margin.
        self._renew_at = self._until - min(_MARGIN, (self._until - now) / 3)


def assume(role: Role, now: datetime) -> tuple[dict[str, str], datetime]:
    """Ask STS.

    :returns: credentials by obstore's names, and when they expire.
    :raises RoleDenied: STS refuses. :raises StsUnavailable: it does not answer as it should.

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
    """:returns: the request's headers with a signature of version 4."""
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
    """:returns: STS's code and message."""
    try:
        # Not every STS says which namespace its errors are of.
        texts = {
            element.tag.rpartition("}")[2]: element.text for element in ElementTree.fromstring(answer).iter()
        }
    except ElementTree.ParseError:
        texts = {}
    found = [text.strip() for name in ("Code", "Message") if (text := texts.get(name))]
    return ": ".join(found)[:300] or answer[:200].decode(errors="replace")
