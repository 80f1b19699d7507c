"""``restore-replay``: the decisions and jobs of the DAG, without Airflow."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from typing import Any

import click

from airflow_restore_replay import __version__
from airflow_restore_replay.cli.exit_codes import Exit, exit_code
from airflow_restore_replay.cli.leaving import leave
from airflow_restore_replay.cli.output import JSON_KEY, show_failure
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.system.printable import PrintableFormatter

#: Command → module, which is imported on use, so that `--help` and `freshness` start fast.
_COMMANDS = {
    "cycle": "cycle",
    "archive": "archive",
    "list": "list_backups",
    "show": "show",
    "restore": "restore",
    "drill": "drill",
    "report": "report",
    "find": "find",
    "freshness": "freshness",
    "status": "status",
    "metrics": "metrics",
    "units": "units",
    "release": "release",
    "verify": "verify",
    "prune": "prune",
    "node": "node",
    "doctor": "doctor",
    "selftest": "selftest",
    "key": "key",
    "config": "config",
}


class Commands(click.Group):
    """Group that imports commands on use and turns errors into a message, a hint and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"airflow_restore_replay.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(Exit.INTERRUPTED)
        except Exception as exc:
            if ctx.params["debug"]:
                raise
            failure = Failure.of(exc)
            show_failure(failure, as_json=ctx.meta.get(JSON_KEY, False))
            ctx.exit(exit_code(failure))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="restore-replay")
@click.option("--debug", is_flag=True, envvar="RESTORE_REPLAY_DEBUG", help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Backups that are produced by being restored.

    Exit codes: 0 done, 1 environment (try again), 2 refused or wrong usage, 3 the primary is at fault,
    4 a backup is at fault, 5 a backup is stranded, 70 a bug, 130 interrupted. `freshness` and `status` use the
    codes of Nagios.
    """


def main() -> None:
    """Run the command line. The console script calls this."""
    log = logging.StreamHandler()
    log.setFormatter(PrintableFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[log])
    if os.environ.get("NO_COLOR") is None and not sys.stdout.isatty():
        os.environ.setdefault("NO_COLOR", "1")
    try:
        cli()
    except SystemExit as exc:
        leave(exc.code if isinstance(exc.code, int) else 1)
        raise


if __name__ == "__main__":
    main()
