"""``restore-replay key``: make encryption keys, and show which ones a cluster's backups need."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import click

from airflow_restore_replay.cli.exit_codes import Exit
from airflow_restore_replay.cli.output import console, show_table
from airflow_restore_replay.cli.scope import Scope, scoped
from airflow_restore_replay.core.config.encryption_keys import KEY_BYTES, KeySource, read_key, read_keys
from airflow_restore_replay.core.errors import ConfigInvalid, TargetNotEmpty
from airflow_restore_replay.core.repository.format.keyring import Key
from airflow_restore_replay.core.repository.objects.key_checks import check_complaint, key_path, known_keys
from airflow_restore_replay.core.repository.repository import Repository


@click.group("key")
def command() -> None:
    """Encryption keys: make one, print its id, check those of a cluster."""


@command.command("new")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
def new(path: Path) -> None:
    """Write a new random key to FILE (mode 0600) and print its id. An existing file is never overwritten."""
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


@command.command("check")
@scoped
def check(scope: Scope) -> None:
    """Read the cluster's keys, test them on its repository, and show how many backups need each.

    Exit codes: 0 every backup's key is available, 2 one is not, a key is wrong, or its check is damaged.
    """
    encryption = scope.cluster.repository.encryption
    if encryption is None:
        raise ConfigInvalid(f"clusters.{scope.cluster.name}.repository.encryption is not configured.")
    keys = read_keys(encryption)
    sources = {Key.of(k).key_id: str(s) for k, s in zip(keys, encryption.sources, strict=True)}
    repository = Repository.of_cluster(scope.cluster, keys=keys, write=False)
    rows = _rows(repository, sources)
    lost = [row for row in rows if (not row["source"] and row["backups"]) or row["complaint"]]
    if scope.as_json:
        scope.emit({"keys": rows, "ok": not lost})
    else:
        table = [
            [str(r["key_id"]), str(r["source"] or "not available"), str(r["state"]), str(r["backups"])]
            for r in rows
        ]
        show_table(["KEY", "SOURCE", "STATE", "BACKUPS"], table)
        for row in rows:
            if row["complaint"]:
                console(stderr=True).print(
                    f"{key_path(str(row['key_id']))}: {row['complaint']}", markup=False
                )
    raise click.exceptions.Exit(Exit.REFUSED if lost else Exit.OK)


def _rows(repository: Repository, sources: dict[str, str]) -> list[dict[str, str | int]]:
    needed = {key_id: len(ids) for key_id, ids in repository.keys_needed().items()}
    known = known_keys(repository.store)
    order = [repository.key_id, *sources, *sorted(known), *sorted(needed)]
    return [
        {
            "key_id": key_id,
            "source": sources.get(key_id, ""),
            "state": _state(key_id, active=repository.key_id, known=key_id in known),
            "backups": needed.get(key_id, 0),
            "complaint": _complaint(repository, key_id, used=key_id in known or key_id in needed),
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
