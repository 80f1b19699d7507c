"""The documents as a site: built strictly, complete, and without anything from elsewhere."""

from __future__ import annotations

import importlib
import os
import re
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.package.conftest import ROOT, output_of

PUBLIC = ("operators", "sensors", "hooks", "notifications", "dag")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the built site; a warning, such as of a link that leads nowhere, has failed the build."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    output_of(command, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    return out


def pages(site: Path) -> dict[Path, str]:
    return {path: path.read_text() for path in site.rglob("*.html") if path.name != "404.html"}


def test_every_document_is_a_page(site: Path) -> None:
    documents = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    assert {path.with_suffix(".html") for path in documents} < {
        path.relative_to(site) for path in pages(site)
    }
    assert "A backup was quarantined: what now?" in (site / "index.html").read_text()


def test_links_within_the_site_lead_somewhere(site: Path) -> None:
    anchors = {path: set(re.findall(r'\sid="([^"]+)"', text)) for path, text in pages(site).items()}
    for path, text in pages(site).items():
        for link in re.findall(r'\s(?:href|src)="(?!\w+:)([^"]*)"', text):
            target, _, anchor = unquote(unescape(link)).partition("#")
            found = (path.parent / target.partition("?")[0]).resolve() if target else path
            assert found.exists(), (path, link)
            assert not anchor or anchor in anchors[found], (path, link)


def test_links_that_leave_the_site_name_what_the_repository_has(site: Path) -> None:
    project = re.search(r"^repo_url: (.*)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert project
    wanted = re.compile(rf'href="{re.escape(project[1])}/(?:blob|tree)/main/([^"#]*)')
    found = {path for text in pages(site).values() for path in wanted.findall(text)}
    assert {"pyproject.toml", "tests/contract/flavor"} < found
    assert [path for path in found if not (ROOT / path).exists()] == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for path, text in pages(site).items():
        loaded = re.findall(r'<(?:script|img|iframe)[^>]*\ssrc="([^"]*)"', text)
        loaded += re.findall(r'<link[^>]*rel="(?:stylesheet|icon|preconnect)"[^>]*href="([^"]*)"', text)
        assert [url for url in loaded if "//" in url] == [], path


def test_pages_with_diagrams_load_what_draws_them(site: Path) -> None:
    drawn = {path.name for path, text in pages(site).items() if "mermaid.min.js" in text}
    assert {"index.html", "architecture.html"} <= drawn
    assert "cli.html" not in drawn
    assert (site / "javascripts/mermaid.min.js").stat().st_size > 1_000_000


@pytest.mark.parametrize("name", PUBLIC)
def test_the_reference_has_everything_public(site: Path, name: str) -> None:
    module = f"airflow_restore_replay.{name}"
    text = (site / f"reference/{name}.html").read_text()
    anchors = set(re.findall(r'\sid="([^"]+)"', text))
    for public in importlib.import_module(module).__all__:
        assert f"{module}.{public}" in anchors
    assert not re.search(r":(?:class|func|mod|data):", text)
