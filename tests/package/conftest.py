"""The package as users get it: built, and installed into an empty environment."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXTRAS = ("airflow", "aws", "docker", "slack", "ssh")


@dataclass(frozen=True)
class Built:
    """What ``python -m build`` makes: the wheel is made from the sdist, so that the sdist is known to suffice."""

    sdist: Path
    wheel: Path


@dataclass(frozen=True)
class Installed:
    """An environment that has the wheel and what it asks for; nothing in it knows of this checkout."""

    home: Path

    def run(self, program: str, *words: str, **env: str) -> str:
        """Return what a program of the environment prints."""
        clean = {"PATH": f"{self.home}/bin:/usr/bin:/bin", "HOME": str(self.home), "LC_ALL": "C.UTF-8"}
        command = [str(self.home / "bin" / program), *words]
        return output_of(command, cwd=self.home, env=clean | env)

    def python(self, code: str, **env: str) -> str:
        return self.run("python", "-c", code, **env)


def output_of(command: list[str], *, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    out = tmp_path_factory.mktemp("dist")
    output_of([sys.executable, "-m", "build", "--outdir", str(out), str(ROOT)])
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return Built(sdist, wheel)


def install(wheel: Path, home: Path, extras: tuple[str, ...] = ()) -> Installed:
    """Return a new environment with the wheel, as the README says to install it."""
    output_of([sys.executable, "-m", "venv", str(home)])
    what = f"{wheel}[{','.join(extras)}]" if extras else str(wheel)
    pip = [str(home / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    constraints = f"--constraint={ROOT / 'constraints.txt'}"
    output_of([*pip, "install", "-q", "--no-compile", constraints, what], env=dict(os.environ))
    return Installed(home)


@pytest.fixture(scope="session")
def bare(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Without extras: a replay node, or a machine that has the command line only."""
    return install(built.wheel, tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="session")
def full(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """With every extra that is meant for users."""
    return install(built.wheel, tmp_path_factory.mktemp("full"), EXTRAS)
