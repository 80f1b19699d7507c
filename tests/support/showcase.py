"""Clusters in every condition that the Backups page shows, beside one with a real primary and real backups."""

from __future__ import annotations

import random
import shutil
from datetime import timedelta
from pathlib import Path

import yaml

from airflow_restore_replay.core.errors import ChunkCorrupt, NodeFull, SourceShrank
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.recovery.measurements import DRILL
from airflow_restore_replay.core.repository.format.records import BaseRef, Manifest, Outcome, new_id
from airflow_restore_replay.core.repository.objects.lease_objects import Doing
from tests.support.fleets import SIZES, Member, make_fleet
from tests.support.hostile_texts import HOSTILE, LONG
from tests.support.rig import Rig

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
_OTHERS = ("customers", "payments", "search", "shipping", "telemetry", "warehouse")
_NAMED = ("billing", "catalog", "inventory", "ledger", "media", "unreachable")


class Showcase:
    """The clusters.

    :param rig: the real one, ``orders``.
    :ivar long: the backup with hostile texts; :ivar quarantined: one in the history of ``catalog``.
    """

    def __init__(self, root: Path, rig: Rig, *, clusters: int, backups: int) -> None:
        fillers = [f"shard-{number:03d}" for number in range(clusters - len(_NAMED) - len(_OTHERS) - 1)]
        names = [*_NAMED, *_OTHERS, *fillers]
        root.mkdir(parents=True)
        self.members = make_fleet(root, names, schedule="0 3 * * *", drill={"rto_target": "15m"})
        self.file = root / "clusters.yaml"
        self.names = [*names, "orders"]
        raw = yaml.safe_load(self.file.read_text())
        orders = rig.section(
            primary={"connection": "orders_primary"}, schedule="0 3 * * *", drill={"schedule": "0 5 * * 0"}
        )
        orders["primary"] = {"connection": "orders_primary"}
        raw["clusters"]["orders"] = orders
        self.file.write_text(yaml.safe_dump(raw))
        # Airflow has the DAGs of a few: those of hundreds take the test's time, and the page does not show them.
        few = {name: raw["clusters"][name] for name in ("orders", "billing", "catalog", "ledger")}
        self.dags_file = root / "dags.yaml"
        self.dags_file.write_text(yaml.safe_dump({"clusters": few}))
        for number, name in enumerate([*_OTHERS, *fillers]):
            self.members[name].cycle(HOUR * (1 + number % 22))
        self._conditions()
        self.quarantined = history(self.members["catalog"], backups)
        self.hostile = self._hostile(self.members["ledger"])
        shutil.rmtree(root / "unreachable")

    def _conditions(self) -> None:
        billing, inventory, media = (self.members[name] for name in ("billing", "inventory", "media"))
        billing.cycle(51 * HOUR)
        lost = SourceShrank("shop.invoices had 1,204,551 rows and has 0.")
        billing.verdict(
            2 * HOUR, Outcome.HELD, failure=Failure.of(lost), run="restore_replay_billing/scheduled"
        )
        inventory.cycle(30 * HOUR)
        inventory.failed(3 * HOUR)
        media.cycle(5 * HOUR)
        media.archived(HOUR / 60)
        running(media)

    def _hostile(self, member: Member) -> Manifest:
        member.cycle(30 * HOUR)
        made = member.cycle(
            6 * HOUR,
            run=HOSTILE,
            server_release=HOSTILE,
            checks=[{"name": HOSTILE, "seconds": "soon", "observed": {HOSTILE: LONG}}],
            notes={"fill": {"left_out": {LONG: HOSTILE}}, "warnings": [HOSTILE]},
        )
        failure = Failure.of(NodeFull(f"{HOSTILE} {LONG}", hint=HOSTILE, evidence={HOSTILE: [HOSTILE, LONG]}))
        member.verdict(
            5 * HOUR, Outcome.QUARANTINED, failure=failure, backup_id=made.backup_id, by=HOSTILE, run=HOSTILE
        )
        member.failed(4 * HOUR, HOSTILE, run=LONG)
        return made


def running(member: Member) -> None:
    """Let a run hold the lease in the middle of its replay."""
    lease = member.repository.lease
    run = f"restore_replay_{member.cluster.name}/manual__today"
    epoch = lease.acquire(run, ttl_s=86000)
    lease.doing = Doing(
        step="replay.catch_up",
        phase="replicating",
        done=420_000,
        total=1_000_000,
        unit="transactions",
        rate_per_s=1850.0,
        eta_s=313.0,
    )
    lease.renew(run, epoch)


def history(member: Member, backups: int) -> Manifest:
    """Write so many backups, six a day, in lineages of 40, with drills, a quarantine and an archive with a gap.

    :returns: a quarantined one.
    """
    noise = random.Random(7)
    base: Manifest | None = None
    made: list[Manifest] = []
    total = 6_000_000_000
    for number in range(backups):
        age = 4 * HOUR * (backups - number) - 3 * HOUR
        fresh = number % 40 == 0 or base is None
        total += noise.randrange(0, 8_000_000)
        stored = total // 4 if fresh else noise.randrange(60_000_000, 240_000_000)
        sizes = SIZES.__class__(
            **{f: getattr(SIZES, f) for f in SIZES.__struct_fields__}
            | {
                "total_bytes": total,
                "stored_bytes": stored,
                "reused_bytes": total - SIZES.new_bytes - SIZES.zero_bytes,
            }
        )
        ref = (
            BaseRef(kind="seed", method="logical")
            if fresh or base is None
            else BaseRef(kind="backup", backup_id=base.backup_id)
        )
        depth = 0 if fresh or base is None else base.lineage_depth + 1
        extra = {}
        if number == backups - 1:
            extra = {
                "notes": {"kept_logs": {"keep_s": 864000.0, "by_size": False}},
                "compared": {
                    "coverage": {
                        "cycles": 12,
                        "since": (member.now - 3 * DAY).isoformat(),
                        "changed_since_compared": 4,
                    }
                },
                "checks": [
                    {"name": "goal_contained", "seconds": 0.1, "observed": "0-1-918273"},
                    {"name": "same_data", "seconds": 48.2, "observed": "212 tables, 91,204,113 rows"},
                    {"name": "drop_guard", "seconds": 0.4, "observed": "212 tables of 212"},
                ],
            }
        base = member.backup(
            age,
            sizes=sizes,
            base=ref,
            lineage_depth=depth,
            run=f"restore_replay_{member.cluster.name}/scheduled__{number}",
            **extra,
        )
        made.append(base)
        if number < backups - 1:
            member.verdict(age - 2 * HOUR, Outcome.RESTORED, backup_id=base.backup_id, step="validate")
    bad = made[-3]
    damaged = ChunkCorrupt(
        "Chunk 4f1c… of shop/orders.ibd does not match its name.",
        evidence={"chunk": "4f1c", "file": "shop/orders.ibd"},
    )
    member.verdict(
        7 * HOUR,
        Outcome.QUARANTINED,
        backup_id=bad.backup_id,
        failure=Failure.of(damaged),
        run="restore_replay_catalog/scheduled",
    )
    last = made[-1]
    member.verdict(
        HOUR / 2,
        Outcome.PUBLISHED,
        published_id=last.backup_id,
        run=last.run,
        measured={
            "fill": {"seconds": 410.0},
            "catch_up": {"seconds": 95.0, "transactions_per_s": 1800.0},
            "snapshot": {"seconds": 120.0},
        },
    )
    for weeks in range(8, 0, -1):
        phases = {
            "plan": 1.0,
            "restore": 380.0 + 12 * (8 - weeks) + noise.random() * 30,
            "replay": 70 + noise.random() * 40,
            "start_restored": 3.0,
        }
        measured = {
            DRILL: {
                "backup_id": last.backup_id,
                "phases": phases,
                "bytes": total,
                "files": 400,
                "transactions": 9000,
                "wanted": "random",
            }
        }
        member.verdict(
            7 * DAY * weeks,
            Outcome.RESTORED,
            attempt=DRILL,
            step="drill",
            measured=measured,
            run=f"cli/{new_id()}",
        )
    member.archived(HOUR / 40)
    member.gap(26 * HOUR)
    return bad
