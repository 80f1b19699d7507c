"""The directory of a replay node and its state file.

Everything that a node owns is below its directory, which has mode 0700::

    <workdir>/<node_id>/
        node.json   phase, fill, goal, facts for the manifest (replaced atomically)
        jobs/       one state file and one log per job
        agent/      the record of the server's process
        data/ run/ tmp/ log/ plugin/     directories of the server
        base.json pages    state that the restore left: references and file stats, and the page index
        bundled     contents that a snapshot of this node has stored in bundles so far
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.decoding import encode
from airflow_restore_replay.core.errors import (
    NodeDamaged,
    NodeGone,
    ProtocolMismatch,
    TargetNotEmpty,
)
from airflow_restore_replay.core.flavor import server_record
from airflow_restore_replay.core.flavor.values import (
    NODE_SERVER_IDS,
    READER_SERVER_IDS,
    ServerLayout,
)
from airflow_restore_replay.core.jobs.node_state import NodeState
from airflow_restore_replay.core.jobs.ownership import refuse_foreign, refuse_shared
from airflow_restore_replay.core.jobs.protocol import (
    PROTOCOL_VERSION,
    NodeRequest,
    Phase,
    decode_message,
    is_node_id,
)
from airflow_restore_replay.core.repository.format.records import utc_now
from airflow_restore_replay.core.repository.transfer.restored_state import RestoredState
from airflow_restore_replay.core.system.files import (
    empty_directory,
    exclusive,
    is_own_directory,
    make_directory,
    remove_made,
    replace_file,
)

_SUBDIRECTORIES = ("jobs", "agent", "data", "run", "tmp", "log", "plugin")
#: records about the content of the data directory, which are deleted with it
_KNOWLEDGE = ("base.json", "pages", "bundled", "manifest.json")
_OURS = frozenset({*_SUBDIRECTORIES, *_KNOWLEDGE, "lock"})


class NodeDir:
    """The directory of a node.

    :param path: its path.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, workdir: Path, request: NodeRequest) -> NodeDir:
        """Create the directory, or return the existing node; a failure leaves no incomplete node.

        :raises TargetNotEmpty: the directory exists and holds other files.
        :raises PreflightFailed: other accounts could replace the directory.
        """
        node = cls(workdir / request.node_id)
        refuse_foreign(node.path)
        if node._state_path.exists():
            return node
        made = make_directory(workdir) or _made_before(workdir)
        node._remove_half_made()
        try:
            node._lay_out(request, made)
        except BaseException:
            shutil.rmtree(node.path, ignore_errors=True)
            if made:
                remove_made(workdir, made)
            raise
        return node

    def refuse_other_content(self) -> None:
        """Raise if the directory is no node's: it has no state file, and holds anything that no node does.

        :raises TargetNotEmpty: it holds something else.
        """
        if not self.path.exists() or self._state_path.exists():
            return
        foreign = [
            e.name
            for e in self.path.iterdir()
            if e.name not in _OURS and not e.name.startswith(".node.json.")
        ]
        if foreign:
            raise TargetNotEmpty(
                f"{self.path} is not a replay node: it holds {', '.join(sorted(foreign)[:5])}.",
                hint="Give node.workdir a directory of its own.",
            )

    def _remove_half_made(self) -> None:
        """Remove an incomplete node that a crash left, but never a directory that holds anything else."""
        self.refuse_other_content()
        if self.path.exists():
            shutil.rmtree(self.path)

    def _lay_out(self, request: NodeRequest, made: str) -> None:
        # With parents, because the work directory may just have been removed with the last other node.
        self.path.mkdir(mode=0o700, parents=True)
        for name in _SUBDIRECTORIES:
            (self.path / name).mkdir(mode=0o700)
        now = utc_now()
        self.save(
            NodeState(
                protocol=PROTOCOL_VERSION,
                node_id=request.node_id,
                cluster=request.cluster,
                run=request.run,
                created_at=now,
                expires_at=now + timedelta(seconds=request.cluster.node.max_age),
                server_id=secrets.choice(range(NODE_SERVER_IDS.start, READER_SERVER_IDS.start)),
                made=made,
            )
        )

    @property
    def _state_path(self) -> Path:
        return self.path / "node.json"

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def jobs(self) -> Path:
        return self.path / "jobs"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def secrets(self) -> Path:
        """The directory of short-lived option files with passwords, which the server can neither read nor write."""
        return self.path / server_record.DIRECTORY

    @property
    def pages(self) -> Path:
        return self.path / "pages"

    @property
    def bundled(self) -> Path:
        return self.path / "bundled"

    def lock(self) -> Any:
        """Return a context manager that serializes decisions about this node's jobs."""
        return exclusive(self.path / "lock")

    def load(self) -> NodeState:
        """Read the state file.

        :raises NodeGone: the node does not exist, or no longer.
        :raises NodeDamaged: the state file is not readable.
        :raises ProtocolMismatch: another release of this package created it.
        """
        try:
            raw = self._state_path.read_bytes()
        except FileNotFoundError as exc:
            raise NodeGone(
                f"Replay node {self.path.name} does not exist on this host.",
                hint="It was destroyed or reaped; clear the run from create_node.",
            ) from exc
        except OSError as exc:
            raise self._unreadable(exc) from exc
        try:
            return decode_message(raw, NodeState, sender=f"Replay node {self.path.name}")
        except msgspec.MsgspecError as exc:
            raise self._unreadable(exc) from exc

    def _unreadable(self, exc: Exception) -> NodeDamaged:
        return NodeDamaged(f"The state of replay node {self.path.name} is not readable: {exc}.")

    def save(self, state: NodeState) -> None:
        replace_file(self._state_path, encode(state), mode=0o400)

    @contextlib.contextmanager
    def changing(self) -> Iterator[NodeState]:
        """Yield the state, and save its changes at the end of the context, unless the context raises."""
        state = self.load()
        yield state
        self.save(state)

    def set_phase(self, phase: Phase) -> None:
        with self.changing() as state:
            state.phase = phase

    def wipe(self) -> None:
        """Reset to an empty node: delete the content of the data directory and all records about it."""
        for name in ("data", "run", "tmp", "agent"):
            empty_directory(self.path / name)
        for name in _KNOWLEDGE:
            (self.path / name).unlink(missing_ok=True)
        with self.changing() as state:
            state.phase, state.filled_from = Phase.EMPTY, None

    def layout(self, state: NodeState, cluster: Cluster) -> ServerLayout:
        """Return the paths and resources of the node's server."""
        primary = cluster.primary
        return ServerLayout(
            datadir=self.data,
            run_dir=self.run,
            tmp_dir=self.path / "tmp",
            log_path=self.path / "log" / "server.err",
            plugin_dir=self.path / "plugin",
            bindir=Path(cluster.node.bindir) if cluster.node.bindir else None,
            buffer_pool_bytes=cluster.node.buffer_pool,
            server_id=state.server_id,
            confine=cluster.node.confine,
            readable=tuple(map(Path, [*cluster.node.readable, *primary.tls_files])),
            primary_port=primary.port,
            variables=state.facts.variables,
        )

    def save_base(self, base: RestoredState) -> None:
        base.save(self.path / "base.json")

    def load_base(self) -> RestoredState:
        """Return the state that the restore left; an empty base if the node was seeded."""
        return RestoredState.load(self.path / "base.json", self.pages)

    def remove(self) -> None:
        """Delete the directory; idempotent.

        The state file is deleted last, so that after an interruption the node is still found. The work directory is
        removed with its last node if it was created for nodes.
        """
        if not self.path.exists():
            return
        made = _made_for(self)
        for entry in self.path.iterdir():
            if entry != self._state_path:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        self._state_path.unlink(missing_ok=True)
        os.rmdir(self.path)
        if made:
            remove_made(self.path.parent, made)


def nodes_in(workdir: Path) -> Iterator[NodeDir]:
    """Yield every node of this account below *workdir*, whether its state is readable or not.

    :raises PreflightFailed: other accounts may write to *workdir*.
    """
    refuse_shared(workdir)
    for path in sorted(workdir.glob("*/node.json")):
        if is_own_directory(path.parent) and is_node_id(path.parent.name):
            yield NodeDir(path.parent)


def _made_before(workdir: Path) -> str:
    """Return the topmost directory that was created for an earlier node of *workdir*; empty if there is none."""
    return next(filter(None, map(_made_for, nodes_in(workdir))), "")


def _made_for(node: NodeDir) -> str:
    with contextlib.suppress(NodeGone, NodeDamaged, ProtocolMismatch):
        return node.load().made
    return ""
