"""What is claimed, and how it will be judged: ``data/claims/<chapter>.csv``, one claim a row.

The rows are committed before the results that they are held against, so they say what was stated
beforehand: the claim in words, the sample, the test with its side and margin, and a plain sentence
for each verdict that the opening of a page may be made of.

Text may hold ``{fields}``, filled in when the claim is measured: a chapter's parameters, what it
passes to `signseg_utils.chapter.Chapter.claim`, and in the sentences also ``{value}``, ``{low}``,
``{high}``, ``{interval}`` (*0.2 to 0.4*), ``{n}``, and where a claim is about each network
``{cells}``, their number, and ``{holding}``, in how many of them it holds; ``{detectable}`` is the
effect that would have been seen, ``{units}`` how many there are in each network. A number takes a
format, as in ``{value:.0%}``. The id may hold fields as well: ``Z-acc-{network}`` is one row for
each network's line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import pandas as pd

from signseg_utils.basics.refusals import BadFile, UnknownName
from signseg_utils.basics.registry import unknown
from signseg_utils.chapter import ledger
from signseg_utils.chapter.reported import SOURCES
from signseg_utils.files.paths import data_folder

# primary: a source's own claim, which the opening of the page tells; control: what could explain
# it away, or what the book asks besides; arithmetic: it had to come out so.
ROLES = ledger.ROLES
KINDS = {
    "direction": "the effect lies on one side of 0",
    "number": "the value is within the margin of the expected number",
    "at least": "the value reaches the expected number; no interval",
    "alike": "two measures differ by less than the margin",
    "none": "no verdict follows: a panel, or too few to be told from chance",
    "direction over networks": "the mean over networks lies on one side of 0",
    "number over networks": "the mean over networks is within the margin of the expected number",
    "alike over networks": "two measures differ by less than the margin in the mean over networks",
    "direction in each": "the mean over networks lies on one side of 0, and none tells otherwise",
    "alike in each": "as over networks, and in none do they clearly differ",
}
OVER, EACH = " over networks", " in each"  # how kinds end whose sample are networks
SIDES = {"above 0": "positive", "below 0": "negative"}
OWN = "book"  # the source of a claim that the book adds
_OWN_IDS = ("Z-", "W-", "E-")  # checks of a zoo, and questions of the book: sources say no word
TOLD = ledger.VERDICTS[:-1]  # what there are sentences for; arithmetic is told by none
COLUMNS = (
    "id", "role", "kind", "expected", "margin", "sample", "statement", "test", "reported",
    "condition", "source", "figure", "scale", *TOLD,
)  # fmt: skip
_NEEDED = ("id", "role", "kind", "sample", "statement", "test", "source")
_ID = re.compile(r"\b[A-Z]-(?:[A-Z]*\d|[a-zA-Z]{2,})")


class Number(float):
    """A number as sentences hold it: three digits, unless a format or its decimals are given."""

    decimals: int | None

    def __new__(cls, value: float, decimals: int | None = None) -> Self:
        number = super().__new__(cls, value)
        number.decimals = decimals
        return number

    def __format__(self, how: str) -> str:
        text = super().__format__(how) if how else ledger.number(self, self.decimals)
        return text.replace("-", "\N{MINUS SIGN}")


class _Fields(dict[str, Any]):
    """Fields of a claim's text; one that is not there is named."""

    def __missing__(self, name: str) -> Any:
        raise KeyError(unknown("field", name, tuple(self)))


@dataclass(frozen=True)
class Claim:
    """One row: a claim as it was stated before its results.

    Attributes
    ----------
    id
        Of the ledger's line, such as ``P-4 strict``; may hold fields.
    chapter
        Number of the chapter.
    role
        One of `ROLES`.
    kind
        Of test, one of `KINDS`.
    expected
        Side, ``above 0`` or ``below 0``, or the expected number; may be a field.
    margin
        Smallest effect that would count, largest difference that counts as alike, or how far a
        number may be off; empty: none was stated.
    sample
        What intervals are made over, such as ``units``.
    statement, test
        The claim and its test in the ledger's words.
    reported, condition
        What is reported, in words; where empty, what `signseg_utils.chapter.reported.words` tells
        of the id's first word under this condition.
    source, figure
        One of `signseg_utils.chapter.reported.SOURCES` or `OWN`, and where in it.
    scale
        What the effect is measured in, below the axis of the forest figure; empty: not drawn.
    sentences
        Verdict to a plain sentence; of primary claims for each that the kind of test can end in.
    """

    id: str
    chapter: int
    role: str
    kind: str
    expected: str
    margin: str
    sample: str
    statement: str
    test: str
    reported: str
    condition: str
    source: str
    figure: str
    scale: str
    sentences: Mapping[str, str]

    @property
    def stem(self) -> str:
        """The source's own id, without what tells its lines apart: P-4 of ``P-4 strict{also}``."""
        return self.id.split()[0].partition("{")[0]

    @property
    def own(self) -> bool:
        """Whether the book asks it, and no source: then nothing is there to be replicated."""
        return self.source == OWN or self.id.startswith(_OWN_IDS)

    @property
    def worded(self) -> bool:
        """Whether the opening of a page can tell it."""
        return any(self.sentences.values())

    @property
    def over_networks(self) -> bool:
        """Whether it is about networks, so that its sample are networks."""
        return self.kind.endswith((OVER, EACH))

    def text(self, column: str, fields: Mapping[str, Any]) -> str:
        """A column's text with its fields filled in.

        Raises
        ------
        KeyError
            If the text holds a field that was not given; the message names it.
        """
        return filled(getattr(self, column), fields, f"{column} of {self.id!r}")

    def number(self, column: str, fields: Mapping[str, Any]) -> float | None:
        """A column's number, None where the column is empty."""
        text = self.text(column, fields)
        return float(text) if text else None

    def sentence(self, verdict: str, fields: Mapping[str, Any]) -> str:
        """The plain sentence for a verdict."""
        numbers = {
            name: Number(value, getattr(value, "decimals", None))
            if isinstance(value, float)
            else value
            for name, value in fields.items()
        }
        return filled(self.sentences[verdict], numbers, f"sentence of {self.id!r}, {verdict}")


def first_told(lines: Sequence[tuple[str, bool]], most: int) -> list[int]:
    """Places of the lines that the opening of a page tells, at most ``most``.

    Where rows have several lines, such as one a network, each row is told once before any twice;
    and where there is room, controls are told, for they say what explains an answer away.

    Parameters
    ----------
    lines
        Of those that have sentences, in order: the claim's id, and whether it is primary.
    """
    ids = [id for id, _ in lines]
    turn = [ids[:place].count(id) for place, id in enumerate(ids)]
    rank = [(turn[place], not primary) for place, (_, primary) in enumerate(lines)]
    return sorted(sorted(range(len(lines)), key=rank.__getitem__)[:most])


def filled(text: str, fields: Mapping[str, Any], where: str) -> str:
    """``text`` with its ``{fields}`` filled in; KeyError says where one is missing."""
    try:
        return text.format_map(_Fields(fields))
    except KeyError as error:
        raise KeyError(
            f"{where}: {error.args[0]}; pass it to chapter.claim, or mend the row of data/claims"
        ) from error


def claims(chapter: int) -> Mapping[str, Claim]:
    """The claims of a chapter by id, in the order in which they stand in the file.

    Raises
    ------
    FileNotFoundError
        If the chapter has no file of claims.
    BadFile
        If a row is wrong; the message says which and why.
    """
    return _read(data_folder() / "claims" / f"{chapter:02d}.csv")


def claim(chapter: int, id: str) -> Claim:
    """One claim; KeyError names the nearest where there is none of this id."""
    known = claims(chapter)
    if id not in known:
        raise UnknownName(
            f"{unknown(f'claim of chapter {chapter}', id, tuple(known))}; what is not in "
            f"data/claims/{chapter:02d}.csv was not stated beforehand"
        )
    return known[id]


@cache
def _read(path: Path) -> Mapping[str, Claim]:
    if not path.is_file():
        raise FileNotFoundError(
            f"expected the claims of this chapter at {path}, because they are stated before their "
            f"results; got no such file; add it with the columns {', '.join(COLUMNS)}"
        )
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if tuple(table.columns) != COLUMNS:
        odd = [name for name in table.columns if name not in COLUMNS]
        lost = [name for name in COLUMNS if name not in table.columns]
        raise BadFile(
            f"expected the columns {', '.join(COLUMNS)} in {path}; unknown: {odd}, missing: {lost}"
        )
    found: dict[str, Claim] = {}
    for row in table.to_dict("records"):
        one = _checked({str(name): str(text) for name, text in row.items()}, path)
        if one.id in found:
            raise BadFile(f"expected each claim once in {path}; got {one.id!r} twice")
        found[one.id] = one
    return found


def _checked(row: dict[str, str], path: Path) -> Claim:
    """A row as a claim, or BadFile that says what is wrong with it."""
    where = f"{path}, {row['id']!r}"
    for name in _NEEDED:
        if not row[name].strip():
            raise BadFile(f"{where}: expected a {name}; got none")
    if row["role"] not in ROLES:
        raise BadFile(f"{where}: {unknown('role', row['role'], ROLES)}")
    if row["kind"] not in KINDS:
        raise BadFile(f"{where}: {unknown('kind of test', row['kind'], tuple(KINDS))}")
    if row["source"] not in (*SOURCES, OWN):
        raise BadFile(f"{where}: {unknown('source', row['source'], (*SOURCES, OWN))}")
    if row["kind"].startswith("direction") and row["expected"] not in SIDES:
        raise BadFile(f"{where}: {unknown('expected side', row['expected'], tuple(SIDES))}")
    if row["kind"].startswith(("number", "at least")) and not _numeric(row["expected"]):
        raise BadFile(f"{where}: expected a number or a field; got {row['expected']!r}")
    needs_margin = row["kind"].startswith(("number", "alike"))
    if (needs_margin or row["margin"]) and not _numeric(row["margin"]):
        raise BadFile(f"{where}: expected a margin, a number or field; got {row['margin']!r}")
    sentences = {verdict: row.pop(verdict) for verdict in TOLD}
    possible = _possible(row["kind"], bool(row["margin"])) if row["role"] == "primary" else ()
    for verdict, text in sentences.items():
        _check_sentence(text, f"{where}, {verdict}", needed=verdict in possible)
    return Claim(**row, chapter=int(path.stem), sentences=sentences)


def _possible(kind: str, margin: bool) -> tuple[str, ...]:
    """Verdicts that a test of this kind can end in."""
    if kind == "none":
        return ("not testable",)
    found = ["replicated", "inconclusive", "not testable"]
    if kind.startswith("direction"):
        found += ["reversed", "absent"] if margin else ["reversed"]
    else:
        found += ["differs"]
    if kind.endswith(EACH):
        found += ["networks disagree"]
    return tuple(found) if kind != "at least" else ("replicated", "differs", "not testable")


def _numeric(text: str) -> bool:
    if re.fullmatch(r"\{\w+\}", text):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_sentence(text: str, where: str, *, needed: bool) -> None:
    if not text and needed:
        raise BadFile(
            f"{where}: expected a sentence, because the opening tells primary claims; got none"
        )
    if text and (text[-1] != "." or not (text[0].isupper() or text[0] == "{")):
        raise BadFile(f"{where}: expected a sentence, capital to full stop; got {text!r}")
    if _ID.search(text):
        raise BadFile(f"{where}: expected no claim's id in a sentence for readers; got {text!r}")
