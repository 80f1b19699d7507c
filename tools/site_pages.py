"""Hooks of the documents' site, which ``mkdocs.yml`` names: links as on GitHub, pages beside ``docs``, diagrams.

The documents are written for the repository. A link from them leads to a page of the site if there is one, and to the
repository otherwise.
"""

from __future__ import annotations

import logging
import posixpath
import re
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

ROOT = Path(__file__).parents[1]
#: page of the site → the document that it shows
BESIDE_DOCS = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "format.md": "FORMAT.md",
    "security-policy.md": "SECURITY.md",
}
_MERMAID = "javascripts/mermaid.min.js"
_FENCE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\((?!\w+:|#)([^)#]+)(#[^)]*)?\)")
_CODE_IN_TABLE = re.compile(r"(?<=[^`])`[^`\n]+`(?=[^`])")
_ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")
_log = logging.getLogger("mkdocs.hooks.site_pages")


class PlainRoles(griffe.Extension):
    """Show Sphinx's roles in docstrings as code: :class:`a.b.C` as ``C``."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = _ROLE.sub(r"`\1`", obj.docstring.value)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    for uri, path in BESIDE_DOCS.items():
        files.append(File.generated(config, uri, content=(ROOT / path).read_text()))
    script = resources("mermaidx") / "assets/mermaid.js"
    files.append(File.generated(config, _MERMAID, content=script.read_text()))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    paths = {
        source_of(file.src_uri): file.src_uri for file in files if file.inclusion != InclusionLevel.EXCLUDED
    }

    def rewritten(link: re.Match[str]) -> str:
        return f"]({_target(link[1], page.file.src_uri, paths, config)}{link[2] or ''})"

    parts = _FENCE.split(markdown)
    parts[::2] = [_LINK.sub(rewritten, _without_escapes(text)) for text in parts[::2]]
    return "".join(parts)


def source_of(uri: str) -> str:
    """Return the path in the repository of what the site has as *uri*."""
    return BESIDE_DOCS.get(uri, f"docs/{uri}")


def _target(link: str, page: str, paths: dict[str, str], config: MkDocsConfig) -> str:
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source_of(page)), link))
    if path in paths:
        return posixpath.relpath(paths[path], posixpath.dirname(page) or ".")
    if not (ROOT / path).exists():
        _log.warning("%s links to %s, which does not exist", source_of(page), path)
    return f"{config.repo_url}/{'tree' if (ROOT / path).is_dir() else 'blob'}/main/{path}"


def _without_escapes(text: str) -> str:
    """Return tables in which code holds a plain bar; GitHub needs it escaped, Python-Markdown shows the escape."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if line.startswith("|"):
            lines[number] = _CODE_IN_TABLE.sub(lambda code: code[0].replace(r"\|", "|"), line)
    return "\n".join(lines)


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    """Load Mermaid on pages with diagrams, from the site itself: the theme would fetch it from elsewhere."""
    if '<pre class="mermaid">' not in output:
        return output
    return output.replace(
        "</head>", f'<script src="{get_relative_url(_MERMAID, page.url)}"></script></head>', 1
    )
