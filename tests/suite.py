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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO
from unittest import mock

import click

from tests.support import places, templates

ROOT = Path(__file__).parents[1]
RESULT = ROOT / ".test-durations.json"
_BIN = Path(sys.executable).parent
_SLOWEST = 50
#: pytest's exit status if no test was collected
_NOTHING_TO_RUN = 5


@dataclass(frozen=True)
class Part:
    """A part of the suite, which runs by itself.

    :param commands: programs of the virtual environment, one after the other.
    :param tests: what pytest gets after them; with none, it does not run.
    :param workers: pytest's processes. Tests wait for servers, so five at a time use two cores.
    :param apart: each module gets a pytest of its own, *workers* at a time, in this order; the others follow. For
        modules that take minutes: pytest-xdist gives a process its next module before it has finished the last.
    """

    name: str
    commands: Sequence[Sequence[str]] = ()
    tests: Sequence[str] = ()
    workers: int = 0
    apart: Sequence[str] = ()


#: the longest first
_LIVE = Part(
    "live",
    tests=("tests/live",),
    workers=3,
    apart=("test_page.py", "test_users.py", "test_nothing_lost.py", "test_outcomes.py", "test_celery.py"),
)
_LINT = Part(
    "lint",
    commands=(("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",), ("lint-imports",)),
)
PARTS = (
    _LINT,
    Part(
        "servers",
        tests=(
            "tests/unit",
            "tests/contract",
            "tests/airflow",
            "tests/e2e",
            "tests/pitfalls",
            "tests/package",
        ),
        workers=5,
    ),
    # By itself: its modules start and kill an Airflow of their own, which takes both cores.
    _LIVE,
)
SWEEPS = (
    Part("servers", tests=("tests/unit", "tests/contract", "tests/airflow", "tests/e2e"), workers=5),
    _LIVE,
    Part("tour", tests=("tests/compose",)),
)


@dataclass
class Result:
    """Result of a run of the suite.

    :param parts: name → minutes.
    :param tests: id → seconds, with fixtures.
    :param failed: the part that failed."""

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
    if part.apart:
        return _run_apart(part, marked, result)
    workers = ["-n", str(part.workers)] if part.workers else []
    if _pytest([*workers, "-m", marked, *part.tests], result) == 0:
        return True
    # Real servers on a busy machine miss a deadline now and then: a defect fails twice. Nothing to run again (a wrong
    # skip, an error in collecting) stays a failure.
    click.secho("*** FAILED ONCE; again, one at a time: ***", fg="yellow", bold=True, err=True)
    again = ["--last-failed", "--last-failed-no-failures", "none", "-m", marked, *part.tests]
    return _pytest(again, result) == 0


def _run_apart(part: Part, marked: str, result: Result) -> bool:
    found = [path for folder in part.tests for path in sorted((ROOT / folder).glob("test_*.py"))]
    found.sort(key=lambda path: [*part.apart, path.name].index(path.name))
    with (
        tempfile.TemporaryDirectory(prefix="rr-tests-", dir=places.temporary_root()) as shared,
        mock.patch.dict("os.environ", {templates.RUN_DIRECTORY: shared}),
        ThreadPoolExecutor(part.workers) as pool,
    ):
        passed = dict(zip(found, pool.map(lambda path: _module(path, marked, result), found), strict=True))
    failed = [path for path, well in passed.items() if not well]
    if failed:
        click.secho("*** FAILED ONCE; again, one at a time: ***", fg="yellow", bold=True, err=True)
    return all([_module(path, marked, result, again=True) for path in failed])


def _module(path: Path, marked: str, result: Result, *, again: bool = False) -> bool:
    """Run one module; return whether it passed. Its output is printed when it has ended.

    :param again: run only the tests that failed."""
    name = path.relative_to(ROOT)
    options = ["-o", f"cache_dir=.pytest_cache/{path.stem}", "-m", marked, str(name)]
    with tempfile.TemporaryFile() as printed:
        last = ["--last-failed", "--last-failed-no-failures", "none"] if again else []
        status = _pytest([*options, *last], result, output=printed)
        printed.seek(0)
        click.echo(f"--- {name}\n{printed.read().decode('utf-8', 'replace')}")
    # All of its tests may be marked otherwise.
    return status == 0 or (status == _NOTHING_TO_RUN and not again)


def _pytest(arguments: Sequence[str], result: Result, *, output: IO[bytes] | None = None) -> int:
    with tempfile.TemporaryDirectory() as private:
        durations = Path(private) / "durations.json"
        command = [sys.executable, "-m", "pytest", "--durations-json", str(durations), *arguments]
        status = subprocess.run(command, cwd=ROOT, check=False, stdout=output, stderr=output).returncode
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
