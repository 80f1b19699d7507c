"""Where a person sees a record of the repository."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from airflow_restore_replay.core.config.sections import RepositorySpec


def record_url(spec: RepositorySpec, path: str) -> str:
    """:param path: the object's name, ``manifests/<id>.json`` or ``verdicts/<id>.json``.

    :returns: its page by the template ``repository.browse``; else Amazon's console, for a bucket of theirs; else
        the object's own URL.
    """
    if spec.browse:
        return spec.browse.replace("{path}", path)
    parts = urlsplit(spec.url)
    if parts.scheme in ("s3", "s3a") and not spec.options.endpoint:
        key = "/".join(filter(None, (parts.path.strip("/"), path)))
        region = spec.options.region
        where = f"&region={quote(region)}" if region else ""
        return f"https://console.aws.amazon.com/s3/object/{quote(parts.netloc)}?prefix={quote(key)}{where}"
    return f"{spec.url.rstrip('/')}/{path}"


def manifest_url(spec: RepositorySpec, backup_id: str) -> str:
    """:returns: :func:`record_url` of a backup."""
    return record_url(spec, f"manifests/{backup_id}.json")


def verdict_url(spec: RepositorySpec, verdict_id: str) -> str:
    """:returns: :func:`record_url` of a verdict."""
    return record_url(spec, f"verdicts/{verdict_id}.json")
