"""A primary and its first full backup, made once in a run of the tests and copied for whoever needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support import templates
from tests.support.flavors import Kit
from tests.support.rig import Rig


def seed(kit: Kit) -> Path:
    """Return a stopped primary and the repository with its first full backup, made once in a run of the tests."""

    def make(root: Path) -> None:
        primary = kit.start(root)
        try:
            Rig(primary, root).full()
        finally:
            primary.stop()

    return templates.of_this_run(f"seeded-{kit.name}", make)


def seeded_copy(kit: Kit, root: Path, overrides: dict[str, Any], **options: Any) -> Rig:
    """Return a copy of :func:`seed`, with its primary running.

    :param overrides: keys of the cluster's section.
    :param options: options of the primary.
    """
    template = seed(kit)
    templates.copy_tree(template / "data", root / "primary" / "data")
    templates.copy_tree(template / "repository", root / "repository")
    return Rig(kit.primary.start(root / "primary", **options), root, overrides)
