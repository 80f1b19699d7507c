"""What the documents promise is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from airflow_restore_replay.cli.exit_codes import Exit
from airflow_restore_replay.core.cluster import parse_clusters
from airflow_restore_replay.core.flavor.mariadb import grants

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()


def block(text: str, language: str) -> str:
    """:returns: the first code block of that language."""
    match = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert match
    return match[1]


def test_the_readmes_grants_are_the_exact_ones() -> None:
    statements = block(README, "sql").splitlines()
    assert statements[1:] == [f"{s};" for s in grants.statements("restore_replay", "%")]


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
    for name, why in grants.PRIVILEGES.items():
        assert f"| `{name}` | {why}" in text


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], ids=lambda p: p.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), target
