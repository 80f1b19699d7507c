"""What a cluster's nodes are checked for before their data is published; docs/validation.md explains each check."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from airflow_restore_replay.core.config.strict import Positive, Strict
from airflow_restore_replay.core.config.units import Seconds

Share = Annotated[float, Meta(gt=0, lt=1)]

#: the checks that a cluster may do without
CheckName = Literal[
    "canary", "assertions", "definitions", "cold_pages", "check_table", "drop_guard", "same_data"
]


class Assertion(Strict, frozen=True, kw_only=True):
    """A question of the user's own to the data, and what its answer must be.

    :param query: gives one value; run in a read-only transaction on the node.
    :param expect: the value itself; or *at_least*, *at_most*, or both.
    """

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    query: Annotated[str, Meta(min_length=1)]
    expect: str | int | float | None = None
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        bounds = self.at_least is not None or self.at_most is not None
        if bounds == (self.expect is not None):
            raise ValueError(
                f"assertion {self.name!r} needs either expect, or at_least and at_most or one of them"
            )


class Validation(Strict, frozen=True, kw_only=True):
    """:param checks: those to run; whether the goal is contained, errant transactions and the error log are looked at
        in any case.
    :param time_box: of each of them; what did not fit is named, and comes first in the next cycle.
    :param compare_budget: time box of the comparison alone, so that each cycle compares some rows of a large primary.
    :param pause_above: while more of the primary's threads are running, the comparison waits, until its budget is over.
    :param chunk_rows: rows that the first statement of a comparison hashes; the others as many as take half a second.
    :param exclude: ``schema.table`` patterns (``*`` allowed) that are not compared; they are listed as such.
    :param drop_guard: rows may not be fewer than before by more than this share.
    :param canary: ``schema.table`` on the primary that a token is written to.
    """

    checks: tuple[CheckName, ...] = (
        "canary",
        "assertions",
        "definitions",
        "cold_pages",
        "check_table",
        "drop_guard",
        "same_data",
    )
    time_box: Seconds | None = None
    check_table: Literal["quick", "medium", "extended"] = "quick"
    exclude: list[str] = []
    compare_budget: Seconds = Seconds("10m")
    pause_above: Positive | None = 25
    chunk_rows: Positive = 20_000
    drop_guard: Share | None = 0.9
    assertions: list[Assertion] = []
    canary: Annotated[str, Meta(pattern=r"^[^.]+\.[^.]+$")] | None = None

    def __post_init__(self) -> None:
        names = [assertion.name for assertion in self.assertions]
        if len(set(names)) < len(names):
            raise ValueError("two assertions have the same name")
