"""``restore-replay freshness``: a Nagios plugin that needs neither Airflow nor the primary."""

from __future__ import annotations

from typing import Any

import click

from airflow_restore_replay.cli.exit_codes import Nagios
from airflow_restore_replay.cli.output import echo
from airflow_restore_replay.cli.scope import Scope, scoped
from airflow_restore_replay.core.config.units import Seconds, human_seconds
from airflow_restore_replay.core.decisions.freshness import Freshness, freshness
from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.repository.format.records import Proof, utc_now


class Duration(click.ParamType[Seconds]):
    """Duration, such as ``90s``, ``26h`` or ``2d``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Seconds:
        try:
            return Seconds(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


class NagiosCommand(click.Command):
    """Command that answers wrong usage and configuration with UNKNOWN instead of the other commands' codes."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as exc:
            exc.show()
            raise click.exceptions.Exit(Nagios.UNKNOWN) from exc

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RestoreReplayError as exc:
            echo(f"RESTORE-REPLAY UNKNOWN - {_one_line(str(exc))}")
            raise click.exceptions.Exit(Nagios.UNKNOWN) from exc


@click.command("freshness", cls=NagiosCommand)
@click.option("--max-age", type=Duration(), metavar="26h", help="Limit; default: the cluster's max_age.")
@click.option(
    "--proof", type=click.Choice([p.value for p in Proof]), default=Proof.READ_BACK.value, show_default=True
)
@scoped
def command(scope: Scope, max_age: Seconds | None, proof: str) -> None:
    """Check that the newest healthy proven backup is young enough.

    Exit codes are those of Nagios: 0 OK, 2 CRITICAL (too old, or the age is unknown), 3 UNKNOWN (the check itself
    is wrongly configured). The age counts from the time when the backup's position was read from the primary.
    """
    limit_s = max_age or scope.cluster.max_age
    seen: Freshness | None = None
    problem: Failure | None = None
    try:
        seen = freshness(scope.repository().catalog(), now=utc_now(), proof=Proof(proof))
    except Exception as exc:
        # The error that hides the age may also have prevented backups, so it counts as stale.
        problem = Failure.of(exc)
    fresh = seen is not None and seen.age_s is not None and seen.age_s <= limit_s
    code = Nagios.OK if fresh else Nagios.CRITICAL
    if scope.as_json:
        scope.emit(_document(scope, seen, problem, limit_s, code))
    else:
        echo(_line(scope, seen, problem, limit_s, code))
    raise click.exceptions.Exit(code)


def _line(scope: Scope, seen: Freshness | None, problem: Failure | None, limit_s: float, code: Nagios) -> str:
    age = "U" if seen is None or seen.age_s is None else f"{seen.age_s:.0f}s"
    healthy = "U" if seen is None else str(seen.healthy)
    perfdata = f"age={age};;{limit_s:.0f};0 healthy={healthy};;;0"
    return f"RESTORE-REPLAY {code.name} - {_text(scope, seen, problem, limit_s)} | {perfdata}"


def _text(scope: Scope, seen: Freshness | None, problem: Failure | None, limit_s: float) -> str:
    name = scope.cluster.name
    if problem or seen is None:
        why = _one_line(problem.message) if problem else ""
        return f"{name}: the age of the newest backup is unknown: {why}"
    if seen.backup is None:
        return f"{name}: no healthy backup with proof {seen.proof}, so its age is unknown"
    age, limit = human_seconds(seen.age_s), human_seconds(limit_s)
    return f"{name}: backup {seen.backup.backup_id} ({seen.backup.proof}) is {age} old, limit {limit}"


def _one_line(text: str) -> str:
    # '|' begins the perfdata.
    return text.replace("|", "/").replace("\n", " ")


def _document(
    scope: Scope, seen: Freshness | None, problem: Failure | None, limit_s: float, code: Nagios
) -> dict[str, Any]:
    return {
        "cluster": scope.cluster.name,
        "status": code.name,
        "age_s": seen.age_s if seen else None,
        "max_age_s": float(limit_s),
        "backup_id": seen.backup.backup_id if seen and seen.backup else None,
        "proof": seen.proof if seen else None,
        "healthy": seen.healthy if seen else None,
        "error": problem,
    }
