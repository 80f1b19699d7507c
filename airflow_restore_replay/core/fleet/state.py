"""The state of one cluster at one moment, as plain values. What is unknown is None, and never zero."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.repository.format.records import BackupState, Outcome, Proof


class Severity(StrEnum):
    """Weight of a finding, worst first; a cluster has that of its worst finding."""

    CRITICAL = "critical"
    WARNING = "warning"
    OK = "ok"

    @property
    def rank(self) -> int:
        """Return the place in the order; the worst is 0."""
        return list(Severity).index(self)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a person should look at.

    :param code: a stable name, for programs.
    """

    severity: Severity
    code: str
    text: str


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """Age of the newest healthy backup that was at least read back.

    :param goal_read_at: when its position was read from the primary; None if there is no such backup.
    :param healthy: number of such backups among those that were read.
    """

    max_age_s: float
    backup_id: str = ""
    goal_read_at: datetime | None = None
    age_s: float | None = None
    proof: Proof | None = None
    healthy: int | None = None


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """The last time that a restore proved a backup.

    :param by: the attempt of a cycle that restored the backup, or ``drill``.
    """

    at: datetime
    backup_id: str
    by: str
    run: str


class LastRun(msgspec.Struct, frozen=True, kw_only=True):
    """The newest verdict about an attempt of a cycle; drills do not count.

    :param blame: whom the failure blames; empty after a success.
    :param reason: message of the failure.
    :param hint: the next step of a person.
    """

    run: str
    at: datetime
    outcome: Outcome
    verdict_id: str
    attempt: str = ""
    step: str = ""
    code: str = ""
    blame: str = ""
    reason: str = ""
    hint: str = ""


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A hold that was not released."""

    verdict_id: str
    at: datetime
    reason: str


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Holder of a lease, and what it told with its last renewal.

    :param live: the lease excludes other runs; if not, the holder died or lost its way to the store.
    :param told_at: when it renewed the lease last.
    :param step: for example ``replay.catch_up``; empty if the holder did not tell it.
    :param eta_s: remaining seconds of the phase, counted from *told_at*.
    """

    run: str
    epoch: int
    since: datetime
    expires_at: datetime
    live: bool
    told_at: datetime | None = None
    step: str = ""
    phase: str = ""
    done: int | None = None
    total: int | None = None
    unit: str = ""
    rate_per_s: float | None = None
    eta_s: float | None = None


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Transactions that the archive lacks."""

    gap_id: str
    at: datetime
    lacking: str
    reason: str


class Logs(msgspec.Struct, frozen=True, kw_only=True):
    """State of the archive of binary logs.

    :param current_at: the newest time at which the primary had logged nothing that is not archived.
    :param rpo_s: seconds since then: how much would be lost if the primary were lost now.
    :param archiver: holder of the archiver's lease; None if the lease was released, or never claimed.
    :param examined: the fields below are known; they need the records of all archived files.
    :param begin, end: of the newest span of the window.
    :param holes: stretches between spans, which cannot be restored.
    :param gaps: open ones that matter.
    """

    current_at: datetime | None = None
    rpo_s: float | None = None
    archiver: Holder | None = None
    examined: bool = False
    begin: datetime | None = None
    end: datetime | None = None
    holes: tuple[tuple[datetime, datetime], ...] = ()
    gaps: tuple[Gap, ...] = ()
    size_bytes: int | None = None
    bytes_a_day: float | None = None


class BackupLine(msgspec.Struct, frozen=True, kw_only=True):
    """One backup.

    :param base: id of the backup that it continues, or the method of the seed.
    :param new_bytes: of database files that the backup stored whole or as changed pages.
    :param why: message of the newest verdict against it.
    """

    backup_id: str
    state: BackupState
    proof: Proof
    goal_read_at: datetime
    created_at: datetime
    logical_bytes: int
    stored_bytes: int
    new_bytes: int
    as_of: datetime | None = None
    base: str = ""
    lineage_depth: int = 0
    run: str = ""
    why: str = ""


class Durations(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds by phase of one run.

    :param transactions_per_s: rate of the replay.
    """

    at: datetime
    run: str = ""
    phases: dict[str, float]
    transactions_per_s: float | None = None


class Rto(msgspec.Struct, frozen=True, kw_only=True):
    """Forecast of a restore.

    :param seconds: expected; None if nothing was measured.
    :param with_logs: the time includes the replay of all that is archived.
    """

    target_s: float | None = None
    seconds: float | None = None
    with_logs: bool = False

    @property
    def meets_target(self) -> bool | None:
        """Return whether the expected time is within the target; None if one of them is unknown."""
        if self.seconds is None or self.target_s is None:
            return None
        return self.seconds <= self.target_s


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the primary the comparisons have compared at least once.

    :param since: all rows were compared since then, in so many *cycles*.
    :param never: number of tables that were never compared completely.
    :param changed: number of tables that changed since they were compared.
    """

    since: datetime | None = None
    cycles: int | None = None
    never: int = 0
    changed: int = 0


class Headroom(msgspec.Struct, frozen=True, kw_only=True):
    """Time until the primary may purge binary logs that the next cycle needs.

    :param base_id: the backup that the next cycle continues.
    :param keep_s: how long the primary keeps binary logs, as that backup recorded it; 0 is for ever.
    :param until: the first moment at which one of them may be purged by age; None if never, or if it is unknown.
    :param by_size: the primary purges by size, too, which no time foretells.
    """

    base_id: str
    keep_s: float | None = None
    until: datetime | None = None
    seconds: float | None = None
    by_size: bool = False


class Amounts(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of the repository.

    :param backups: number of manifests in the store.
    :param logical: of the newest backup, as database files.
    :param stored: written for all backups that exist; None unless all manifests were read.
    :param stored_a_day: mean of the last seven days.
    """

    backups: int | None = None
    logical: int | None = None
    stored: int | None = None
    stored_a_day: float | None = None


class ClusterState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is shown of one cluster.

    :param at: when it was evaluated; ages count until then.
    :param seconds: how long the evaluation took.
    :param error: why the repository cannot be read; all other parts are then unknown.
    :param complete: all manifests and verdicts were read, and not only the newest.
    :param running: the holder of the lease of cycles; None if it was released, or never claimed.
    :param backups: oldest data first.
    :param cycle: of the last cycle that published a backup.
    :param restores: of the last drills, oldest first.
    :param verdicts: outcome → number of verdicts, of those that were read.
    :param unreadable: name of a record → what is wrong with it.
    """

    cluster: str
    flavor: str
    at: datetime
    seconds: float
    fresh: Freshness
    error: Failure | None = None
    complete: bool = False
    proven: Proven | None = None
    last: LastRun | None = None
    holds: tuple[Hold, ...] = ()
    running: Holder | None = None
    logs: Logs | None = None
    backups: tuple[BackupLine, ...] = ()
    cycle: Durations | None = None
    restores: tuple[Durations, ...] = ()
    rto: Rto = Rto()
    coverage: Coverage | None = None
    headroom: Headroom | None = None
    amounts: Amounts = Amounts()
    verdicts: dict[Outcome, int] = {}
    unreadable: dict[str, str] = {}
    findings: tuple[Finding, ...] = ()

    @property
    def severity(self) -> Severity:
        """Return the weight of the worst finding."""
        return min((f.severity for f in self.findings), key=lambda s: s.rank, default=Severity.OK)

    @property
    def order(self) -> tuple[int, float, str]:
        """Return the place in a list that has the worst first: by severity, then by age as a share of its limit."""
        age_s = self.fresh.age_s
        share = age_s / self.fresh.max_age_s if age_s is not None else float("inf")
        return self.severity.rank, -share, self.cluster
