"""What is in the package, and that it works without the checkout that it was made from."""

from __future__ import annotations

import json
import re
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from airflow_restore_replay import __version__
from airflow_restore_replay.cli.main import _COMMANDS as COMMANDS
from tests.package.conftest import EXTRAS, ROOT, Built, Installed, output_of

PROJECT = "https://github.com/airflow-restore-replay/airflow-restore-replay"


def sources() -> set[str]:
    """Return paths of the package's files in this checkout."""
    found = (ROOT / "airflow_restore_replay").rglob("*")
    return {str(p.relative_to(ROOT)) for p in found if p.is_file() and "__pycache__" not in p.parts}


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(archive.read(name).decode())


def test_twine_accepts_both(built: Built) -> None:
    output_of([sys.executable, "-m", "twine", "check", "--strict", str(built.sdist), str(built.wheel)])


def test_the_wheel_has_the_package_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = set(archive.namelist())
    info = f"airflow_restore_replay-{__version__}.dist-info"
    assert {n for n in names if not n.startswith(f"{info}/")} == sources()
    assert {f"{info}/entry_points.txt", f"{info}/licenses/LICENSE"} <= names
    assert "airflow_restore_replay/py.typed" in names


def test_the_sdist_has_what_one_reads_and_builds_and_no_tests(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {m.name.partition("/")[2] for m in archive.getmembers() if m.isfile()}
    kept = {
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "FORMAT.md",
        "LICENSE",
        "SECURITY.md",
        "constraints.txt",
        "pyproject.toml",
        "PKG-INFO",
    }
    docs = {str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*") if p.is_file()}
    docs = {d for d in docs if "__pycache__" not in d}
    assert names - {".gitignore"} == sources() | docs | kept | {
        "dags/backup_freshness.py",
        "dags/restore_drill.py",
        "dags/restore_replay.py",
        "dags/restore_replay_mistakes.py",
    }


def test_who_where_and_for_what(built: Built) -> None:
    found = metadata(built.wheel)
    assert found["Version"] == __version__
    assert found["License-Expression"] == "Apache-2.0"
    assert found["Author"] == "airflow-restore-replay maintainers"
    assert all(url.partition(", ")[2].startswith(PROJECT) for url in found.get_all("Project-URL", []))
    assert {"Framework :: Apache Airflow :: Provider", "Typing :: Typed"} <= set(
        found.get_all("Classifier", [])
    )
    assert {*EXTRAS, "dev", "docs", "images", "postgres", "store"} == set(found.get_all("Provides-Extra", []))


def test_links_of_the_description_do_not_need_the_files_beside_it(built: Built) -> None:
    """A package index shows the README alone; what it leads to is in the repository."""
    targets = re.findall(r"\]\(([^)]*)\)", str(metadata(built.wheel).get_payload()))
    assert len(targets) > 10
    for target in targets:
        assert target.startswith(("https://", "#")), target
        path = re.sub(rf"^{PROJECT}/blob/main/|^https://raw\.[^/]*/[^/]*/[^/]*/main/", "", target).partition(
            "#"
        )[0]
        assert "://" in path or (ROOT / path).exists(), target


def test_the_command_line_runs_where_no_airflow_is(bare: Installed) -> None:
    assert bare.run("restore-replay", "--version") == f"restore-replay, version {__version__}\n"
    told = bare.run("restore-replay", "--help")
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", told, re.MULTILINE), name
        assert "Usage: restore-replay" in bare.run("restore-replay", name, "--help")
    packages = {p["name"] for p in json.loads(bare.run("pip", "list", "--format=json"))}
    assert not {p for p in packages if "airflow" in p} - {"airflow-restore-replay"}
    bare.run("pip", "check")


def test_what_runs_is_what_was_installed(bare: Installed, full: Installed) -> None:
    for environment in (bare, full):
        path = environment.python("import airflow_restore_replay as a; print(a.__file__)")
        assert path.startswith(str(environment.home))


def test_every_module_imports_without_a_checkout(full: Installed) -> None:
    code = """
import importlib, pkgutil
import airflow_restore_replay as root
names = [m.name for m in pkgutil.walk_packages(root.__path__, root.__name__ + ".") if not m.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
    modules = {p for p in sources() if p.endswith(".py") and not p.endswith("__main__.py")}
    assert int(full.python(code, **airflow_home(full)).split()[-1]) == len(modules) - 1


def test_each_extra_brings_what_it_is_for(full: Installed) -> None:
    full.run("pip", "check")
    names = {p["name"].lower() for p in json.loads(full.run("pip", "list", "--format=json"))}
    assert {"apache-airflow", "boto3", "docker", "apache-airflow-providers-slack", "paramiko"} <= names


def airflow_home(installed: Installed) -> dict[str, str]:
    home = str(installed.home / "airflow")
    return {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}


def test_airflow_finds_the_provider(full: Installed) -> None:
    told = full.run("airflow", "providers", "list", "--output", "json", **airflow_home(full))
    rows = json.loads(told[told.index("[") :])
    (found,) = (r for r in rows if r["package_name"] == "airflow-restore-replay")
    assert found["version"] == __version__


def test_airflow_finds_what_the_provider_offers(full: Installed) -> None:
    code = """
import json
from airflow.providers_manager import ProvidersManager
found = ProvidersManager()
info = found.providers["airflow-restore-replay"].data
print(json.dumps({
    "hooks": {name: hook.hook_class_name for name, hook in found.hooks.items() if hook},
    "notifications": [str(n) for n in found.notification],
    "links": found.extra_links_class_names,
    "documentation": [i["external-doc-url"] for i in info["integrations"]],
}))
"""
    told = json.loads(full.python(code, **airflow_home(full)).splitlines()[-1])
    assert told["hooks"]["restore_replay_repository"].endswith(".RepositoryConnectionHook")
    assert told["hooks"]["restore_replay_node"].endswith(".ReplayNodeConnectionHook")
    assert any("airflow_restore_replay.notifications.Announcer" in n for n in told["notifications"])
    assert "airflow_restore_replay.operators.links.VerdictLink" in told["links"]
    assert told["documentation"] == [f"{PROJECT}/tree/main/docs"]


def test_type_checkers_read_our_types(bare: Installed) -> None:
    """Without ``py.typed``, everything of ours would be Any, or an error."""
    code = bare.home / "uses_it.py"
    code.write_text(
        "from airflow_restore_replay.core.config.units import Seconds\n"
        "from airflow_restore_replay.core.errors.failure import Failure\n"
        "reveal_type(Failure.of(ValueError()))\n"
        "reveal_type(Seconds('1h'))\n"
    )
    words = ["--strict", "--python-executable", str(bare.home / "bin" / "python"), str(code)]
    told = output_of([sys.executable, "-m", "mypy", "--cache-dir=/dev/null", *words], cwd=bare.home)
    assert 'Revealed type is "airflow_restore_replay.core.errors.failure.Failure"' in told
    assert 'Revealed type is "airflow_restore_replay.core.config.units.Seconds"' in told
