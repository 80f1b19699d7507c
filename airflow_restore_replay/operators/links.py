"""Links from a task to the repository's records that it is about."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlsplit

from airflow.configuration import conf
from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey

    from airflow_restore_replay.core.config.sections import RepositorySpec

log = logging.getLogger(__name__)

#: path of the plugin's page in Airflow's UI
BACKUPS_PAGE = "/plugin/backups"


class RecordLink(BaseOperatorLink):
    """Link to a record, pushed as soon as the task knows its target, so that it works while the task is deferred."""

    label: ClassVar[str]

    @property
    def name(self) -> str:
        return self.label

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL that the task pushed. Airflow calls this on the worker when the task ends."""
        pushed = getattr(operator, "_record_links", {}).get(self.xcom_key)
        if pushed:
            return str(pushed)
        # A resumed task is another object than the one that pushed the link.
        ti: Any = ti_key
        pull = getattr(ti, "xcom_pull", None)
        return str(
            (pull(task_ids=ti.task_id, key=self.xcom_key, map_indexes=ti.map_index) if pull else "") or ""
        )


class BackupLink(RecordLink):
    """Link to the backup that the task is about."""

    label = "Backup record"


class VerdictLink(RecordLink):
    """Link to the verdict that the task recorded or acted on."""

    label = "Verdict"


def push_links(
    context: Context,
    cluster: str,
    spec: RepositorySpec,
    *,
    backup_id: str | None = None,
    verdict_id: str | None = None,
) -> None:
    """Push the links that are known. A link that cannot be pushed does not fail the task."""
    ti: Any = context["ti"]
    found = {}
    if backup_id:
        found[BackupLink().xcom_key] = manifest_url(spec, backup_id, cluster)
    if verdict_id:
        found[VerdictLink().xcom_key] = verdict_url(spec, verdict_id, cluster)
    links = {**getattr(ti.task, "_record_links", {}), **found}
    try:
        ti.task._record_links = links
        for key, url in found.items():
            ti.xcom_push(key=key, value=url)
    except Exception:
        log.warning("The link to the repository's record could not be pushed.", exc_info=True)


def record_url(spec: RepositorySpec, path: str, *page: str) -> str:
    """Return the URL of a record's page.

    The template ``repository.browse`` makes it. Without a template it is the Backups page of Airflow's UI for a
    directory, which a browser cannot open, Amazon's console for a bucket on Amazon S3, and the object's own URL
    otherwise.

    :param path: the object's name, ``manifests/<id>.json`` or ``verdicts/<id>.json``.
    :param page: what the Backups page shows: a cluster, and one of its backups.
    """
    if spec.browse:
        return spec.browse.replace("{path}", path)
    parts = urlsplit(spec.url)
    if parts.scheme == "file":
        base = conf.get("api", "base_url", fallback="") or ""
        return f"{base.rstrip('/')}{BACKUPS_PAGE}#/{'/'.join(quote(name, safe='') for name in page)}"
    if parts.scheme in ("s3", "s3a") and not spec.options.endpoint:
        key = "/".join(filter(None, (parts.path.strip("/"), path)))
        region = spec.options.region
        where = f"&region={quote(region)}" if region else ""
        return f"https://console.aws.amazon.com/s3/object/{quote(parts.netloc)}?prefix={quote(key)}{where}"
    return f"{spec.url.rstrip('/')}/{path}"


def manifest_url(spec: RepositorySpec, backup_id: str, cluster: str) -> str:
    """Return the :func:`record_url` of a backup."""
    return record_url(spec, f"manifests/{backup_id}.json", cluster, backup_id)


def verdict_url(spec: RepositorySpec, verdict_id: str, cluster: str) -> str:
    """Return the :func:`record_url` of a verdict."""
    return record_url(spec, f"verdicts/{verdict_id}.json", cluster)
