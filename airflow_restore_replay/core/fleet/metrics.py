"""The state of clusters as metrics, and their text for Prometheus.

A point in time is a metric, and an age is not: an age that nobody writes any more would stay young for ever. What is
unknown has no sample. The text is OpenMetrics, and the older text format at once, because node_exporter reads only that
one: it takes the lines that only OpenMetrics has for comments. That is 30 lines here, so no client library is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from airflow_restore_replay.core.fleet.state import ClusterState, Severity
from airflow_restore_replay.core.repository.format.records import Outcome

PREFIX = "restore_replay_"
CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PLAIN_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: labels beside ``cluster``, as pairs, and the value
Sample = tuple[tuple[tuple[str, str], ...], float]
#: what a metric is read from; None, or no sample, is unknown
Read = Callable[[ClusterState], float | int | bool | datetime | None | Iterable[Sample]]


@dataclass(frozen=True)
class Metric:
    """One gauge.

    :param name: ends with *unit*.
    :param label: name of the label beside ``cluster``.
    """

    name: str
    help: str
    read: Read
    unit: str = ""
    label: str = ""

    @property
    def full_name(self) -> str:
        return f"{PREFIX}{self.name}"

    def samples(self, state: ClusterState) -> Iterator[Sample]:
        """Yield what is known of *state*."""
        if state.error and self.name not in _OF_EVALUATION:
            return
        found = self.read(state)
        if found is None:
            return
        if isinstance(found, datetime):
            found = found.timestamp()
        if isinstance(found, Iterable):
            yield from found
        else:
            yield (), float(found)


#: known also of a cluster whose repository cannot be read
_OF_EVALUATION = ("up", "evaluated_timestamp_seconds", "evaluation_seconds", "max_age_seconds", "findings")


def _labelled(label: str, values: Mapping[str, float] | None) -> list[Sample]:
    return [(((label, name),), value) for name, value in (values or {}).items()]


def _findings(state: ClusterState) -> list[Sample]:
    counts = {s.value: sum(f.severity is s for f in state.findings) for s in Severity if s is not Severity.OK}
    return _labelled("severity", counts)


def _verdicts(state: ClusterState) -> list[Sample]:
    return _labelled("outcome", {o.value: state.verdicts.get(o, 0) for o in Outcome})


_TIME, _SECONDS, _BYTES = "seconds", "seconds", "bytes"

METRICS: Sequence[Metric] = (
    Metric("up", "Whether the cluster's repository could be read.", lambda s: s.error is None),
    Metric("evaluated_timestamp_seconds", "When the state was evaluated.", lambda s: s.at, _TIME),
    Metric("evaluation_seconds", "How long the evaluation took.", lambda s: s.seconds, _SECONDS),
    Metric("findings", "What a person should look at, as status shows it.", _findings, label="severity"),
    Metric(
        "max_age_seconds",
        "Limit of the age of the newest healthy backup.",
        lambda s: s.fresh.max_age_s or None,
        _SECONDS,
    ),
    Metric(
        "backup_timestamp_seconds",
        "When the position of the newest healthy backup was read from the primary: its age counts from then.",
        lambda s: s.fresh.goal_read_at,
        _TIME,
    ),
    Metric(
        "healthy_backups",
        "Healthy backups that were read back, of the newest records.",
        lambda s: s.fresh.healthy,
    ),
    Metric("backups", "Backups in the repository, in any state.", lambda s: s.amounts.backups),
    Metric(
        "logical_bytes", "Database files of the newest healthy backup.", lambda s: s.amounts.logical, _BYTES
    ),
    Metric(
        "stored_bytes", "Written to the repository for all its backups.", lambda s: s.amounts.stored, _BYTES
    ),
    Metric(
        "stored_a_day_bytes",
        "Written to the repository for backups a day, mean of the last seven days.",
        lambda s: s.amounts.stored_a_day,
        _BYTES,
    ),
    Metric(
        "proof_timestamp_seconds",
        "When a restore last proved a backup.",
        lambda s: s.proven.at if s.proven else None,
        _TIME,
    ),
    Metric(
        "last_run_timestamp_seconds",
        "When the last attempt ended.",
        lambda s: s.last.at if s.last else None,
        _TIME,
    ),
    Metric(
        "last_run_failed",
        "Whether the last attempt failed.",
        lambda s: s.last.outcome not in (Outcome.PUBLISHED, Outcome.RESTORED) if s.last else None,
    ),
    Metric("verdicts", "Verdicts by outcome, of the newest records.", _verdicts, label="outcome"),
    Metric("holds", "Holds that nobody has released: nothing is published.", lambda s: len(s.holds)),
    Metric("unreadable_records", "Records that cannot be read.", lambda s: len(s.unreadable)),
    Metric("run_active", "Whether a run holds the lease.", lambda s: bool(s.running and s.running.live)),
    Metric(
        "run_died",
        "Whether the last run neither renewed nor released its lease.",
        lambda s: bool(s.running and not s.running.live),
    ),
    Metric(
        "run_started_timestamp_seconds",
        "When the run began.",
        lambda s: s.running.since if s.running else None,
        _TIME,
    ),
    Metric("run_done_ratio", "Done part of the run's phase.", lambda s: _done(s), "ratio"),
    Metric(
        "run_eta_seconds",
        "Remaining time of the run's phase.",
        lambda s: s.running.eta_s if s.running else None,
        _SECONDS,
    ),
    Metric(
        "run_lacking_transactions",
        "Transactions that the replay of the run lacks to its goal.",
        lambda s: _lacking(s),
    ),
    Metric(
        "phase_seconds",
        "What the phases of the last published cycle took.",
        lambda s: _labelled("phase", s.cycle.phases if s.cycle else None),
        _SECONDS,
        label="phase",
    ),
    Metric(
        "replayed_transactions_per_second",
        "Rate of the replay in the last published cycle.",
        lambda s: s.cycle.transactions_per_s if s.cycle else None,
    ),
    Metric(
        "drill_phase_seconds",
        "What the phases of the last drill took.",
        lambda s: _labelled("phase", s.restores[-1].phases if s.restores else None),
        _SECONDS,
        label="phase",
    ),
    Metric(
        "rto_forecast_seconds", "How long a restore is expected to take.", lambda s: s.rto.seconds, _SECONDS
    ),
    Metric("rto_target_seconds", "How long a restore may take.", lambda s: s.rto.target_s, _SECONDS),
    Metric(
        "compared_timestamp_seconds",
        "All rows were compared with the primary since then.",
        lambda s: s.coverage.since if s.coverage else None,
        _TIME,
    ),
    Metric(
        "uncompared_tables",
        "Tables that were never compared completely.",
        lambda s: s.coverage.never if s.coverage else None,
    ),
    Metric(
        "logs_purge_timestamp_seconds",
        "When the primary may purge, by age, binary logs that the next cycle needs.",
        lambda s: s.headroom.until if s.headroom else None,
        _TIME,
    ),
    Metric(
        "archive_current_timestamp_seconds",
        "The newest time at which the primary had logged nothing that is not archived: the RPO counts from then.",
        lambda s: s.logs.current_at if s.logs else None,
        _TIME,
    ),
    Metric(
        "archiver_up",
        "Whether the archiver holds its lease; no sample after it ended in order.",
        lambda s: s.logs.archiver.live if s.logs and s.logs.archiver else None,
    ),
    Metric(
        "archive_gaps", "Gaps of the archive that matter.", lambda s: len(s.logs.gaps) if s.logs else None
    ),
    Metric("archive_bytes", "Archived binary logs.", lambda s: s.logs.size_bytes if s.logs else None, _BYTES),
    Metric(
        "archive_begin_timestamp_seconds",
        "Every moment since then can be restored.",
        lambda s: s.logs.begin if s.logs else None,
        _TIME,
    ),
)


def _done(state: ClusterState) -> float | None:
    running = state.running
    if not running or running.done is None or not running.total:
        return None
    return min(1.0, running.done / running.total)


def _lacking(state: ClusterState) -> float | None:
    running = state.running
    if not running or running.unit != "transactions" or running.done is None or not running.total:
        return None
    return max(0, running.total - running.done)


def metrics_text(states: Sequence[ClusterState]) -> str:
    """Return all metrics of *states* as text."""
    lines = [line for metric in METRICS for line in _family(metric, states)]
    return "\n".join([*lines, "# EOF", ""])


def _family(metric: Metric, states: Sequence[ClusterState]) -> Iterator[str]:
    yield f"# HELP {metric.full_name} {_escaped(metric.help)}"
    yield f"# TYPE {metric.full_name} gauge"
    if metric.unit:
        yield f"# UNIT {metric.full_name} {metric.unit}"
    for state in sorted(states, key=lambda state: state.cluster):
        for labels, value in metric.samples(state):
            pairs = (("cluster", state.cluster), *labels)
            shown = ",".join(f'{name}="{_escaped(text)}"' for name, text in pairs)
            yield f"{metric.full_name}{{{shown}}} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
