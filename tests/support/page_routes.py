"""The routes of the Backups page, as its OpenAPI document has them."""

from __future__ import annotations

import re

from airflow_restore_replay.web.app import make_app


def routes(cluster: str, backup_id: str) -> list[tuple[str, str]]:
    """Return method and path of every route, about that cluster and backup."""
    names = {"{cluster}": cluster, "{backup_id}": backup_id}
    paths = make_app().openapi()["paths"]
    filled = {path: re.sub(r"\{\w+\}", lambda found: names[found[0]], path) for path in paths}
    return [(method.upper(), filled[path]) for path, methods in paths.items() for method in methods]
