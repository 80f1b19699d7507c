"""``python -m demo run | up | down``; `make` calls it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType, TracebackType

import click

from airflow_restore_replay.core.config.units import human_bytes
from airflow_restore_replay.core.repository.format.refs import content_name, objects_of
from demo import cycles
from demo.archiver import DemoArchiver
from demo.cycles import CycleRun, open_repository, published_by
from demo.damage import flip_one_byte, references
from demo.place import Place, chosen
from demo.proof import prove
from demo.rescue import rescue
from demo.screen import heading, say
from demo.shop import CONNECTION, Shop
from demo.workspace import PHYSICAL, REPOSITORY_ROOT, SHOP, Workspace, start_time
from tests.support.airflow_stack import AirflowStack
from tests.support.postgres import PostgresServer

#: Often a task's supervisor learns only by its next heartbeat that the task ended, and a task that deferred is not
#: resumed before: by default 5 seconds, at each wait of each cycle.
_SETTINGS = {"WORKERS__MIN_HEARTBEAT_INTERVAL": "1"}
#: of `make up`
_SCHEDULE = "*/10 * * * *"


@click.group()
def main() -> None:
    """Backups that are produced by being restored, on this machine."""
    signal.signal(signal.SIGTERM, _interrupt)


@main.command()
@click.option("--screenshot", type=click.Path(path_type=Path), help="Save a picture of the DAG's grid there.")
def run(screenshot: Path | None) -> None:
    """Four cycles of the shipped DAG, one more pair for a physical seed, the table and the final proof."""
    with demo_cluster() as (space, place, shop, airflow, archiver):
        runs = _four_cycles(space, place, airflow)
        if PHYSICAL in clusters_of(place, shop):
            runs += _collision(space, place, airflow)
        heading("What the cycles came to")
        cycles.show_table(space, runs)
        if screenshot:
            from demo.screenshot import photograph

            photograph(airflow.url, airflow.password, cycles.dag_id(SHOP), screenshot)
        stock = shop.stock
        heading(f"The proof: restore-replay restore, a stock {stock.server}, {stock.dump} and cmp")
        prove(space, shop, SHOP)
        heading(
            "The rescue: a table is dropped, the primary is lost, and the table comes back to its last row"
        )
        rescue(space, shop, archiver)
    heading("Done: every process of the demo is stopped")


def _four_cycles(space: Workspace, place: Place, airflow: AirflowStack) -> list[CycleRun]:
    heading("Cycle 1: there is no backup yet, so the node is seeded from the primary")
    runs = [cycles.run_cycle(space, airflow, SHOP)]
    heading("Cycle 2: backup 1 is restored, replays the binary log, and is published as backup 2")
    runs.append(cycles.run_cycle(space, airflow, SHOP))
    repository = open_repository(space, SHOP)
    catalog = repository.catalog()
    first, second = (published_by(catalog, r) for r in runs)
    damage = flip_one_byte(repository, place, second, "load/t.ibd", not_in=first)
    heading("Cycle 3: one byte of backup 2 was flipped in the repository")
    say(f"  {damage.stored}: chunk {damage.index} of {damage.file}", "yellow")
    runs.append(cycles.run_cycle(space, airflow, SHOP))
    _show_quarantine(space, SHOP, second.backup_id, damage.name, damage.file)
    heading("Cycle 4: as always again, from backup 3")
    runs.append(cycles.run_cycle(space, airflow, SHOP))
    return runs


def _collision(space: Workspace, place: Place, airflow: AirflowStack) -> list[CycleRun]:
    """A physical copy of cold data produces the very chunk that is corrupt: it must not be mistaken for stored."""
    cold = "shop/archive.ibd"
    heading("The same with a physical seed, whose fresh full produces the very chunk that is corrupt")
    runs = [cycles.run_cycle(space, airflow, PHYSICAL)]
    repository = open_repository(space, PHYSICAL)
    first = published_by(repository.catalog(), runs[0])
    damage = flip_one_byte(repository, place, first, cold)
    say(f"  flipped one byte: {damage.stored}, chunk {damage.index} of {cold}", "yellow")
    runs.append(cycles.run_cycle(space, airflow, PHYSICAL))
    _show_quarantine(space, PHYSICAL, first.backup_id, damage.name, cold)
    second = published_by(repository.catalog(), runs[1])
    ref = references(repository, second, cold)[damage.index]
    if (
        ref is None
        or damage.ref is None
        or ref == damage.ref
        or content_name(ref) != content_name(damage.ref)
    ):
        sys.exit(f"The fresh full refers to {ref}, not to a new copy of the content of {damage.ref}.")
    say(
        f"  The fresh full has the same content there; it was stored beside the corrupt one: {objects_of(ref)[0]}."
    )
    return runs


def _show_quarantine(space: Workspace, cluster: str, backup_id: str, ref: str, file: str) -> None:
    """Say why the backup is quarantined.

    :raises SystemExit: it is not, or without naming chunk and file.
    """
    against = open_repository(space, cluster).catalog().backup(backup_id).against
    failure = against[-1].failure if against else None
    if failure is None or ref not in failure.message or file not in failure.message:
        sys.exit(f"Backup {backup_id} should be quarantined for chunk {ref} of {file}: {against}")
    say(f"  Quarantined: {failure.message}", "bold yellow")


@contextmanager
def demo_cluster(
    port: int | None = None, *, stays: bool = False
) -> Iterator[tuple[Workspace, Place, Shop, AirflowStack, DemoArchiver]]:
    """A primary under load, and Airflow with the shipped DAGs; all of it ends with the context.

    :param stays: for people: with a schedule, which backfills need, and PostgreSQL, which does not lock as SQLite does.
    """
    heading("Starting a primary and Airflow")
    space = Workspace.create()
    say(f"  Everything lives in {space.root}; nothing is installed beyond what the set-up named.")
    with ExitStack() as stack:
        place = chosen(space.root)
        stack.push(_CleanUp(space, place))
        airflow = AirflowStack(
            space.root / "airflow",
            dags=REPOSITORY_ROOT / "dags",
            logs=space.logs,
            port=port,
            database=_database(stack) if stays else None,
            settings=_SETTINGS,
            env={"RESTORE_REPLAY_CONFIG": str(space.cluster_file)},
        )
        migration = airflow.migrate()
        shop = Shop(space)
        stack.callback(shop.stop)
        place.start(shop.stock)
        clusters = clusters_of(place, shop)
        space.write_cluster_file(
            connection=CONNECTION,
            flavor=shop.stock.name,
            seeds=clusters,
            node=place.node(shop.primary.bindir),
            repositories={name: place.repository(name) for name in clusters},
            schedule=_SCHEDULE if stays else None,
        )
        # The first to end, before the primary.
        stack.callback(airflow.stop)
        for conn_id, fields in {CONNECTION: shop.connection(), **place.connections}.items():
            airflow.add_connection(conn_id, fields)
        size_bytes = _fill_beside(shop, airflow, migration)
        shop.start_load()
        address = f"127.0.0.1:{shop.primary.port}"
        say(f"  Primary: {shop.stock.title} on {address}, {human_bytes(size_bytes)}, two writers.")
        archiver = DemoArchiver(space, shop, SHOP, place.repository(SHOP))
        # Before the primary, as it stores what that has logged.
        stack.callback(archiver.stop)
        archiver.start()
        say(f"  Archiver: stores the binary log of {SHOP} every two seconds.")
        _wait_for(airflow, *map(cycles.dag_id, clusters))
        say(f"  Airflow: scheduler (LocalExecutor), triggerer, dag processor, API at {airflow.url}.")
        yield space, place, shop, airflow, archiver


def _database(stack: ExitStack) -> str | None:
    """Start a PostgreSQL, which ends with *stack*; without one, Airflow uses SQLite."""
    try:
        server = PostgresServer.start()
    except RuntimeError as exc:
        say(f"  Airflow's metadata is in SQLite, which may say that it is locked: {exc}", "yellow")
        return None
    stack.callback(server.stop)
    return server.url


def clusters_of(place: Place, shop: Shop) -> dict[str, str]:
    """Return how each cluster of the demo is seeded: all have the same primary."""
    return dict(zip((SHOP, PHYSICAL), place.seeds(shop.stock), strict=False))


def _fill_beside(shop: Shop, airflow: AirflowStack, migration: subprocess.Popen[bytes]) -> int:
    """Fill the primary while Airflow migrates its database and starts.

    :returns: the primary's size in bytes.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        filling = pool.submit(shop.fill)
        if migration.wait():
            sys.exit(f"airflow db migrate failed; see {airflow.logs}.")
        airflow.start()
        return filling.result()


def _wait_for(airflow: AirflowStack, *dag_ids: str) -> None:
    try:
        airflow.wait_for(*dag_ids)
    except RuntimeError as exc:
        sys.exit(str(exc))


class _CleanUp:
    """Ends what is left of the demo's processes; removes its files, unless they are wanted or tell of a failure."""

    def __init__(self, space: Workspace, place: Place) -> None:
        self._space = space
        self._place = place

    def __enter__(self) -> _CleanUp:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        space = self._space
        reaped = space.reap_nodes()
        self._place.stop()
        if left := [*reaped, *space.sweep()]:
            say(f"  Ended what was still running: {', '.join(map(str, left))}", "yellow")
        failed = kind is not None and not issubclass(kind, KeyboardInterrupt)
        if not failed and os.environ.get("KEEP") != "1":
            space.remove()
            return
        space.pid_path.unlink(missing_ok=True)
        say(f"  Repositories, logs and {space.cluster_file} stay; `rm -r {space.root}` removes them.")


@main.command()
def up() -> None:
    """Start the demo's cluster and Airflow's UI in the background."""
    space = Workspace.existing()
    if (pid := space.owner()) is not None:
        sys.exit(f"It already runs (process {pid}); `make down` ends it.")
    say("Starting; this takes about a minute.")
    space.ready_path.unlink(missing_ok=True)
    log_path = REPOSITORY_ROOT / ".demo-up.log"
    with log_path.open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "demo", "serve"],
            cwd=REPOSITORY_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    while not space.ready_path.exists():
        if child.poll() is not None:
            sys.exit(f"It did not start:\n{log_path.read_text()}")
        time.sleep(0.3)
    log_path.unlink()
    say(space.ready_path.read_text())


@main.command(hidden=True)
def serve() -> None:
    """Hold the cluster and Airflow until told to end."""
    with demo_cluster(port=int(os.environ.get("PORT", "8080")), stays=True) as (
        space,
        place,
        shop,
        airflow,
        _,
    ):
        for_commands = space.secret_file("airflow.env", airflow.exports())
        text = (
            f"Airflow's UI: {airflow.url}  (user admin, password {airflow.password})\n"
            f"DAGs: {', '.join(map(cycles.dag_id, clusters_of(place, shop)))}; each runs every ten minutes.\n"
            f"Command line: .venv/bin/restore-replay list --config {space.cluster_file} --cluster {SHOP}\n"
            f"Airflow's commands: . {for_commands}; .venv/bin/airflow dags list\n"
            "`make down` ends and removes all of it."
        )
        space.secret_file("ready", text)
        while True:
            time.sleep(3600)


@main.command()
def down() -> None:
    """End what `up` started."""
    space = Workspace.existing()
    pid = space.owner()
    if pid is None:
        say("Nothing runs.")
        return
    started = start_time(pid)
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 120
    while start_time(pid) == started:
        if time.monotonic() > deadline:
            sys.exit(f"Process {pid} does not end; its logs are in {space.root}.")
        time.sleep(0.3)
    say("Stopped and removed.")


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
