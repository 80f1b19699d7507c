"""``restore-replay freshness``: a Nagios plugin that needs neither Airflow nor the primary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from airflow_restore_replay.cli.exit_codes import Nagios
from airflow_restore_replay.cli.output import echo, emit_json
from airflow_restore_replay.cli.scope import GroupScope, Scope, scoped_or_grouped
from airflow_restore_replay.core.archive.lag import archive_lag
from airflow_restore_replay.core.config.units import Seconds, human_seconds
from airflow_restore_replay.core.decisions.freshness import Freshness, freshness
from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.ping import ping
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
        except click.UsageError as exc:
            exc.show()
            raise click.exceptions.Exit(Nagios.UNKNOWN) from exc
        except RestoreReplayError as exc:
            echo(f"RESTORE-REPLAY UNKNOWN - {_one_line(str(exc))}")
            raise click.exceptions.Exit(Nagios.UNKNOWN) from exc


def of_group(
    scope: GroupScope, max_age: Seconds | None, proof: str, rpo: Seconds | None, pings: bool
) -> None:
    """Check all clusters of a group: the worst decides, and one that is missing is CRITICAL."""
    seen = {
        each.cluster.name: (each, _look(each, _Limits(max_age or each.cluster.max_age, rpo), Proof(proof)))
        for each in scope.scopes()
    }
    code = Nagios.CRITICAL if scope.lacking else max((found.code for _, found in seen.values()))
    pinged = {name: _pinged(each, found) for name, (each, found) in seen.items()} if pings else {}
    if scope.as_json:
        documents = [_document(each, found) | pinged.get(name, {}) for name, (each, found) in seen.items()]
        documents += [
            {"cluster": name, "status": Nagios.CRITICAL.name, "error": Failure.of(exc)}
            for name, exc in scope.lacking.items()
        ]
        emit_json({"group": scope.group.name, "status": code.name, "clusters": documents})
    else:
        echo(_group_line(scope, seen, code))
    raise click.exceptions.Exit(code)


@click.command("freshness", cls=NagiosCommand)
@click.option("--max-age", type=Duration(), metavar="26h", help="Limit; default: the cluster's max_age.")
@click.option(
    "--proof", type=click.Choice([p.value for p in Proof]), default=Proof.READ_BACK.value, show_default=True
)
@click.option(
    "--rpo", type=Duration(), metavar="1m", help="Also limit how far the archive is behind the primary."
)
@click.option("--ping", "pings", is_flag=True, help="Call the cluster's ping URL if the check is OK.")
@scoped_or_grouped(of_group)
def command(scope: Scope, max_age: Seconds | None, proof: str, rpo: Seconds | None, pings: bool) -> None:
    """Check that the newest healthy proven backup is young enough and, with --rpo, the archive up to date.

    Exit codes are those of Nagios: 0 OK, 2 CRITICAL (too old, or the age is unknown), 3 UNKNOWN (the check itself
    is wrongly configured). The age counts from the time when the backup's position was read from the primary. The
    archive is behind by the time since the primary had logged nothing that is not archived. A ping that fails is
    said on standard error, and changes neither the answer nor the exit code.

    With --group, the worst cluster of the group decides, and a cluster that the file lacks is CRITICAL.
    """
    seen = _look(scope, _Limits(max_age or scope.cluster.max_age, rpo), Proof(proof))
    pinged = _pinged(scope, seen) if pings else {}
    if scope.as_json:
        scope.emit(_document(scope, seen) | pinged)
    else:
        echo(_line(scope, seen))
    raise click.exceptions.Exit(seen.code)


@dataclass(frozen=True)
class _Limits:
    age_s: float
    rpo_s: float | None


@dataclass(frozen=True)
class _Seen:
    """What was found; None is unknown, and counts as stale.

    :param problem: the error that hides it.
    """

    limits: _Limits
    backup: Freshness | None = None
    rpo_s: float | None = None
    problem: Failure | None = None

    @property
    def young(self) -> bool:
        return (
            self.backup is not None
            and self.backup.age_s is not None
            and self.backup.age_s <= self.limits.age_s
        )

    @property
    def archived(self) -> bool:
        limit_s = self.limits.rpo_s
        return limit_s is None or (self.rpo_s is not None and self.rpo_s <= limit_s)

    @property
    def code(self) -> Nagios:
        return Nagios.OK if self.young and self.archived else Nagios.CRITICAL


def _look(scope: Scope, limits: _Limits, proof: Proof) -> _Seen:
    try:
        repository, now = scope.repository(), utc_now()
        rpo_s = archive_lag(repository).seconds(now) if limits.rpo_s is not None else None
        return _Seen(limits, freshness(repository.catalog(), now=now, proof=proof), rpo_s)
    except Exception as exc:
        # The error that hides the age may also have prevented backups, so it counts as stale.
        return _Seen(limits, problem=Failure.of(exc))


def _pinged(scope: Scope, seen: _Seen) -> dict[str, str]:
    """Call the cluster's ping URL, and return what came of it for the JSON answer."""
    pinged = ping(scope.cluster.ping, fresh=seen.code is Nagios.OK)
    if pinged.startswith("failed"):
        click.echo(f"The ping of {scope.cluster.name} {pinged}.", err=True)
    return {"ping": pinged}


def _line(scope: Scope, seen: _Seen) -> str:
    text = _text(scope, seen)
    if seen.limits.rpo_s is not None:
        text += f"; {_rpo_text(seen)}"
    return f"RESTORE-REPLAY {seen.code.name} - {text} | {_perfdata(seen)}"


def _group_line(scope: GroupScope, seen: Mapping[str, tuple[Scope, _Seen]], code: Nagios) -> str:
    """Return one line: those that are not OK first, and the perfdata of each cluster."""
    ordered = sorted(seen.values(), key=lambda pair: -pair[1].code)
    texts = [f"{name}: {_one_line(exc.message)}" for name, exc in scope.lacking.items()]
    perfdata = []
    for each, found in ordered:
        text = _text(each, found)
        texts.append(f"{text}; {_rpo_text(found)}" if found.limits.rpo_s is not None else text)
        perfdata.append(_perfdata(found, prefix=f"{each.cluster.name}_"))
    good = sum(found.code is Nagios.OK for found in (pair[1] for pair in ordered))
    head = f"RESTORE-REPLAY {code.name} - {scope.group.name}: {good} of {len(scope.group.clusters)} are fresh"
    return f"{'; '.join((head, *texts))} | {' '.join(perfdata)}"


def _perfdata(seen: _Seen, prefix: str = "") -> str:
    found = seen.backup
    age = "U" if found is None or found.age_s is None else f"{found.age_s:.0f}s"
    healthy = "U" if found is None else str(found.healthy)
    perfdata = f"{prefix}age={age};;{seen.limits.age_s:.0f};0 {prefix}healthy={healthy};;;0"
    if seen.limits.rpo_s is not None:
        rpo = "U" if seen.rpo_s is None else f"{seen.rpo_s:.0f}s"
        perfdata += f" {prefix}rpo={rpo};;{seen.limits.rpo_s:.0f};0"
    return perfdata


def _rpo_text(seen: _Seen) -> str:
    limit = human_seconds(seen.limits.rpo_s)
    if seen.rpo_s is None:
        return "it is unknown how far the archive is behind the primary"
    return f"the archive is {human_seconds(seen.rpo_s)} behind the primary, limit {limit}"


def _text(scope: Scope, seen: _Seen) -> str:
    name, found = scope.cluster.name, seen.backup
    if seen.problem or found is None:
        why = _one_line(seen.problem.message) if seen.problem else ""
        return f"{name}: the age of the newest backup is unknown: {why}"
    if found.backup is None:
        return f"{name}: no healthy backup with proof {found.proof}, so its age is unknown"
    age, limit = human_seconds(found.age_s), human_seconds(seen.limits.age_s)
    return f"{name}: backup {found.backup.backup_id} ({found.backup.proof}) is {age} old, limit {limit}"


def _one_line(text: str) -> str:
    # '|' begins the perfdata.
    return text.replace("|", "/").replace("\n", " ")


def _document(scope: Scope, seen: _Seen) -> dict[str, Any]:
    found = seen.backup
    return {
        "cluster": scope.cluster.name,
        "status": seen.code.name,
        "age_s": found.age_s if found else None,
        "max_age_s": float(seen.limits.age_s),
        "rpo_s": seen.rpo_s,
        "max_rpo_s": seen.limits.rpo_s,
        "backup_id": found.backup.backup_id if found and found.backup else None,
        "proof": found.proof if found else None,
        "healthy": found.healthy if found else None,
        "error": seen.problem,
    }
