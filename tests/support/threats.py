"""Makes the threat model in docs/security.md: ``python -m tests.support.threats`` replaces the table there.

A cell cites faults, which docs/faults.md maps to the tests that inject them, or a section of docs/security.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"
BEGIN = "<!-- made by python -m tests.support.threats; checked by tests/unit/test_docs.py -->\n"
END = "<!-- end of the table -->\n"
_TABLE = re.compile(f"(?<={re.escape(BEGIN)}).*?(?={re.escape(END)})", re.DOTALL)

ASSETS = (
    "the primary",
    "its password",
    "other files and hosts",
    "backups' integrity",
    "backups' confidentiality",
    "encryption keys",
    "availability",
)


@dataclass(frozen=True)
class Cell:
    """What somebody may do to something.

    :param says: ``may``, ``may not``, with the condition if there is one.
    :param faults: ids of the faults whose tests show it.
    :param section: heading of docs/security.md that says more, where no test shows it.
    """

    says: str
    faults: tuple[str, ...] = ()
    section: str = ""

    def __str__(self) -> str:
        if self.section:
            anchor = re.sub(r"[^\w -]", "", self.section.lower()).replace(" ", "-")
            return f"{self.says}; documented: [{self.section}](#{anchor})"
        return f"{self.says}: {', '.join(self.faults)}" if self.faults else self.says


def no(*faults: str, on: str = "") -> Cell:
    """It may not; the faults' tests show it.

    :param on: the condition.
    """
    return Cell(f"may not {on}".strip(), faults)


def see(section: str, says: str = "may not") -> Cell:
    return Cell(says, section=section)


MAY = Cell("may")
#: Airflow runs the code of both
_CODE = see("Who may do what", "may")

THREATS: dict[str, tuple[Cell, ...]] = {
    "a user of the primary's databases": (
        no("X7", "X9"),
        no("X1", "X28"),
        no("X7", "X10", "X25"),
        no("X9", "X10", "D5"),
        no("X1", "X3", "X10"),
        no("X10", "X28"),
        Cell("may delay a cycle", ("R7", "S11")),
    ),
    "a DBA of the primary": (
        MAY,
        MAY,
        no("X7", "X10"),
        Cell("may, of new backups; may not, of earlier ones", ("D1", "P3")),
        Cell("may, of new backups"),
        no("X10", "X28"),
        MAY,
    ),
    "who can create objects in the store": (
        no("S5", "X10"),
        no("X10", "X28"),
        no("S5", "X26", "X44", "X47"),
        no("X4", "X12", "X42", on="if encrypted"),
        see("Encryption", "may not if encrypted"),
        no("X43"),
        no("X12", "X14", "X43"),
    ),
    "the owner of the store": (
        no("S5", "X10"),
        no("X10", "X28"),
        no("S5", "X26", "X44", "X47"),
        no("X4", "X41", "X42", on="unnoticed, if encrypted"),
        no("X46", on="if encrypted"),
        no("X46"),
        Cell("may delete backups, not unnoticed", ("S14", "X41")),
    ),
    "who edits Airflow's connections": (
        Cell("may name another one; no backup mixes both", ("R13", "P1")),
        see("TLS", "may, by another host without ssl_ca"),
        no("X5", "X27"),
        no("X42", "S16", on="of existing backups"),
        Cell("may, of new backups, by another repository"),
        no("S16"),
        MAY,
    ),
    "who may read a cluster's DAG": (
        no("X48"),
        no("X1"),
        no("X50"),
        no("X48", "X49"),
        see("The Backups page", "may see names and sizes, and no rows"),
        no("X1"),
        no("X48"),
    ),
    "an author of DAGs": (_CODE, _CODE, no("X13", on="by XCom"), _CODE, _CODE, _CODE, _CODE),
    "a worker": (_CODE, _CODE, no("X13", "X24", "X25", on="by state files"), _CODE, _CODE, _CODE, _CODE),
    "a node that was taken over": (
        see("What a node cannot do"),
        see("Secrets", "may, while it replicates"),
        no("X10", "X25", "X29", "X30"),
        no("X6", on="of existing backups"),
        see("Secrets", "may, of its base"),
        see("Secrets", "may, if its agent was taken over"),
        no("X14", "X24", "X30", on="beyond its run"),
    ),
    "who is between": (
        no("X11", on="with ssl_ca"),
        no("X11", "X22"),
        no("X14", "X27"),
        see("TLS", "may not with ssl_ca"),
        see("TLS", "may not with ssl_ca"),
        no("X27"),
        Cell("may, for as long as it is there", ("R4", "R6")),
    ),
}


def table() -> str:
    """Return the threat model as a table."""
    lines = [f"| who | {' | '.join(ASSETS)} |", "|---" * (len(ASSETS) + 1) + "|"]
    lines += [f"| {who} | {' | '.join(map(str, cells))} |" for who, cells in THREATS.items()]
    return "\n".join(lines) + "\n"


def written() -> str:
    """Return the table in docs/security.md."""
    found = _TABLE.search(DOCUMENT.read_text())
    assert found, "docs/security.md has no marks around the table"
    return found[0]


def main() -> None:
    """Replace the table in docs/security.md."""
    DOCUMENT.write_text(_TABLE.sub(lambda _: table(), DOCUMENT.read_text()))


if __name__ == "__main__":
    main()
