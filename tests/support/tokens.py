"""A gate between clients and an S3 server that lets a role's tokens expire, as Amazon's does and moto does not."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta

from tests.support.proxy import FaultyProxy

_TOKEN = re.compile(rb"<SessionToken>(.*?)</SessionToken>")
_EXPIRATION = re.compile(rb"<Expiration>.*?</Expiration>")
_EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
_INVALID = b"<Error><Code>InvalidToken</Code><Message>The provided token is malformed.</Message></Error>"
_UNAVAILABLE = b"<Error><Code>ServiceUnavailable</Code></Error>"


class TokenGate(FaultyProxy):
    """Speaks STS and S3 on one port; only tokens that went through it are taken, and only while they live.

    :param life_s: how long a token really lives. :param told_s: what STS says about that, if not the truth.
    :ivar issued: how many tokens there were. :ivar refused: requests with a token that had expired.
    :ivar sts_down: STS answers 503. :ivar ahead_s: by how much the gate's clock is ahead of this host's.
    """

    def __init__(self, upstream_port: int, *, life_s: float, told_s: float | None = None) -> None:
        self._life_s, self._told_s = life_s, life_s if told_s is None else told_s
        self._until: dict[str, datetime] = {}
        self._guard = threading.Lock()
        self.issued = self.refused = 0
        self.sts_down = False
        self.ahead_s = 0.0
        self.source_keys: set[str] = set()
        super().__init__(upstream_port)

    def clock(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)

    def expire(self) -> None:
        """End all tokens, whatever STS said about them."""
        with self._guard:
            self._until = dict.fromkeys(self._until, self.clock())

    def refuse(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes] | None:
        if b"Action=AssumeRole" in body:
            key = re.search(r"Credential=([^/]+)/", headers.get("authorization", ""))
            self.source_keys.add(key[1] if key else "")
            return (503, _UNAVAILABLE) if self.sts_down else None
        with self._guard:
            until = self._until.get(headers.get("x-amz-security-token", ""))
            if until is None:
                return 400, _INVALID
            if self.clock() > until:
                self.refused += 1
                return 400, _EXPIRED
        return None

    def rewrite(self, body: bytes, answer: bytes) -> bytes:
        token = _TOKEN.search(answer) if b"Action=AssumeRole" in body else None
        if not token:
            return answer
        with self._guard:
            self.issued += 1
            # moto's tokens are all alike; Amazon's are not.
            fresh = f"{token[1].decode()}{self.issued}"
            self._until[fresh] = self.clock() + timedelta(seconds=self._life_s)
        told = (self.clock() + timedelta(seconds=self._told_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = _TOKEN.sub(b"<SessionToken>%s</SessionToken>" % fresh.encode(), answer)
        return _EXPIRATION.sub(b"<Expiration>%s</Expiration>" % told.encode(), answer)
