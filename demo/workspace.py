"""Where the demo lives, and which processes are its own."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from airflow_restore_replay.core.config.cluster import load_clusters
from airflow_restore_replay.core.runtime.nodes import reap
from airflow_restore_replay.core.runtime.opening import get_runtime
from tests.support.processes import marked, sweep

REPOSITORY_ROOT = Path(__file__).resolve().parent.parent

#: in the environment of every process the demo starts, and of their children: how they are found again
MARKER = "RESTORE_REPLAY_DEMO"

#: room for the primary, its binary log, two repositories, a node, the restored copy and two dumps
NEEDED_BYTES = 4 * 10**9

SHOP = "shop"
#: the same primary once more, seeded physically (by CLONE on MySQL): its copies are byte-identical where nothing was
#: written
PHYSICAL = "shop_physical"


@dataclass
class Workspace:
    """Directory of a demo.

    :param root: everything that the demo writes is below it.
    """

    root: Path
    marker: str = field(default_factory=lambda: secrets.token_hex(8))

    @classmethod
    def create(cls) -> Workspace:
        """Make an empty workspace; what an earlier demo kept is removed, one that still runs is not."""
        space = cls(Path(os.environ.get("DEMO_DIR", REPOSITORY_ROOT / ".demo")).absolute())
        if (pid := space.owner()) is not None:
            sys.exit(f"A demo already runs in {space.root} (process {pid}); `make down` ends it.")
        space.remove()
        space.root.mkdir(mode=0o700, parents=True)
        free = shutil.disk_usage(space.root).free
        if free < NEEDED_BYTES:
            sys.exit(
                f"{space.root} has {free / 1e9:.1f} GB free; the demo needs {NEEDED_BYTES / 1e9:.0f} GB."
            )
        space.pid_path.write_text(f"{os.getpid()} {start_time(os.getpid())}")
        # Inherited by every child, and by the jobs that outlive whoever submitted them.
        os.environ[MARKER] = space.marker
        return space

    @classmethod
    def existing(cls) -> Workspace:
        return cls(Path(os.environ.get("DEMO_DIR", REPOSITORY_ROOT / ".demo")).absolute())

    @property
    def pid_path(self) -> Path:
        return self.root / "demo.pid"

    @property
    def ready_path(self) -> Path:
        return self.root / "ready"

    @property
    def cluster_file(self) -> Path:
        return self.root / "clusters.yaml"

    @property
    def logs(self) -> Path:
        path = self.root / "logs"
        path.mkdir(exist_ok=True)
        return path

    def owner(self) -> int | None:
        """Return the process that runs the demo of this workspace, if it lives."""
        try:
            pid, started = self.pid_path.read_text().split()
        except (OSError, ValueError):
            return None
        return int(pid) if start_time(int(pid)) == started else None

    def secret_file(self, name: str, text: str) -> Path:
        """Write a file that only its owner reads."""
        path = self.root / name
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, stat.S_IRUSR | stat.S_IWUSR)
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
        return path

    def write_cluster_file(
        self,
        *,
        connection: str,
        flavor: str,
        seeds: dict[str, str],
        node: dict[str, Any],
        repositories: dict[str, dict[str, Any]],
        schedule: str | None,
    ) -> None:
        """Write the clusters: one primary, each with its own way to seed and its own repository."""
        shared = {
            "flavor": flavor,
            "primary": {"connection": connection},
            "node": {"buffer_pool": "128MiB", **node},
            "schedule": schedule,
        }
        clusters = {
            name: {**shared, "repository": repositories[name], "seed": {"method": method}}
            for name, method in seeds.items()
        }
        self.cluster_file.write_text(yaml.safe_dump({"clusters": clusters}, sort_keys=False))

    def sweep(self) -> list[int]:
        """End what is left of the processes that this demo started, directly or not.

        :returns: those that there were.
        """
        return sweep(lambda: marked(MARKER, self.marker))

    def reap_nodes(self) -> list[str]:
        """Destroy replay nodes, whose servers carry no mark: they do not inherit the environment.

        :returns: their ids.
        """
        if not self.cluster_file.exists():
            return []
        runtime = get_runtime(next(iter(load_clusters(self.cluster_file).values())))
        return reap(runtime, node_ids=[str(node["node_id"]) for node in runtime.nodes()])

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


def run_tool(*argv: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program of the virtual environment (or of the system) and take its output.

    :raises SystemExit: it failed; with what it said.
    """
    command = [str(a) for a in argv]
    beside = Path(sys.executable).parent / command[0]
    if beside.exists():
        command[0] = str(beside)
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def start_time(pid: int) -> str:
    """Return the start time of a process, which distinguishes it from a later one of its id; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
