"""Write unit files, and never over a file that somebody else wrote or changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from airflow_restore_replay.core.errors import PreflightFailed
from airflow_restore_replay.core.system.files import replace_file

_HEADER = "# Written by `restore-replay units`, which replaces it unless it was changed. Content: sha256 "


def stamped(text: str) -> str:
    """Return *text* below a line by which it is recognised as written by this package, and unchanged."""
    return f"{_HEADER}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def is_ours(content: str) -> bool:
    """Return whether *content* was written by this package and not changed since."""
    _, newline, text = content.partition("\n")
    return bool(newline) and stamped(text) == content


def write_units(directory: Path, texts: dict[str, str], *, force: bool = False) -> list[str]:
    """Write units into *directory*, each by replacing its file as a whole, or none of them.

    :param texts: name of the file → its text.
    :param force: also replace files that were not written by this package, or were changed since.
    :returns: the names of the files that are new or differ from before.
    :raises PreflightFailed: a file would be replaced without *force*, or the directory is missing.
    """
    if not directory.is_dir():
        raise PreflightFailed(f"{directory} is not a directory.", hint="Make it, or name another with --to.")
    before = {name: _content(directory / name) for name in texts}
    foreign = [name for name, content in before.items() if content is not None and not is_ours(content)]
    if foreign and not force:
        raise PreflightFailed(
            f"{', '.join(foreign)} in {directory} was not written by this command, or was changed since.",
            hint="Keep changes in a drop-in (`systemctl edit NAME`), or replace the file with --force.",
        )
    changed = [name for name, text in texts.items() if before[name] != stamped(text)]
    for name in changed:
        replace_file(directory / name, stamped(texts[name]).encode(), mode=0o644)
    return changed


def _content(path: Path) -> str | None:
    if not path.is_symlink() and not path.exists():
        return None
    # A link, as `systemctl mask` makes, or a directory is of somebody else.
    return (
        path.read_text(encoding="utf-8", errors="replace") if path.is_file() and not path.is_symlink() else ""
    )
