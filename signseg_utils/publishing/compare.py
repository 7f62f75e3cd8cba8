"""A run of one's own beside the book: the same claim, both verdicts, both intervals.

``signseg compare OUT`` reads the ledgers that chapters wrote into the folder ``OUT``, or beside a
notebook that Papermill ran there, and sets each line beside those of the book's pages of the same
chapter.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from signseg_utils.basics.refusals import BadFile
from signseg_utils.chapter import ledger
from signseg_utils.chapter.ledger import Line

_LEDGER = ".ledger.json"
_CHAPTER = re.compile(r"\d\d_[a-z0-9_]+")
COLUMNS = ("chapter", "id", "statement", "whose", "verdict", "measured", "low", "high", "n")


@dataclass(frozen=True)
class Beside:
    """One line of a reader's ledger, and those of the book about the same claim."""

    chapter: str
    mine: Line
    book: tuple[Line, ...]

    @property
    def verdict_shared(self) -> bool:
        """Whether all pages of the book come to the reader's verdict."""
        return bool(self.book) and all(line.verdict == self.mine.verdict for line in self.book)

    def apart(self, line: Line) -> bool:
        """Whether a line of the book has an interval that does not meet the reader's."""
        ends = self.mine.ci_low, self.mine.ci_high, line.ci_low, line.ci_high
        if any(end is None for end in ends):
            return False
        low, high, their_low, their_high = ends
        return low > their_high or their_low > high  # type: ignore[operator]


def compare(mine: Path, book: Path) -> list[Beside]:
    """Lines of a reader's ledgers beside those of the book, chapter by chapter.

    Parameters
    ----------
    mine
        A ledger ``*.ledger.json``, or a folder in which ledgers lie at any depth.
    book
        Folder of executed chapters, as ``book/executed``.

    Raises
    ------
    FileNotFoundError
        If there is no ledger in one of them.
    BadFile
        If the name of one of the reader's ledgers does not begin with that of a chapter.
    """
    theirs: dict[str, list[Line]] = {}
    for path in _ledgers(book, "make it with `make book`, or name another one with --book"):
        theirs.setdefault(_chapter(path), []).extend(ledger.read(path))
    found = []
    for path in _ledgers(mine, "run a chapter with `papermill` or `signseg publish` first"):
        chapter = _chapter(path)
        for line in ledger.read(path):
            same = (other for other in theirs.get(chapter, []) if other.id == line.id)
            found.append(Beside(chapter, line, tuple(same)))
    return found


def in_words(found: Sequence[Beside]) -> Iterator[str]:
    """Lines of text: chapter, claim, and below it the reader's line and each of the book's."""
    chapter = ""
    for one in found:
        if one.chapter != chapter:
            chapter = one.chapter
            yield f"\n{chapter}"
        yield f"  {one.mine.id}: {one.mine.statement}"
        yield _row("yours", one.mine)
        for line in one.book:
            tail = "; the intervals do not meet" if one.apart(line) else ""
            yield _row(f"book, {line.zoo}", line) + tail
        if not one.book:
            yield "    the book has no such line"


def write(found: Sequence[Beside], path: Path) -> None:
    """The comparison as CSV, a row a line of either side (`COLUMNS`)."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for one in found:
            for whose, line in [("yours", one.mine), *((own.zoo, own) for own in one.book)]:
                numbers = line.measured, line.ci_low, line.ci_high, line.n
                rows.writerow([one.chapter, line.id, line.statement, whose, line.verdict, *numbers])


def _row(whose: str, line: Line) -> str:
    return f"    {whose:22}{line.verdict:18}{ledger.measured(line)}, n = {line.sample}"


def _ledgers(where: Path, remedy: str) -> list[Path]:
    found = [where] if where.is_file() else sorted(where.rglob(f"*{_LEDGER}"))
    if not found:
        raise FileNotFoundError(
            f"expected ledgers, as NN_title{_LEDGER}, in {where}; there are none; {remedy}"
        )
    return found


def _chapter(path: Path) -> str:
    name = _CHAPTER.match(path.name)
    if name is None or not path.name.endswith(_LEDGER):
        raise BadFile(
            f"expected a ledger named as its chapter, such as 03_the_ablation_sweep{_LEDGER}, "
            f"because claims are told apart by it; got {path}; rename it"
        )
    return name[0]
