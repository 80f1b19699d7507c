"""A role's credentials: the request's signature, and when they are renewed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from airflow_restore_replay.core.repository.store import sts
from airflow_restore_replay.core.repository.store.sts import AssumedRole, Role, StsUnavailable

ROLE = Role(
    role_arn="arn:aws:iam::1:role/b", access_key_id="AKIA", secret_access_key="s3cret", region="eu-west-1"
)


@pytest.mark.parametrize("token", ["", "FwoGZXIvYXdzEJr=="])
def test_the_signature_is_the_one_that_amazons_client_makes(token: str) -> None:
    role = Role(
        role_arn=ROLE.role_arn,
        access_key_id="AKIA",
        secret_access_key="s3cret",
        session_token=token,
        region="eu-west-1",
    )
    now, body, endpoint = (
        datetime.now(UTC),
        b"Action=AssumeRole&RoleArn=arn%3Aaws",
        "https://sts.example:8443",
    )
    ours = sts._signed(role, endpoint, body, now)
    request = AWSRequest("POST", f"{endpoint}/", data=body, headers={"Content-Type": ours["content-type"]})
    request.context["timestamp"] = ours["x-amz-date"]
    signer = SigV4Auth(Credentials("AKIA", "s3cret", token or None), "sts", "eu-west-1")
    request.headers["X-Amz-Date"] = ours["x-amz-date"]
    if token:
        request.headers["X-Amz-Security-Token"] = token
    text = signer.string_to_sign(request, signer.canonical_request(request))
    assert ours["authorization"].endswith(f"Signature={signer.signature(text, request)}")


def _clock(monkeypatch: pytest.MonkeyPatch, minutes: list[float]) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return start + timedelta(minutes=minutes[0])

    monkeypatch.setattr(sts, "datetime", Clock)


def _answers(monkeypatch: pytest.MonkeyPatch, assume: Callable[[int, datetime], datetime]) -> None:
    count = itertools.count(1)

    def answer(role: Role, now: datetime) -> tuple[dict[str, str], datetime]:
        number = next(count)
        return {"token": f"t{number}"}, assume(number, now)

    monkeypatch.setattr(sts, "assume", answer)


def test_renewed_five_minutes_before_the_end_and_not_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    minutes = [0.0]
    _clock(monkeypatch, minutes)
    _answers(monkeypatch, lambda number, now: now + timedelta(hours=1))
    role, seen = AssumedRole(ROLE), []
    for minute in (0, 30, 54.9, 55.1, 80, 110.2):
        minutes[0] = minute
        seen.append(role()["token"])
    assert seen == ["t1", "t1", "t1", "t2", "t2", "t3"]


def test_an_old_token_serves_while_it_lives_when_sts_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    minutes = [0.0]
    _clock(monkeypatch, minutes)

    def once(number: int, now: datetime) -> datetime:
        if number > 1:
            raise StsUnavailable("away")
        return now + timedelta(hours=1)

    _answers(monkeypatch, once)
    role = AssumedRole(ROLE)
    assert role()["token"] == "t1"
    minutes[0] = 59
    assert role()["token"] == "t1"
    minutes[0] = 60.1
    with pytest.raises(StsUnavailable):
        role()


def test_forgetting_renews(monkeypatch: pytest.MonkeyPatch) -> None:
    _answers(monkeypatch, lambda number, now: now + timedelta(hours=1))
    role = AssumedRole(ROLE)
    assert role()["token"] == "t1"
    role.forget()
    assert role()["token"] == "t2"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"<html>", "no element|mismatched|unclosed|no credentials"),
        (b"<a/>", "no credentials"),
        (
            b'<R xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Credentials><AccessKeyId>A</AccessKeyId>'
            b"</Credentials></R>",
            "no SecretAccessKey",
        ),
    ],
)
def test_an_answer_that_is_none_is_refused(answer: bytes, why: str) -> None:
    with pytest.raises((ValueError, SyntaxError), match=why):
        sts._parsed(answer)


def test_no_secret_in_the_repr() -> None:
    assert "s3cret" not in repr(ROLE)
    assert sts._amazons("cn-north-1") == "https://sts.cn-north-1.amazonaws.com.cn"
