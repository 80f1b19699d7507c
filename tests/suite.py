"""The whole suite in its parts, with what it took: ``python -m tests.suite run | sweep | compare OLD NEW``.

`make test` and `make sweep` call it. It ends with the fifty slowest cases and the minutes of each part, and writes both
to a JSON file that can be compared with another commit's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
RESULT = ROOT / ".test-durations.json"
_BIN = Path(sys.executable).parent
_SLOWEST = 50


@dataclass(frozen=True)
class Part:
    """:param commands: programs of the virtual environment, one after the other.
    :param tests: what pytest gets after them; with none, it does not run.
    :param workers: pytest's processes. Tests wait for servers, so five at a time use two cores.
    """

    name: str
    commands: Sequence[Sequence[str]] = ()
    tests: Sequence[str] = ()
    workers: int = 0


_LINT = Part(
    "lint",
    commands=(("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",), ("lint-imports",)),
)
PARTS = (
    _LINT,
    Part(
        "servers",
        tests=("tests/unit", "tests/contract", "tests/airflow", "tests/e2e", "tests/package"),
        workers=5,
    ),
    # By themselves: each module starts and kills an Airflow of its own, and the whole of it takes both cores.
    Part("live", tests=("tests/live",), workers=3),
)
SWEEPS = (
    Part("servers", tests=("tests/unit", "tests/contract", "tests/airflow", "tests/e2e"), workers=5),
    Part("live", tests=("tests/live",), workers=3),
    Part("tour", tests=("tests/compose",)),
)


@dataclass
class Result:
    """:param parts: name → minutes. :param tests: id → seconds, with fixtures. :param failed: the part that failed."""

    commit: str
    parts: dict[str, float] = field(default_factory=dict)
    tests: dict[str, float] = field(default_factory=dict)
    failed: str = ""


@click.group()
def main() -> None:
    """Run the tests in parts, or compare what two runs took."""


@main.command()
@click.option("--result", type=click.Path(path_type=Path), default=RESULT, help="JSON file for what it took.")
def run(result: Path) -> None:
    """Run everything but the sweeps."""
    sys.exit(_run(PARTS, "not sweep", result))


@main.command()
@click.option("--result", type=click.Path(path_type=Path), default=RESULT, help="JSON file for what it took.")
def sweep(result: Path) -> None:
    """Run the sweeps: docs/testing.md lists what each guards."""
    sys.exit(_run(SWEEPS, "sweep", result))


@main.command()
@click.argument("old", type=click.Path(exists=True, path_type=Path))
@click.argument("new", type=click.Path(exists=True, path_type=Path))
def compare(old: Path, new: Path) -> None:
    """Show where two runs differ most."""
    before, after = (Result(**json.loads(path.read_text())) for path in (old, new))
    click.echo(f"{before.commit[:9]} → {after.commit[:9]}, minutes of each part:")
    for name in dict.fromkeys([*before.parts, *after.parts]):
        click.echo(f"  {_minutes(before, name)} → {_minutes(after, name)}  {name}")
    gone, new_ones = before.tests.keys() - after.tests.keys(), after.tests.keys() - before.tests.keys()
    click.echo(f"{len(gone)} cases are gone, {len(new_ones)} are new. Seconds that differ most:")
    both = before.tests.keys() & after.tests.keys()
    for name in sorted(both, key=lambda n: -abs(after.tests[n] - before.tests[n]))[:_SLOWEST]:
        click.echo(f"  {before.tests[name]:6.1f} → {after.tests[name]:6.1f}  {_short(name)}")


def _minutes(result: Result, part: str) -> str:
    return f"{result.parts[part]:5.1f}" if part in result.parts else "    –"


def _run(parts: Sequence[Part], marked: str, path: Path) -> int:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    result = Result(commit=head.stdout.strip())
    for part in parts:
        click.secho(f"==> {part.name}", bold=True, err=True)
        started = time.monotonic()
        passed = _run_part(part, marked, result)
        result.parts[part.name] = round((time.monotonic() - started) / 60, 2)
        if not passed:
            result.failed = part.name
            break
    path.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    _show(result, path)
    return 1 if result.failed else 0


def _run_part(part: Part, marked: str, result: Result) -> bool:
    for program, *arguments in part.commands:
        if subprocess.run([str(_BIN / program), *arguments], cwd=ROOT, check=False).returncode:
            return False
    if not part.tests:
        return True
    workers = ["-n", str(part.workers)] if part.workers else []
    if _pytest([*workers, "-m", marked, *part.tests], result) == 0:
        return True
    # Real servers on a busy machine miss a deadline now and then: a defect fails twice. Nothing to run again (a wrong
    # skip, an error in collecting) stays a failure.
    click.secho("*** FAILED ONCE; again, one at a time: ***", fg="yellow", bold=True, err=True)
    again = ["--last-failed", "--last-failed-no-failures", "none", "-m", marked, *part.tests]
    return _pytest(again, result) == 0


def _pytest(arguments: Sequence[str], result: Result) -> int:
    with tempfile.TemporaryDirectory() as private:
        durations = Path(private) / "durations.json"
        command = [sys.executable, "-m", "pytest", "--durations-json", str(durations), *arguments]
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        if durations.exists():
            result.tests.update(json.loads(durations.read_text())["tests"])
        return status


def _show(result: Result, path: Path) -> None:
    click.echo(f"\nThe {_SLOWEST} slowest cases, seconds with their fixtures:")
    for name, seconds in sorted(result.tests.items(), key=lambda item: -item[1])[:_SLOWEST]:
        click.echo(f"  {seconds:6.1f}  {_short(name)}")
    click.echo("\nMinutes of each part:")
    for name, minutes in result.parts.items():
        click.echo(f"  {minutes:5.1f}  {name}{'  FAILED' if name == result.failed else ''}")
    click.echo(
        f"  {sum(result.parts.values()):5.1f}  in all; {len(result.tests)} cases; written to {path.name}"
    )


def _short(name: str) -> str:
    return name.removeprefix("tests/")


if __name__ == "__main__":
    main()
