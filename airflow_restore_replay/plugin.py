"""The Airflow plugin: the Backups page in Airflow's UI, and the routes that it asks.

Every task process loads this module, so it imports nothing but what Airflow has loaded. The first request imports the
routes.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

#: path of the routes and files, below Airflow's own
PREFIX = "/restore-replay"


class LazyApp:
    """An ASGI application that is imported by its first request.

    :param where: ``module:function``; the function makes the application.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._app is None:
            module, _, name = self._where.partition(":")
            self._app = getattr(import_module(module), name)()
        await self._app(scope, receive, send)


def _file(name: str) -> str:
    """Return the URL path of one of the page's files."""
    base = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
    return f"{base}{PREFIX}/static/{name}"


class RestoreReplayPlugin(AirflowPlugin):
    """The provider's entry in Airflow's list of plugins."""

    name = "restore_replay"
    fastapi_apps: list[Any] = [
        {
            "app": LazyApp("airflow_restore_replay.web.app:make_app"),
            "url_prefix": PREFIX,
            "name": "Restore-replay",
        }
    ]
    react_apps: list[Any] = [
        {
            "name": "Backups",
            "bundle_url": _file("page.js"),
            "destination": "nav",
            "nav_top_level": True,
            "url_route": "backups",
            "icon": _file("icon.svg"),
            "icon_dark_mode": _file("icon_dark.svg"),
        }
    ]
