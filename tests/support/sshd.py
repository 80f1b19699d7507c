"""A throw-away SSH server on this machine, as the user who runs the tests, behind a gate that cuts connections."""

from __future__ import annotations

import getpass
import os
import signal
import subprocess
import time
from pathlib import Path

from tests.support.primary import free_port
from tests.support.processes import end, pids, signal_if_there
from tests.support.tcp import TcpGate

_REPOSITORY = Path(__file__).parents[2]
_CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {root}/host_key
AuthorizedKeysFile {root}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
SetEnv {variables}
"""


class Sshd:
    """An SSH server.

    :param root: its keys, its configuration, its log.
    :param gate: what clients connect to.
    """

    def __init__(self, root: Path, process: subprocess.Popen[bytes], gate: TcpGate) -> None:
        self.root = root
        self.gate = gate
        self._process = process

    @classmethod
    def start(cls, root: Path, **variables: str) -> Sshd:
        """Start a server.

        :param variables: environment of the programs that run there, beside the path of this package.
        """
        root.mkdir(parents=True)
        for name in ("host_key", "key"):
            make_key(root / name)
        # As docs/security.md recommends: no terminal, no forwarding.
        (root / "authorized_keys").write_text("restrict " + (root / "key.pub").read_text())
        if os.getuid() == 0:  # where Debian's service would have made it
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        environment = {"PYTHONPATH": str(_REPOSITORY), **variables}
        given = " ".join(f"{name}={value}" for name, value in environment.items())
        for _ in range(5):  # another process may take the port first
            port = free_port()
            (root / "config").write_text(_CONFIG.format(port=port, root=root, variables=given))
            with (root / "log").open("ab") as log:
                process = subprocess.Popen(
                    ["/usr/sbin/sshd", "-D", "-e", "-f", str(root / "config")], stdout=log, stderr=log
                )
            if _listens(process, root / "log"):
                sshd = cls(root, process, TcpGate(port))
                sshd.known_hosts.write_text(f"[127.0.0.1]:{sshd.gate.port} {sshd.host_key}\n")
                return sshd
        raise AssertionError(f"sshd does not start: {(root / 'log').read_text()}")

    def stop(self) -> None:
        self.gate.__exit__()
        self.kill_sessions()
        end(self._process)

    @property
    def host_key(self) -> str:
        """Return type and key, as in a line of known_hosts."""
        return " ".join((self.root / "host_key.pub").read_text().split()[:2])

    @property
    def known_hosts(self) -> Path:
        return self.root / "known_hosts"

    @property
    def node_section(self) -> dict[str, object]:
        """Return what a cluster's ``node`` needs to say to reach it."""
        return {
            "runtime": "ssh",
            "host": "127.0.0.1",
            "port": self.gate.port,
            "user": getpass.getuser(),
            "key_file": str(self.root / "key"),
            "known_hosts": str(self.known_hosts),
        }

    def sessions(self) -> list[int]:
        """Return the processes that serve connections."""
        return [pid for pid in pids() if _parent_of(pid) == self._process.pid]

    def kill_sessions(self) -> int:
        """Return how many connections there were."""
        found = self.sessions()
        for pid in found:
            for child in [p for p in pids() if _parent_of(p) == pid and _name_of(p) == "sshd"]:
                signal_if_there(child, signal.SIGKILL)
            signal_if_there(pid, signal.SIGKILL)
        return len(found)


def make_key(path: Path, passphrase: str = "") -> None:
    """Make a key pair: *path* and ``.pub``."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f", str(path)], check=True
    )


def _listens(process: subprocess.Popen[bytes], log: Path) -> bool:
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        if "Server listening" in log.read_text():
            return True
        time.sleep(0.02)
    end(process)
    log.write_text("")
    return False


def _stat(pid: int) -> tuple[str, int]:
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
    except OSError:
        return "", -1
    return name, int(rest.split()[1])


def _parent_of(pid: int) -> int:
    return _stat(pid)[1]


def _name_of(pid: int) -> str:
    return _stat(pid)[0]
