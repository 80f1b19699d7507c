"""What the documents promise is what the code does."""

from __future__ import annotations

import contextlib
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
import yaml

from airflow_restore_replay.cli.exit_codes import Exit
from airflow_restore_replay.cli.main import cli
from airflow_restore_replay.core.config.cluster import Cluster, parse_clusters
from airflow_restore_replay.core.config.strict import Strict
from airflow_restore_replay.core.config.units import ByteCount, Seconds
from airflow_restore_replay.core.flavor.mariadb import grants
from airflow_restore_replay.core.flavor.mysql import grants as mysql_grants
from airflow_restore_replay.core.fleet.metrics import METRICS
from airflow_restore_replay.core.recovery.selftest import INJECTIONS, NOT_HERE
from airflow_restore_replay.core.recovery.selftest.data_faults import DATA
from airflow_restore_replay.provider_info import get_provider_info
from tests.support import threats

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()


def block(text: str, language: str) -> str:
    """Return the first code block of that language."""
    match = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert match
    return match[1]


@pytest.mark.parametrize("page", ["README.md", "docs/first-hour.md"])
def test_the_grants_of_a_page_are_the_exact_ones(page: str) -> None:
    for number, flavor in enumerate((grants, mysql_grants)):
        statements = re.findall(r"```sql\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)[
            number
        ].splitlines()
        assert statements[1:] == [f"{s};" for s in flavor.statements("restore_replay", "%")]


def test_the_readmes_cluster_file_is_valid_also_with_its_alternatives() -> None:
    text = block(README, "yaml")
    assert parse_clusters(yaml.safe_load(text))["orders"].primary.connection == "orders_primary"
    without = re.sub(r"^ *(connection|method: logical).*\n", "", text, flags=re.MULTILINE)
    uncommented = re.sub(r"^( +)# (?=\w+:)", r"\1", without, flags=re.MULTILINE)
    other = parse_clusters(yaml.safe_load(uncommented))["orders"]
    assert other.primary.host == "db1.example.com"
    assert other.seed.prefix == ["ssh", "db1.example.com"]


def test_the_readmes_example_is_the_file_that_is_tested() -> None:
    assert block(README, "python") == (ROOT / "docs/examples/restore_drill.py").read_text()


def test_the_exit_codes_are_all_documented() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z]+) \|", (ROOT / "docs/cli.md").read_text(), re.MULTILINE)
    assert [(int(code), name) for code, name in rows] == [(code.value, code.name) for code in Exit]


def test_every_privilege_is_explained() -> None:
    text = (ROOT / "docs/security.md").read_text()
    for name, why in (grants.PRIVILEGES | mysql_grants.PRIVILEGES).items():
        assert f"| `{name}` | " in text
        assert why in text


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], ids=lambda p: p.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", path.read_text()):
        found = path.parent / target if target else path
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), f"{target}#{anchor}"


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub makes of a document's headings."""
    without_code = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", without_code, re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in plain}


def test_every_sweep_is_listed_with_what_it_guards() -> None:
    _, _, table = (ROOT / "docs/testing.md").read_text().partition("## Sweeps")
    listed = re.findall(r"^\| `tests/.*\| (.*) \|$", table.partition("\n## ")[0], re.MULTILINE)
    tests = [p for p in ROOT.glob("tests/**/*.py") if p != Path(__file__)]
    marks = [re.findall(r'sweep\(\s*guards="(.*?)"', p.read_text()) for p in tests]
    assert sorted(text for found in marks for text in found) == sorted(listed)
    assert listed


def fault_rows() -> dict[str, tuple[bool, list[tuple[str, str]]]]:
    """Read docs/faults.md.

    :returns: of each id whether ``selftest`` tries the fault, and its tests as file and name.
    """
    rows = {}
    for line in (ROOT / "docs/faults.md").read_text().splitlines():
        if match := re.fullmatch(r"\| ([A-Z]\d+) \| .* \| (yes)? ?\| (.*) \|", line):
            assert match[1] not in rows, match[1]
            rows[match[1]] = (bool(match[2]), named_in(match[3]))
    return rows


def named_in(cell: str) -> list[tuple[str, str]]:
    """Return file and name of each test; a name without a file is in the same file as the one before."""
    found: list[tuple[str, str]] = []
    for path, name in re.findall(r"`([^`:]*)::(\w+)`", cell):
        found.append((path or found[-1][0], name))
    return found


def test_every_fault_that_a_test_or_the_selftest_names_is_in_the_catalogue() -> None:
    names = [n for p in ROOT.glob("tests/**/test_*.py") for n in re.findall(r"def test_(\w+)", p.read_text())]
    ids = [re.match(r"(?:[a-z]\d+_)+", name) for name in names]
    cited = {one.upper() for match in ids if match for one in match[0].rstrip("_").split("_")}
    assert cited
    tried = {fault.row for fault in INJECTIONS} | {fault.row for fault in DATA}
    assert cited | tried | {row for row, _, _ in NOT_HERE} <= fault_rows().keys()
    assert {row for row, (in_selftest, _) in fault_rows().items() if in_selftest} == tried


def test_every_fault_of_the_catalogue_names_tests_that_exist() -> None:
    for row, (_, tests) in fault_rows().items():
        assert tests, row
        for path, name in tests:
            assert f"\ndef {name}(" in (ROOT / path).read_text(), (row, path, name)


def test_the_threat_model_is_made_of_faults_that_tests_inject() -> None:
    assert threats.written() == threats.table(), "run: python -m tests.support.threats"
    rows = fault_rows()
    for who, cells in threats.THREATS.items():
        assert len(cells) == len(threats.ASSETS), who
        assert {fault for cell in cells for fault in cell.faults} <= rows.keys(), who
        for cell in cells:
            assert cell.faults or cell.section or not cell.says.startswith("may not"), (who, cell.says)


def configuration_keys(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Return every key of the cluster file, and its default as the file would have it."""
    for field in msgspec.structs.fields(kind):
        key = f"{prefix}{field.encode_name}"
        section = field.type if isinstance(field.type, type) else None
        if section is not None and issubclass(section, Strict):
            yield from configuration_keys(section, f"{key}.")
        elif key != "name":
            default = field.default_factory() if callable(field.default_factory) else field.default
            value = None if default is msgspec.NODEFAULT else encoded(default)
            yield key, "" if value in (None, "") else value


def encoded(value: object) -> str | None:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


def test_the_configuration_reference_is_complete() -> None:
    text = (ROOT / "docs/configuration.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| (?:`([^`]*)`)? ?\|", text, re.MULTILINE))
    keys = dict(configuration_keys(Cluster))
    assert rows.keys() == keys.keys()
    for key, default in keys.items():
        assert same_value(rows[key], default), (key, rows[key], default)


def same_value(written: str, default: str) -> bool:
    """Durations and sizes may be written with any unit."""
    if written == default:
        return True
    for unit in (Seconds, ByteCount):
        with contextlib.suppress(ValueError):
            if float(unit(written)) == float(default):
                return True
    return False


@pytest.mark.parametrize("path", sorted(ROOT.glob("docs/*.md")), ids=lambda p: p.name)
def test_commands_in_the_documents_are_understood(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is parsed, not run: what it does is tested elsewhere."""
    monkeypatch.setenv("RESTORE_REPLAY_CONFIG", __file__)
    for line in re.findall(r"^(?:\$ )?restore-replay ([^#\n]*)", path.read_text(), re.MULTILINE):
        name, *arguments = shlex.split(line)
        context = click.Context(cli)
        command = cli.get_command(context, name)
        while isinstance(command, click.Group):
            name, arguments = arguments[0], arguments[1:]
            command = command.get_command(context, name)
        assert command is not None, line
        command.make_context(name, arguments)


def test_the_connection_types_have_these_fields() -> None:
    text = (ROOT / "docs/reference/connections.md").read_text()
    for kind in get_provider_info()["connection-types"]:
        _, _, section = text.partition(f"\n## {kind['hook-name']}\n")
        section = section.partition("\n## ")[0]
        assert f"`{kind['connection-type']}`" in section
        rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \| (.*) ?\|$", section, re.MULTILINE)
        labels = {name: label for name, label, _ in rows}
        fields = {name: field["label"] for name, field in kind["conn-fields"].items()}
        assert labels == kind["ui-field-behaviour"]["relabeling"] | fields
        for name, _, description in rows:
            if name in fields:
                assert description.strip() == kind["conn-fields"][name]["description"]


def test_the_site_and_the_package_name_the_same_repository() -> None:
    source = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Source"]
    assert f"\nrepo_url: {source}\n" in (ROOT / "mkdocs.yml").read_text()


def test_every_metric_is_documented() -> None:
    text = (ROOT / "docs/monitoring.md").read_text().partition("core.fleet.metrics -->")[2]
    table = text.partition("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = re.findall(r"`(\w+)(?:\{(\w+)\})?`", " ".join(cells))
    assert named == [(metric.name, metric.label) for metric in METRICS]
