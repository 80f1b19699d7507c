"""``restore-replay metrics``: the state of all clusters for Prometheus."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any

import click

from airflow_restore_replay.cli.fleet_options import chosen_clusters, fleet_options, interval_option
from airflow_restore_replay.cli.interrupt import clean_up_on_sigterm
from airflow_restore_replay.cli.leaving import leave_threads_behind
from airflow_restore_replay.cli.output import echo
from airflow_restore_replay.core.errors import ConfigInvalid
from airflow_restore_replay.core.fleet.fleet import Fleet
from airflow_restore_replay.core.fleet.metrics import CONTENT_TYPE, PLAIN_TYPE, metrics_text
from airflow_restore_replay.core.system.files import replace_file

_LOOPBACK = "127.0.0.1"
_SHIPPED = {"rules": "alerts.yaml", "dashboard": "dashboard.json"}


class Address(click.ParamType[tuple[str, int]]):
    """``PORT`` on the loopback interface, or ``ADDRESS:PORT``."""

    name = "address"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        host, colon, port = str(value).rpartition(":")
        if not port.isascii() or not port.isdigit() or int(port) > 65535 or (colon and not host):
            self.fail(f"{value!r} is neither PORT nor ADDRESS:PORT", param, ctx)
        return host.strip("[]") or _LOOPBACK, int(port)


def _show_shipped(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        name = _SHIPPED[param.name or ""]
        folder = resources.files("airflow_restore_replay.monitoring")
        click.echo(folder.joinpath(name).read_text(encoding="utf-8"), nl=False)
        ctx.exit()


@click.command("metrics")
@click.option(
    "--textfile",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.prom",
    help="Write them to a file of node_exporter's textfile collector, all at once.",
)
@click.option(
    "--listen",
    type=Address(),
    metavar="[ADDRESS:]PORT",
    help="Serve them by HTTP at /metrics, until SIGTERM; without an address only on this host.",
)
@interval_option(1, 60.0, "--listen")
@click.option(
    "--rules",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_shipped,
    help="Print alert rules for Prometheus.",
)
@click.option(
    "--dashboard",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_shipped,
    help="Print a dashboard for Grafana.",
)
@fleet_options
def command(
    config: str,
    cluster: str | None,
    limit: float,
    textfile: Path | None,
    listen: tuple[str, int] | None,
    interval: float,
) -> None:
    """Print the state of all clusters as metrics, in OpenMetrics text.

    A cluster whose repository cannot be read has restore_replay_up 0, and the command succeeds.
    """
    if textfile and listen:
        raise click.UsageError("--textfile and --listen exclude each other.")
    fleet = chosen_clusters(config, cluster).fleet(limit_s=limit, everything=listen is not None)
    if listen:
        _serve(fleet, listen, interval)
    else:
        text = metrics_text(fleet.states())
        if textfile:
            _write(textfile, text)
        else:
            click.echo(text, nl=False)
    leave_threads_behind(fleet.hanging)


def _write(file: Path, text: str) -> None:
    try:
        replace_file(file, text.encode(), mode=0o644)
    except OSError as exc:
        raise ConfigInvalid(f"Cannot write {file}: {exc.strerror}.") from exc


def _serve(fleet: Fleet, address: tuple[str, int], interval_s: float) -> None:
    """Serve the last evaluation, which a thread of its own repeats, so that a scrape never waits for a store."""
    clean_up_on_sigterm()
    page = _Page(fleet)
    page.renew()
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(interval_s):
            page.renew()

    try:
        server = _Server(address, page)
    except OSError as exc:
        raise ConfigInvalid(f"Cannot listen on {address[0]}:{address[1]}: {exc.strerror or exc}.") from exc
    threading.Thread(target=repeat, name="evaluate", daemon=True).start()
    host, port = server.server_address[:2]
    echo(f"Serving http://{_literal(str(host))}:{port}/metrics", err=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        ended.set()
        server.server_close()


class _Page:
    """The text of the last evaluation."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.text = b""

    def renew(self) -> None:
        self.text = metrics_text(self._fleet.states()).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], page: _Page) -> None:
        if ":" in address[0]:
            import socket

            self.address_family = socket.AF_INET6
        super().__init__(address, _handler(lambda: page.text))


def _handler(read: Callable[[], bytes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "restore-replay", ""
        timeout = 10

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404)
                return
            text = read()
            asked = self.headers.get("Accept", "")
            self.send_response(200)
            kind = CONTENT_TYPE if "application/openmetrics-text" in asked else PLAIN_TYPE
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            if not args or str(args[1:2]) != "('200',)":
                sys.stderr.write(f"{self.address_string()} {format % args!r}\n")

    return Handler


def _literal(host: str) -> str:
    return f"[{host}]" if ":" in host else host
