"""Airflow's public API, wherever that Airflow runs."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from typing import Any


class AirflowApi(ABC):
    """Client of Airflow's API.

    :param url: URL of the API server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._token = ""

    @property
    @abstractmethod
    def password(self) -> str:
        """Return the admin's password."""

    def get(self, path: str, *, patience_s: float = 120.0) -> Any:
        """Ask Airflow's public API; on a busy machine it may keep one waiting for a while."""
        deadline = time.monotonic() + patience_s
        while True:
            try:
                return self.call("GET", path, None)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self.call("POST", path, body)

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        return self.call("PATCH", path, body)

    def call(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        try:
            return self._request(method, path, body)
        except urllib.error.HTTPError as exc:
            if exc.code != 401:
                raise
            credentials = {"username": "admin", "password": self.password}
            self._token = self._request("POST", "/auth/token", credentials)["access_token"]
            return self._request(method, path, body)

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"},
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            request, timeout=120
        ) as answer:
            return json.load(answer)
