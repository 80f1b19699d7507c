"""What all tests share: places for files, forked jobs, processes by module, durations, and the count of skips.

In CI (``CI=true``) a skipped test is a failed run, unless it is known to be.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from tests.support import places, templates
from tests.support.durations import Durations
from tests.support.job_server import forked_jobs, launched_jobs

#: reasons that begin like this are accepted in CI, too: what no CI machine can offer
EXPECTED_SKIPS: tuple[str, ...] = ()

#: tests of this folder with this in their names share a process: each further one would start an engine, load images
ENGINE = ("tests/contract/runtime/", "docker")

#: what a test takes on average, by folder
SECONDS: dict[str, float] = {
    "tests/live/": 60,
    "tests/package/": 6,
    "tests/e2e/": 6,
    "tests/contract/runtime/": 5,
    "tests/airflow/": 3,
    "tests/contract/flavor/": 1.5,
    "tests/contract/": 0.5,
    "tests/pitfalls/": 5,
    "tests/": 0.05,
}

_unexpected: list[str] = []

# How long an example takes says how busy the machine is.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--durations-json", metavar="FILE", help="write the seconds of each test there")


def pytest_configure(config: pytest.Config) -> None:
    # Read when the first temporary directory is made; workers get theirs from this process.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(places.temporary_root()))
    if hasattr(config, "workerinput"):
        return
    if templates.RUN_DIRECTORY not in os.environ:
        shared = Path(tempfile.mkdtemp(prefix="rr-tests-", dir=os.environ["PYTEST_DEBUG_TEMPROOT"]))
        os.environ[templates.RUN_DIRECTORY] = str(shared)
        config.add_cleanup(lambda: shutil.rmtree(shared, ignore_errors=True))
    if path := config.getoption("--durations-json"):
        config.pluginmanager.register(Durations(Path(path)))


@pytest.fixture(scope="session", autouse=True)
def _forked_jobs() -> Iterator[None]:
    with forked_jobs():
        yield


@pytest.fixture
def as_in_production() -> Iterator[None]:
    """Jobs are launched as in production: each by a start of Python, each node initialized by its own server."""
    with launched_jobs():
        yield


def _shared_by(nodeid: str) -> str:
    """Return a name for the tests that share a process with this one: its module."""
    if nodeid.startswith(ENGINE[0]) and ENGINE[1] in nodeid:
        return ENGINE[0]
    return nodeid.partition("::")[0]


class ByModule(LoadScopeScheduling):
    """Tests of a module share a process, and so its fixtures' servers.

    Not by the marks of pytest-xdist: they change the names of tests, which ``--last-failed`` then does not find.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _shared_by(nodeid)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In several processes the longest modules go first, so that no process works alone at the end."""
    if not hasattr(config, "workerinput"):
        return
    seconds: defaultdict[str, float] = defaultdict(float)
    for item in items:
        folder = next(folder for folder in SECONDS if item.nodeid.startswith(folder))
        seconds[_shared_by(item.nodeid)] += SECONDS[folder]
    items.sort(key=lambda item: -seconds[_shared_by(item.nodeid)])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByModule:
    config.option.loadscopereorder = False  # by their number
    return ByModule(config, log)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail") and not _reason(report).startswith(EXPECTED_SKIPS):
        _unexpected.append(f"{report.nodeid}: {_reason(report)}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _unexpected and os.environ.get("CI") == "true" and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("skips")
    terminalreporter.write_line(f"unexpected skips: {len(_unexpected)}")
    for line in _unexpected:
        terminalreporter.write_line(f"  {line}")
