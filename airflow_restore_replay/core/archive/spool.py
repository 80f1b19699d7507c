"""The archiver's place on its host: the directory of what is not stored yet, and who may use it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import secrets
from collections.abc import Iterator
from pathlib import Path

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import LeaseHeld
from airflow_restore_replay.core.system.files import make_directory, replace_file


class Spool:
    """The spool of one cluster.

    :param root: the directory that it is in; by default, the one that the cluster file names.
    :ivar directory: emptied whenever receiving begins.
    """

    def __init__(self, cluster: Cluster, root: Path | None = None) -> None:
        root = root or Path(cluster.archive.spool or Path(cluster.node.workdir) / "spool")
        self.directory = root / cluster.name
        self._cluster = cluster.name
        self._root = root

    @contextlib.contextmanager
    def held(self) -> Iterator[str]:
        """Hold the spool, so that no other process of this host uses it.

        :returns: the owner of the archive's lease, which is the same for each archiver that uses this spool: one that
            was killed does not keep the next one waiting.
        :raises LeaseHeld: another process uses it.
        """
        make_directory(self._root)
        descriptor = os.open(self._root / f"{self._cluster}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LeaseHeld(
                    f"Another process of this host archives cluster {self._cluster}: it uses the spool "
                    f"{self.directory}.",
                    hint="Wait for that process, or end it.",
                ) from None
            yield self._owner()
        finally:
            os.close(descriptor)

    def _owner(self) -> str:
        # Of the directory, not only of the host: containers may have the same host name.
        path = self._root / f"{self._cluster}.owner"
        with contextlib.suppress(FileNotFoundError):
            if found := path.read_text(encoding="ascii").strip():
                return found
        owner = f"archive/{platform.node()}/{secrets.token_hex(4)}"
        replace_file(path, owner.encode("ascii", "replace"))
        return owner
