"""What became of the verdicts of the book's first version: ``data/changes_of_verdict.csv``.

A row is a line of the first version's ledgers with its number and verdict, the id under which it
stands now (empty: it is gone), and why it was changed. What it says now is read from the ledgers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from signseg_utils.basics.refusals import BadFile
from signseg_utils.chapter import ledger
from signseg_utils.files.paths import data_folder
from signseg_utils.publishing import families
from signseg_utils.publishing.families import Corrected

COLUMNS = (
    "zoo", "chapter", "old_id", "old_verdict", "old_measured", "old_low", "old_high", "old_n",
    "id", "why",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One line of the first version, and what stands in its place.

    Attributes
    ----------
    zoo, chapter, was_id, was, was_measured
        Of the first version; ``was`` is its verdict.
    now
        The line of today with its corrected verdict; None if it is gone or not published.
    why
        In a sentence or two.
    """

    zoo: str
    chapter: str
    was_id: str
    was: str
    was_measured: str
    now: Corrected | None
    why: str

    @property
    def same(self) -> bool:
        """Whether the verdict is what it was, in the words of today."""
        if self.now is None:
            return False
        today = self.now.verdict
        return today in (self.was, ledger.own_word(self.was, self.now.line.id))


def stated(path: Path | None = None) -> pd.DataFrame:
    """The table as text; BadFile says what is wrong with it."""
    path = path or data_folder() / "changes_of_verdict.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if tuple(table.columns) != COLUMNS:
        raise BadFile(f"expected the columns {', '.join(COLUMNS)} in {path}; got {list(table)}")
    lacking = table[table["why"].str.strip() == ""]
    if len(lacking):
        raise BadFile(f"expected a why in each row of {path}; none for {list(lacking['old_id'])}")
    return table


def changes(lines: Iterable[Corrected], table: pd.DataFrame | None = None) -> list[Change]:
    """Each line of the first version beside what stands in its place among ``lines``."""
    today = {(one.line.zoo, one.line.id): one for one in lines}
    rows = (stated() if table is None else table).to_dict("records")
    return [
        Change(
            row["zoo"],
            row["chapter"],
            row["old_id"],
            row["old_verdict"],
            _measured(row),
            today.get((row["zoo"], row["id"])) if row["id"] else None,
            row["why"],
        )
        for row in rows
    ]


def of_book(executed: Path) -> list[Change]:
    """`changes` against all ledgers of a folder of executed chapters."""
    zoos = sorted({path.parent for path in executed.glob("*/*.ledger.json")})
    return changes(one for zoo in zoos for one in families.of_folder(zoo))


def _measured(row: dict) -> str:
    numbers = [row[name] for name in ("old_measured", "old_low", "old_high")]
    told = [float(value) for value in numbers if value]
    if len(told) == 3:
        return ledger.with_interval(*told)
    return ledger.number(told[0]) if told else "–"
