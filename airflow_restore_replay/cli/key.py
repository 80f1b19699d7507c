"""``restore-replay key``: make encryption keys, and show which ones a cluster's backups need."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import click

from airflow_restore_replay.cli.connections import repository_keys
from airflow_restore_replay.cli.exit_codes import Exit
from airflow_restore_replay.cli.output import console, show_table
from airflow_restore_replay.cli.scope import Scope, choose_cluster, scoped
from airflow_restore_replay.core.config.cluster import CONFIG_VARIABLE, Cluster
from airflow_restore_replay.core.config.encryption_keys import KEY_BYTES, KeySource, read_key
from airflow_restore_replay.core.errors import ConfigInvalid, TargetNotEmpty
from airflow_restore_replay.core.repository.format.keyring import Key
from airflow_restore_replay.core.repository.key_sources import WrappedKeys
from airflow_restore_replay.core.repository.objects.key_checks import check_complaint, key_path, known_keys
from airflow_restore_replay.core.repository.objects.wrapped_keys import wrapped_complaints, wrapped_path
from airflow_restore_replay.core.repository.repository import Repository


@click.group("key")
def command() -> None:
    """Encryption keys: make one, print its id, check those of a cluster."""


@command.command("new")
@click.argument("path", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option("--kms", is_flag=True, help="Make the data key of the KMS key that the cluster file names.")
@click.option("--config", envvar=CONFIG_VARIABLE, metavar="FILE", help="With --kms: the cluster file.")
@click.option("--cluster", metavar="NAME", help="With --kms: cluster of the file.")
def new(path: Path | None, kms: bool, config: str | None, cluster: str | None) -> None:
    """Write a new random key to FILE (mode 0600) and print its id. An existing file is never overwritten.

    With --kms, wrap the key by the KMS, store the wrapped key in the repository, and print no key.
    """
    if kms == (path is not None):
        raise click.UsageError("Give either FILE or --kms.")
    if path:
        _new_file(path)
    elif config:
        _new_wrapped(choose_cluster(config, cluster))
    else:
        raise click.UsageError(f"--kms needs --config, or ${CONFIG_VARIABLE}.")


def _new_wrapped(cluster: Cluster) -> None:
    encryption = cluster.repository.encryption
    if encryption is None or not encryption.key.kms:
        raise ConfigInvalid(f"clusters.{cluster.name}.repository.encryption.key is no key of a KMS.")
    made = WrappedKeys.of(cluster, encryption.key).new()
    _say(made.key_id)
    _advise(made.key_id, made.generation)


def _advise(key_id: str, generation: int) -> None:
    click.echo(
        f"Keep a copy of {wrapped_path(key_id, generation)} elsewhere: without it, or without the KMS key, the "
        "backups are unreadable.",
        err=True,
    )


def _new_file(path: Path) -> None:
    key = secrets.token_hex(KEY_BYTES)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise TargetNotEmpty(
            f"{path} exists; a key is never overwritten.", hint="Name another file."
        ) from None
    except OSError as exc:
        raise ConfigInvalid(f"Cannot write {path}: {exc.strerror}.") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(f"{key}\n")
        stream.flush()
        os.fsync(stream.fileno())
    _say(Key.of(key).key_id)
    click.echo("Keep copies elsewhere: without the key the backups are unreadable.", err=True)


@command.command("id")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
def show_id(path: Path) -> None:
    """Print the id of the key in FILE."""
    _say(Key.of(read_key(KeySource(file=str(path)))).key_id)


@command.command("rewrap")
@scoped
def rewrap(scope: Scope) -> None:
    """Wrap the cluster's data keys again, under the newest versions of their KMS keys.

    The data keys, and so the backups, stay as they are. Run it after the KMS key was rotated.
    """
    encryption = scope.cluster.repository.encryption
    sources = [source for source in encryption.sources if source.kms] if encryption else []
    if not sources:
        raise ConfigInvalid(f"clusters.{scope.cluster.name}.repository.encryption names no key of a KMS.")
    done = [(source, WrappedKeys.of(scope.cluster, source).rewrap()) for source in sources]
    if scope.as_json:
        rows = [
            {"key_id": key.key_id, "source": str(source), "path": wrapped_path(key.key_id, key.generation)}
            for source, key in done
        ]
        scope.emit({"keys": rows})
        return
    for source, key in done:
        _say(f"{key.key_id}: {source}, {wrapped_path(key.key_id, key.generation)}")
        _advise(key.key_id, key.generation)


@command.command("check")
@scoped
def check(scope: Scope) -> None:
    """Read the cluster's keys, test them on its repository, and show how many backups and archived logs need each.

    Exit codes: 0 every key that is needed is available, 2 one is not, a key is wrong, or its check is damaged.
    """
    encryption = scope.cluster.repository.encryption
    if encryption is None:
        raise ConfigInvalid(f"clusters.{scope.cluster.name}.repository.encryption is not configured.")
    keys = repository_keys(scope.cluster)
    sources = {Key.of(k).key_id: str(s) for k, s in zip(keys, encryption.sources, strict=True)}
    repository = scope.repository()
    rows = _rows(repository, sources)
    lost = [r for r in rows if (not r["source"] and (r["backups"] or r["logs"])) or r["complaint"]]
    damaged = (
        wrapped_complaints(repository.store, repository.cluster, repository.keyring)
        if repository.keyring
        else {}
    )
    if scope.as_json:
        scope.emit({"keys": rows, "ok": not lost and not damaged} | ({"wrapped": damaged} if damaged else {}))
    else:
        table = [
            [
                str(r["key_id"]),
                str(r["source"] or "not available"),
                *(str(r[k]) for k in ("state", "backups", "logs")),
            ]
            for r in rows
        ]
        show_table(["KEY", "SOURCE", "STATE", "BACKUPS", "LOGS"], table)
        for row in rows:
            if row["complaint"]:
                console(stderr=True).print(
                    f"{key_path(str(row['key_id']))}: {row['complaint']}", markup=False
                )
        for path, complaint in damaged.items():
            console(stderr=True).print(f"{path}: {complaint}", markup=False)
    raise click.exceptions.Exit(Exit.REFUSED if lost or damaged else Exit.OK)


def _rows(repository: Repository, sources: dict[str, str]) -> list[dict[str, str | int]]:
    needed = {key_id: len(ids) for key_id, ids in repository.keys_needed().items()}
    logs = {key_id: len(names) for key_id, names in repository.log_keys_needed().items()}
    known = known_keys(repository.store)
    used = {*known, *needed, *logs}
    order = [repository.key_id, *sources, *sorted(known), *sorted(needed), *sorted(logs)]
    return [
        {
            "key_id": key_id,
            "source": sources.get(key_id, ""),
            "state": _state(key_id, active=repository.key_id, known=key_id in known),
            "backups": needed.get(key_id, 0),
            "logs": logs.get(key_id, 0),
            "complaint": _complaint(repository, key_id, used=key_id in used),
        }
        for key_id in dict.fromkeys(order)
    ]


def _complaint(repository: Repository, key_id: str, *, used: bool) -> str:
    """Return what is wrong with the key check of a key that was used."""
    if not used or repository.keyring is None:
        return ""
    return check_complaint(repository.store, key_id, repository.repository_id, repository.keyring)


def _state(key_id: str, *, active: str, known: bool) -> str:
    if key_id != active:
        return "earlier" if known else "unknown to the repository"
    return "active" if known else "active from the next run on"


def _say(line: str) -> None:
    console().print(line, markup=False, soft_wrap=True, highlight=False)
