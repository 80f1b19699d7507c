"""Choose the image of a node, and check that it suits the backup before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import ConfigInvalid, PreflightFailed
from airflow_restore_replay.core.flavor.endpoints import primary_endpoint
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.jobs.protocol import Secrets
from airflow_restore_replay.core.repository.format.records import Manifest

if TYPE_CHECKING:
    from airflow_restore_replay.core.runtime.engine import Engine

#: labels of the image, as docker/node/Dockerfile sets them
FLAVOR_LABEL = "restore-replay.flavor"
VERSION_LABEL = "restore-replay.server-version"

_ROOT = ("", "root", "0")


def depends_on_release(template: str) -> bool:
    """Return whether the image depends on a server's release."""
    return "{version}" in template or "{series}" in template


def release_needed(cluster: Cluster, base: Manifest | None, secrets: Secrets) -> str:
    """Return the server release that the node needs.

    It is the backup's. Without a backup it is the primary's, which is queried only if the image depends on it.

    :param base: the backup that the node will restore; None if it is filled from the primary.
    :returns: the release, or ``""`` if none is needed.
    :raises PrimaryUnreachable: the primary cannot be queried.
    """
    if base is not None:
        return base.server_release
    if not depends_on_release(cluster.node.image or ""):
        return ""
    flavor = get_flavor(cluster.flavor)
    with flavor.connect(primary_endpoint(cluster.primary, secrets.primary_password)) as conn:
        return flavor.identity(conn).release


def image_name(template: str, *, flavor: str, release: str) -> str:
    """Return the image name for *template*.

    :param template: may have the placeholders ``{flavor}``, ``{version}`` (10.11.19) and ``{series}`` (10.11).
    :param release: server release that the node needs; empty if it is unknown.
    :raises ConfigInvalid: *template* has other placeholders, or needs the release while it is unknown.
    """
    if depends_on_release(template) and not release:
        raise ConfigInvalid(
            f"node.image {template!r} is chosen by the server release, which is unknown for this node.",
            hint="Give CreateReplayNodeOperator the backup_id that the node will restore.",
        )
    series = ".".join(release.split(".")[:2])
    try:
        return template.format(flavor=flavor, version=release, series=series)
    except (KeyError, IndexError, ValueError) as exc:
        raise ConfigInvalid(
            f"node.image {template!r} is not a name with {{flavor}}, {{version}} or {{series}} in it."
        ) from exc


def suitable_image(engine: Engine, cluster: Cluster, release: str) -> str:
    """Find the image, and pull it if the engine does not have it.

    :param release: server release of the backup, or of the primary for a fresh full; empty if it is unknown.
    :returns: name of the image.
    :raises ReleaseRefused: the image's server is older than the backup's.
    :raises PreflightFailed: there is no such image, it has another flavor, or it runs as root.
    """
    name = image_name(cluster.node.image or "", flavor=cluster.flavor, release=release)
    config = _inspect(engine, name)["Config"]
    labels = config.get("Labels") or {}
    if (config.get("User") or "").split(":")[0] in _ROOT:
        raise PreflightFailed(f"Image {name} runs as root.", hint="End its Dockerfile with a USER.")
    if (flavor := labels.get(FLAVOR_LABEL)) != cluster.flavor:
        raise PreflightFailed(
            f"Image {name} has {f'a server of {flavor}' if flavor else f'no label {FLAVOR_LABEL}'}; "
            f"the cluster is {cluster.flavor}.",
            hint="Build it from docker/node/Dockerfile, which sets the labels.",
        )
    if release:
        version = str(labels.get(VERSION_LABEL, ""))
        get_flavor(cluster.flavor).refuse_release(backup=release, node=version, primary=version)
    return name


def _inspect(engine: Engine, name: str) -> dict[str, Any]:
    from docker.errors import NotFound

    with engine.failures():
        try:
            return dict(engine.client.inspect_image(name))
        except NotFound:
            _pull(engine, name)
        return dict(engine.client.inspect_image(name))


def _pull(engine: Engine, name: str) -> None:
    from docker.errors import APIError

    repository, _, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "latest")
    try:
        engine.pull(repository, tag)
    except APIError as exc:
        raise PreflightFailed(
            f"The engine has no image {name} and cannot pull it: {exc.explanation or exc}.",
            hint="Build it there with `make images`, or push it to a registry that the engine reaches.",
        ) from exc
