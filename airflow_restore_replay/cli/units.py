"""``restore-replay units``: systemd units for a host without Airflow, or beside it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import click

from airflow_restore_replay.cli.freshness import Duration
from airflow_restore_replay.cli.output import echo
from airflow_restore_replay.cli.scope import Scope, scoped
from airflow_restore_replay.core.config.units import Seconds
from airflow_restore_replay.core.errors import ConfigInvalid
from airflow_restore_replay.core.systemd.texts import KINDS, Place, unit_name, unit_texts
from airflow_restore_replay.core.systemd.writing import stamped, write_units

_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")


@click.command("units")
@click.option(
    "--to", default="/etc/systemd/system", show_default=True, metavar="DIR", help="Where to write them."
)
@click.option("--only", multiple=True, type=click.Choice(KINDS), help="Which; default: all.")
@click.option("--user", default="restore-replay", show_default=True, help="Account of the services.")
@click.option("--program", metavar="FILE", help="Path of restore-replay; default: the one that runs.")
@click.option(
    "--environment-file",
    "environment",
    default=Place.environment,
    show_default=True,
    metavar="FILE",
    help="File with the variables that hold secrets.",
)
@click.option(
    "--hook", default=Place.hook, show_default=True, metavar="FILE", help="Program for units that fail."
)
@click.option(
    "--every", type=Duration(), default="15m", show_default=True, help="Pause between checks of freshness."
)
@click.option("--force", is_flag=True, help="Also replace files that others wrote or changed.")
@click.option("--dry-run", is_flag=True, help="Print them, write nothing.")
@scoped
def command(
    scope: Scope,
    to: str,
    only: tuple[str, ...],
    program: str | None,
    every: Seconds,
    force: bool,
    dry_run: bool,
    **common: Any,
) -> None:
    """Write systemd units that check freshness, archive binary logs and run cycles.

    A cycle's timer follows the cluster's schedule, for hosts without Airflow. The services are hardened, and secrets
    come from files and from the environment file only. A unit that fails starts restore-replay-failed@NAME, which
    calls the hook with that name. Nothing is enabled: the commands for that are printed.
    """
    place = Place(
        program=_program(program),
        config=_config(),
        every_s=float(every),
        **{k: str(v) for k, v in common.items()},
    )
    _refuse_unfit(place)
    kinds = tuple(kind for kind in KINDS if kind in only or not only)
    texts = unit_texts(scope.cluster, place, kinds)
    written = [] if dry_run else write_units(Path(to), texts, force=force)
    if scope.as_json:
        scope.emit({"directory": to, "units": texts, "written": written})
    elif dry_run:
        for name, text in texts.items():
            echo(f"# {Path(to) / name}\n{stamped(text)}")
    else:
        _say_what_follows(scope, to, texts, written, kinds)


def _say_what_follows(
    scope: Scope, to: str, texts: dict[str, str], written: list[str], kinds: tuple[str, ...]
) -> None:
    for name in texts:
        echo(f"{'written' if name in written else 'unchanged'}  {Path(to) / name}")
    enabled = [
        next(f"{unit}{suffix}" for suffix in (".timer", ".service") if f"{unit}{suffix}" in texts)
        for unit in (unit_name(scope.cluster, kind) for kind in kinds)
    ]
    echo("Then, with the units that this host is to run:")
    echo(f"  systemctl daemon-reload && systemctl enable --now {' '.join(enabled)}")


def _program(given: str | None) -> str:
    found = given or str(Path(sys.executable).parent / "restore-replay")
    if not os.path.isabs(found) or not (given or os.access(found, os.X_OK)):
        raise ConfigInvalid(
            f"{found} is not the absolute path of restore-replay.", hint="Name it with --program."
        )
    return found


def _config() -> str:
    return os.path.abspath(str(click.get_current_context().params["config"]))


def _refuse_unfit(place: Place) -> None:
    if not _ACCOUNT.fullmatch(place.user):
        raise ConfigInvalid(f"{place.user!r} is not the name of an account.")
    for name in ("program", "config", "environment", "hook"):
        path = getattr(place, name)
        if not os.path.isabs(path) or any(ord(c) < 32 or ord(c) == 127 for c in path):
            raise ConfigInvalid(f"{name} must be an absolute path without control characters, got {path!r}.")
