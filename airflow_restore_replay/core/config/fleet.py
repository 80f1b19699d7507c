"""All clusters and groups of a configuration; a mistake in one cluster stops that cluster alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from airflow_restore_replay.core.config.cluster_section import Cluster, Group
from airflow_restore_replay.core.config.mistakes import Mistake, nearest
from airflow_restore_replay.core.errors import ConfigInvalid

CLUSTERS, DEFAULTS, GROUPS = "clusters", "defaults", "groups"


@dataclass(frozen=True)
class Fleet:
    """What a configuration describes.

    :param source: path of the file or directory.
    :param clusters: those without a mistake, by name.
    :param groups: those without a mistake, by name; their members need not exist.
    :param mistakes: all of them, in the order of the files.
    """

    source: str
    clusters: dict[str, Cluster] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    mistakes: tuple[Mistake, ...] = ()

    @property
    def names(self) -> list[str]:
        """Return the names of all clusters, sorted; those with a mistake included."""
        return sorted({*self.clusters, *(name for mistake in self.mistakes for name in mistake.clusters)})

    @property
    def mistaken(self) -> dict[str, ConfigInvalid]:
        """Return the clusters that a mistake stops, by name."""
        return {name: refusal(self.mistakes_of(name)) for name in self.names if name not in self.clusters}

    def mistakes_of(self, name: str) -> list[Mistake]:
        """Return the mistakes that stop a cluster."""
        return [mistake for mistake in self.mistakes if name in mistake.clusters]

    def cluster(self, name: str) -> Cluster:
        """Return a cluster.

        :raises ConfigInvalid: it has a mistake, or there is none of that name.
        """
        if name in self.clusters:
            return self.clusters[name]
        if found := self.mistakes_of(name):
            raise refusal(found)
        raise self._unknown("cluster", name, self.names)

    def group(self, name: str) -> Group:
        """Return a group.

        :raises ConfigInvalid: it has a mistake, or there is none of that name.
        """
        if name in self.groups:
            return self.groups[name]
        path = f"{GROUPS}.{name}"
        if found := [m for m in self.mistakes if m.path == path or m.path.startswith(f"{path}.")]:
            raise refusal(found)
        raise self._unknown("group", name, self.groups)

    def refuse_mistakes(self, *, all_of_them: bool = False) -> None:
        """Raise if there is any mistake.

        :param all_of_them: name all, not only the first.
        :raises ConfigInvalid: names them.
        """
        if len(self.mistakes) > 1 and all_of_them:
            raise ConfigInvalid("\n".join(f"{mistake} {mistake.hint}".rstrip() for mistake in self.mistakes))
        if self.mistakes:
            raise refusal(self.mistakes)

    def _unknown(self, what: str, name: str, known: Iterable[str]) -> ConfigInvalid:
        close = nearest(name, known)
        return ConfigInvalid(
            f"{self.source} has no {what} {name!r}; it has: {', '.join(sorted(known)) or 'none'}.",
            hint=f"Did you mean {close}?" if close else "",
        )


def refusal(mistakes: Sequence[Mistake]) -> ConfigInvalid:
    """Return the error for the first of some mistakes; it says how many more there are."""
    first, more = mistakes[0], len(mistakes) - 1
    others = f" And {more} more: `restore-replay config check` shows all." if more else ""
    return ConfigInvalid(f"{first}{others}", hint=first.hint)
