"""The sections of a cluster's configuration, each with its checks; docs/configuration.md describes them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from airflow_restore_replay.core.config.encryption_keys import Encryption
from airflow_restore_replay.core.config.store_options import StoreOptions
from airflow_restore_replay.core.config.strict import Positive, Strict
from airflow_restore_replay.core.config.units import ByteCount, Seconds
from airflow_restore_replay.core.errors import ConfigInvalid

Count = Annotated[int, Meta(ge=0)]
Port = Annotated[int, Meta(ge=1, le=65535)]

#: allowed host names and programs: a value is passed as an argument, and no program may take it for an option
_HOST = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:%_-]*")
_PROGRAM = re.compile(r"[^-\x00-\x1f\x7f][^\x00-\x1f\x7f]*")

_MIN_GRACE_S = 3600.0


class Primary(Strict, frozen=True, kw_only=True):
    """How to connect to the protected primary.

    :param connection: an Airflow connection id; only Airflow can resolve it.
    :param password_file: a file that holds only the password; alternatively, *password_env* names a variable.
    :param ssl_ca: CA certificates; the primary's certificate must be signed by one of them, for its host name.
    :param ssl_cert, ssl_key: client certificate and its key, for an account that has REQUIRE X509.
    """

    connection: str | None = None
    host: str = "127.0.0.1"
    port: Port = 3306
    user: str = "restore_replay"
    password_file: str | None = None
    password_env: str | None = None
    ssl_ca: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = None

    def __post_init__(self) -> None:
        if bool(self.ssl_cert) != bool(self.ssl_key):
            raise ValueError("ssl_cert and ssl_key go together")
        for name in ("ssl_ca", "ssl_cert", "ssl_key"):
            # A relative path would be ambiguous: jobs, their programs and the node's server have different
            # working directories.
            path = getattr(self, name)
            if path and not os.path.isabs(path):
                raise ValueError(f"{name} must be an absolute path, got {path!r}")

    @property
    def tls_files(self) -> list[str]:
        """Return the files that TLS needs on the node's host."""
        return [path for path in (self.ssl_ca, self.ssl_cert, self.ssl_key) if path]


class RepositorySpec(Strict, frozen=True, kw_only=True):
    """Where backups are stored.

    :param url: ``file:///dir`` or ``s3://bucket/prefix``, with a prefix of its own for each cluster. May be left out
        if *connection* is a repository connection, which has a URL.
    :param options: how to connect to an object store, and the encryption and storage class of its objects.
    :param connection: an Airflow connection for the credentials, of the type ``restore_replay_repository`` or
        of the Amazon, Azure or Google provider; by default, the credentials of the environment are used.
    :param browse: URL of an object in a browser, with ``{path}`` for its name, as in
        ``https://minio.example/browser/backups/orders/{path}``, for links in Airflow's UI.
    :param encryption: source of the key of an encrypted repository; without it, nothing is encrypted.
    """

    url: str = ""
    options: StoreOptions = StoreOptions()
    connection: str | None = None
    browse: str | None = None
    encryption: Encryption | None = None

    def __post_init__(self) -> None:
        if not self.url and not self.connection:
            raise ValueError("url is missing; without it, connection must name a repository connection")
        if self.browse is not None and "{path}" not in self.browse:
            raise ValueError(f"browse must contain {{path}}, got {self.browse!r}")
        if self.url:
            self.options.refuse_unsuitable(self.url)


class NodeSpec(Strict, frozen=True, kw_only=True):
    """The disposable server of a cycle.

    :param workdir: parent of the nodes' directories, on a disk with room for a whole copy of the data.
    :param bindir: directory of the server's programs, if they are not on PATH.
    :param connection: an Airflow connection. For nodes on the worker's host, of the type ``restore_replay_node``: its
        *workdir* and *bindir* override those here. For nodes over SSH, of the type ``ssh``: its address and login
        override those here, and its key, password and host key are used. For nodes in Docker, of the type
        ``docker``: the account of the registry that images are pulled from.
    :param host, port, user: of the SSH server; the user defaults to the worker's own.
    :param python: the interpreter on that host, or in that container, that has this package: a name or a path.
    :param key_file, known_hosts: files on the worker: the private key, and the trusted host keys; by default those of
        the worker's account.
    :param confine: whether a server of a node must be confined to the node's directory by the kernel (Landlock), or is
        only if the host can.
    :param readable: further directories and files that a confined server may read and execute, for example of a server
        that is not installed below *bindir*'s parent.
    :param buffer_pool: memory of the node's InnoDB buffer pool.
    :param max_age: a node older than this is orphaned, and the reaper removes it.
    :param queue: Airflow queue of the cycle's tasks, which a worker on the workdir's host serves.
    :param image: docker: image of the node's container; ``{flavor}``, ``{version}`` and ``{series}`` are filled in.
    :param engine: docker: ``unix:///…``, ``tcp://host:2376``, ``ssh://user@host``; by default ``DOCKER_HOST``.
    :param engine_insecure: docker: accept an engine of another host that is reached without TLS.
    :param project: docker: prefix of container names; nodes of other projects are never touched.
    :param network: docker: network of the container; by default the engine's default network.
    :param memory, cpus: docker: limits of the container; none by default.
    :param tls_ca, tls_cert, tls_key: docker: CA certificates, and client certificate with its key, for mutual TLS with
        the engine.
    """

    runtime: Literal["process", "docker", "ssh"] = "process"
    workdir: str = "/var/lib/restore-replay"
    bindir: str | None = None
    connection: str | None = None
    host: str | None = None
    port: Port = 22
    user: str | None = None
    python: str = "python3"
    key_file: str | None = None
    known_hosts: str | None = None
    confine: Literal["require", "prefer", "off"] = "prefer"
    readable: tuple[str, ...] = ()
    buffer_pool: ByteCount = ByteCount("256MiB")
    max_age: Seconds = Seconds("2d")
    queue: str | None = None
    image: str | None = None
    engine: Annotated[str, Meta(pattern=r"^(unix|tcp|ssh)://\S+$")] | None = None
    engine_insecure: bool = False
    project: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")] = "restore-replay"
    network: str | None = None
    memory: ByteCount | None = None
    cpus: Annotated[float, Meta(ge=0.1)] | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    def __post_init__(self) -> None:
        if self.runtime != "ssh":
            self._refuse_keys_of("ssh", "host", "user", "key_file", "known_hosts")
        elif not self.host and not self.connection:
            raise ValueError("host is missing; without it, connection must name an ssh connection")
        if self.host and not _HOST.fullmatch(self.host):
            raise ValueError(f"host is no host name or address: {self.host!r}")
        if not _PROGRAM.fullmatch(self.python):
            raise ValueError(f"python must be the name or the path of a program, got {self.python!r}")
        self._check_container()

    def _check_container(self) -> None:
        if self.runtime != "docker":
            self._refuse_keys_of(
                "docker", "image", "engine", "engine_insecure", "network", "memory", "cpus", "tls_cert"
            )
        elif not self.image:
            raise ValueError("image is missing: the container's")
        if self.memory is not None and self.memory <= self.buffer_pool:
            raise ValueError("memory must be more than buffer_pool, which is a part of what a server needs")
        if len({bool(self.tls_ca), bool(self.tls_cert), bool(self.tls_key)}) > 1:
            raise ValueError("tls_ca, tls_cert and tls_key go together")

    def _refuse_keys_of(self, runtime: str, *names: str) -> None:
        if given := [name for name in names if getattr(self, name)]:
            raise ValueError(f"{', '.join(given)} only with runtime {runtime}, this is {self.runtime}")


class Seed(Strict, frozen=True, kw_only=True):
    """How a node is filled from the primary for a fresh full.

    :param method: ``logical`` works with any primary over the SQL port. ``physical`` runs the backup program of the
        flavor on the primary's host. ``clone`` uses MySQL's CLONE plugin over the SQL port, which copies InnoDB only:
        if the primary has other tables, they are named and the seed is logical.
    :param prefix: argv in front of the backup program: ``[]`` on the same host, ``[ssh, db1]``,
        ``[docker, exec, -i, db1]``.
    :param defaults_file: option file *on the primary's host* that holds the backup program's credentials and
        socket, so that no password is passed as an argument.
    """

    method: Literal["logical", "physical", "clone"] = "logical"
    prefix: list[str] = []
    defaults_file: str | None = None


class CatchUp(Strict, frozen=True, kw_only=True):
    """How a node replicates until it contains the goal.

    :param appliers: parallel appliers on the node; by default, their number follows from the cores that it may use.
    """

    appliers: Positive | None = None
    stall_timeout: Seconds = Seconds("10m")
    deadline: Seconds = Seconds("12h")


class Transfer(Strict, frozen=True, kw_only=True):
    """Speed limits of snapshot and restore.

    :param rate_limit: bytes of database files per second, over all threads; no limit by default.
    :param paranoid: a snapshot also reads the files that are unchanged since they were restored.
    """

    threads: Annotated[int, Meta(ge=1, le=64)] = 4
    rate_limit: ByteCount | None = None
    compression_level: Annotated[int, Meta(ge=1, le=19)] = 1
    paranoid: bool = False


class FullEvery(Strict, frozen=True, kw_only=True):
    """When a fresh full replaces a healthy base, which bounds how long a lineage can inherit a fault.

    :param age: age of the last fresh full.
    :param generations: number of backups made since.
    """

    age: Seconds | None = None
    generations: Positive | None = None


#: a lease that is valid for longer than this would hold back all runs, and is refused
MAX_LEASE_TTL_S = 86400.0


class LeasePolicy(Strict, frozen=True, kw_only=True):
    """Times of the cluster's lease.

    :param ttl: a run that does not renew its lease for this long loses it.
    :param wait: how long a run waits for another run of the cluster before it fails and names that run.
    """

    ttl: Seconds = Seconds("10m")
    wait: Seconds = Seconds("1h")

    def __post_init__(self) -> None:
        if not 0 < self.ttl <= MAX_LEASE_TTL_S:
            raise ValueError(f"ttl must be at most 1d, it is {self.ttl:.0f} s")


class Retention(Strict, frozen=True, kw_only=True):
    """Rules for what pruning keeps; it deletes backups that no rule keeps, and none if there is no keep rule.

    :param keep_within: keep all backups at most this much older than the newest.
    :param last: keep this many of the newest backups.
    :param hourly, daily, weekly, monthly: keep the newest backup of each of the last so many hours, days, … that have
        one; hours in UTC, the others in the cluster's timezone.
    :param min_count: number of healthy proven backups that pruning never goes below.
    :param most_deleted: a prune that would delete more backups than this deletes nothing, and says so.
    :param quarantined_within: how long a quarantined backup is kept, counted from its quarantine.
    :param grace: a backup younger than this is not deleted, and stored bytes are deleted this long after they became
        unreferenced. It must be longer than any restore takes and than any process may be suspended.
    """

    keep_within: Seconds | None = None
    last: Count = 0
    hourly: Count = 0
    daily: Count = 0
    weekly: Count = 0
    monthly: Count = 0
    min_count: Positive = 3
    most_deleted: Positive = 10
    quarantined_within: Seconds = Seconds("90d")
    grace: Seconds = Seconds("2d")

    def __post_init__(self) -> None:
        if self.grace < _MIN_GRACE_S:
            raise ValueError(f"grace must be at least 1h, it is {self.grace:.0f} s")

    @property
    def has_rule(self) -> bool:
        """Return whether any keep rule is configured."""
        return bool(self.keep_within or self.last or self.hourly or self.daily or self.weekly or self.monthly)


class Drill(Strict, frozen=True, kw_only=True):
    """Restores for practice, without the primary.

    :param schedule: cron expression of the shipped drill DAG, in the cluster's timezone; by default there is none.
    :param moments: which moment is restored: a random one of the window, or all that is archived.
    :param rto_target: how long a restore may take; `restore-replay report` compares the forecast with it.
    """

    schedule: str | None = None
    moments: Literal["random", "latest"] = "random"
    rto_target: Seconds | None = None


class Timeouts(Strict, frozen=True, kw_only=True):
    """Time limits of the tasks, after which Airflow ends the task and its job, and retries.

    Catch-up and the wait for the lease have limits of their own: ``catch_up.deadline`` and ``lease.wait``.

    :param step: limit of the short tasks, which only read and write records, or create and destroy a node.
    """

    restore: Seconds = Seconds("1d")
    seed: Seconds = Seconds("2d")
    validate: Seconds = Seconds("1d")
    snapshot: Seconds = Seconds("1d")
    prune: Seconds = Seconds("6h")
    step: Seconds = Seconds("30m")


Occasion = Literal["task_failure", "run_failure", "quarantine", "recovery", "gap"]


class Notify(Strict, frozen=True, kw_only=True):
    """Notifications to a Slack channel; they need the extra ``slack``.

    :param slack_webhook_conn_id: an Airflow connection of the type ``slackwebhook``.
    :param slack_conn_id: an Airflow connection of the type ``slack`` (API); needs *channel*.
    :param on: the occasions on which Airflow sends a message.
    :param repeat_after: a failure that lasts over several runs is told again after this time at the earliest.
    """

    slack_webhook_conn_id: str | None = None
    slack_conn_id: str | None = None
    channel: str | None = None
    on: tuple[Occasion, ...] = ("task_failure", "run_failure", "quarantine", "recovery", "gap")
    repeat_after: Seconds = Seconds("20h")

    def __post_init__(self) -> None:
        if bool(self.slack_conn_id) != bool(self.channel):
            raise ValueError("slack_conn_id and channel go together; a webhook has its own channel")


def primary_password(primary: Primary) -> str:
    """Read the primary's password from the source that the cluster file names; the file never holds it.

    :returns: the password; empty if no source is configured.
    :raises ConfigInvalid: the source is not readable, or only Airflow can resolve it.
    """
    if primary.password_file:
        try:
            return Path(primary.password_file).read_text(encoding="utf-8").rstrip("\n")
        except OSError as exc:
            raise ConfigInvalid(f"Cannot read primary.password_file: {exc.strerror}.") from exc
    if primary.password_env:
        if primary.password_env not in os.environ:
            raise ConfigInvalid(f"primary.password_env: the variable {primary.password_env} is not set.")
        return os.environ[primary.password_env]
    if primary.connection:
        raise ConfigInvalid(
            f"primary.connection {primary.connection!r} can only be resolved by Airflow.",
            hint="For the command line give host, port, user and password_file instead.",
        )
    return ""
