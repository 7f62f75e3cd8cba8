"""What holds: one row a claim of the sources, one cell a world; all of it read from the ledgers.

``data/claims/scoreboard.csv`` says which claim stands for a row, in which plain words and with
which caveat; primary claims that it does not name get a row with the words of their statement.
What stands in a cell (verdict after correction, effect, interval, in how many networks) is
computed from ``*.ledger.json``, never typed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pandas as pd

from signseg_utils.basics.refusals import BadFile
from signseg_utils.chapter import claims, ledger
from signseg_utils.chapter.claims import Claim
from signseg_utils.files.paths import data_folder
from signseg_utils.publishing import families, stories
from signseg_utils.publishing.families import Corrected
from signseg_utils.publishing.stories import Question

COLUMNS = ("chapter", "id", "main", "words", "caveat")
MOST_CAVEAT = 8  # words
# Shorter words for verdicts, where the ledger's own stand too wide.
PLAIN = {
    "replicated": "holds",
    "networks disagree": "disagree",
    "inconclusive": "open",
    "not testable": "not tested",
    ledger.BAR: "as it should",
    "arithmetic": "must be so",
}
START, END = "<!-- scoreboard: signseg scoreboard -->", "<!-- end of scoreboard -->"
_HOLDS = ("replicated", "yes", ledger.BAR)
_FIELD = re.compile(r"\{[^}]*\}")


@dataclass(frozen=True)
class Cell:
    """What one world says of a claim.

    Attributes
    ----------
    page
        Of the book: ``<zoo>/<chapter>``.
    verdict
        One of `ledger.WORDS`, after correction; of several lines that differ, what they say
        together.
    line
        The first of its lines: it gives effect, interval and sample.
    holding, of
        In how many networks (sessions, or lines) of how many the claim holds by itself; None
        where one sample tells all, or each network gives one number.
    """

    page: str
    verdict: str
    line: ledger.Line
    holding: int | None = None
    of: int | None = None

    @property
    def effect(self) -> str:
        """Effect and interval: ``0.21 [0.15, 0.27]``."""
        line = self.line
        if line.measured is None:
            return ""
        if line.ci_low is None or line.ci_high is None:
            return short(line.measured)
        return f"{short(line.measured)} [{short(line.ci_low)}, {short(line.ci_high)}]"

    @property
    def share(self) -> str:
        """``3/3`` networks, or ``n 62``."""
        if self.of is not None:
            return f"{self.holding}/{self.of}"
        return "" if self.line.n is None else f"n {self.line.n}"


@dataclass(frozen=True)
class Row:
    """A claim of a source, or a chapter's own question.

    Attributes
    ----------
    chapter
        The chapter that tests it.
    id, stem
        Of the claim that stands for it, and of all its lines.
    words
        The claim in plain words.
    figure
        Where in its source.
    caveat
        In at most `MOST_CAVEAT` words, or empty.
    main
        Whether it is one of the few that stand for the whole.
    cells
        Zoo to what it says.
    lines
        All lines of the ledgers that belong to it, with their zoos' correction.
    """

    chapter: Question
    id: str
    stem: str
    words: str
    figure: str
    caveat: str
    main: bool
    cells: Mapping[str, Cell]
    lines: Sequence[Corrected]


def short(value: float) -> str:
    """Two digits behind the point, or two in all where it is large, with a true minus sign."""
    text = f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text) else text.lstrip("-")


def every(executed: Path) -> list[Corrected]:
    """All lines of a folder of executed chapters, each zoo corrected as a family."""
    zoos = stories.in_order(path.parent.name for path in executed.glob("*/*.ledger.json"))
    return [one for zoo in zoos for one in families.of_folder(executed / zoo)]


def of_book(executed: Path, notebooks: Path | None = None) -> list[Row]:
    """All rows of a folder of executed chapters: the claims of sources, then the book's own."""
    lines = every(executed)
    names = sorted({one.chapter for one in lines})
    questions = {name: stories.question(name, notebooks) for name in names}
    found = [row for name in names for row in _rows(questions[name], lines)]
    return sorted(found, key=lambda row: stories.STORIES.index(row.chapter.story))


def of_sources(rows: Iterable[Row]) -> list[Row]:
    """Rows of claims that a source makes; what the book asks of itself is left out."""
    return [row for row in rows if row.figure]


def apart(row: Row) -> list[Row]:
    """A row of the book's own questions as one row for each primary one; others as they are."""
    if row.figure:
        return [row]
    stated = stated_in(row.chapter.number)
    own = [_Told(one, claim_of(one.line.id, stated)) for one in row.lines]
    ids = dict.fromkeys(one.id for one in own if one.corrected.line.role == "primary")
    told = _written(row.chapter)
    return [_row(row.chapter, id, id, [one for one in own if one.id == id], told) for id in ids]


def at_random(row: Row) -> list[Row]:
    """The row of a claim's control: more is lost with this sign than with weights at random."""
    own = [_Told(one, claim_of(one.line.id, stated_in(row.chapter.number))) for one in row.lines]
    id = f"{row.id} random"
    if not any(one.id == id for one in own):
        return []
    words = f"{row.words}: more than at random"
    return [replace(_row(row.chapter, id, id, own, {}), words=words)]


def _written(chapter: Question) -> dict[str, dict[str, str]]:
    """What was written down for a chapter, by the id of the claim."""
    return {row["id"]: row for row in named() if int(row["chapter"]) == chapter.number}


def _rows(chapter: Question, every: Sequence[Corrected]) -> list[Row]:
    """Rows of one chapter: one a stem, or as many as were written down for it."""
    stated = stated_in(chapter.number)
    own = [
        _Told(one, claim_of(one.line.id, stated)) for one in every if one.chapter == chapter.name
    ]
    told = _written(chapter)
    stems: dict[str, list[_Told]] = {}
    for one in own:
        stems.setdefault(one.group, []).append(one)
    return [
        _row(chapter, id, stem, [one for one in lines if _owner(one.id, chosen) == id], told)
        for stem, lines in stems.items()
        for chosen in [[id for id in told if id.split()[0] == stem] or [_first(lines)]]
        for id in chosen
    ]


@dataclass(frozen=True)
class _Told:
    """A line of a ledger, and the claim that it was made of, if that is known."""

    corrected: Corrected
    claim: Claim | None

    @property
    def id(self) -> str:
        """Of its claim, without fields: one for all networks and recordings."""
        return bare(self.claim.id if self.claim else self.corrected.line.id)

    @property
    def group(self) -> str:
        """Lines of a source's claim belong together, as does all that the book asks of one kind."""
        stem = self.id.split()[0]
        return stem.partition("-")[0] + "-" if stem.startswith(("W-", "Z-", "E-")) else stem

    @property
    def holds(self) -> bool:
        return self.corrected.verdict in _HOLDS


def _row(
    chapter: Question,
    id: str,
    stem: str,
    lines: Sequence[_Told],
    told: Mapping[str, dict[str, str]],
) -> Row:
    own = [one for one in lines if one.id == id]
    claim = own[0].claim if own else None
    zoos = dict.fromkeys(one.corrected.line.zoo for one in own)
    cells = {
        zoo: together([one.corrected for one in own if one.corrected.line.zoo == zoo])
        for zoo in zoos
    }
    written = told.get(id, {})
    return Row(
        chapter,
        id,
        stem,
        chapter.title if stem.endswith("-") else written.get("words") or _plain((own or lines)[0]),
        _where(claim) if claim and not claim.own and claim.role != "control" else "",
        _no_more(chapter, id, cells, lines) or written.get("caveat", ""),
        written.get("main") == "yes",
        cells,
        [one.corrected for one in lines],
    )


def _owner(id: str, chosen: Sequence[str]) -> str:
    """Of the rows of one stem, the one whose id begins a line's at most length; else the first."""
    return max((own for own in chosen if id.startswith(own)), key=len, default=chosen[0])


def _first(lines: Sequence[_Told]) -> str:
    """The id that stands for a stem: the bare one, else that of its first primary claim."""
    ids = [one.id for one in lines]
    primary = [one.id for one in lines if one.corrected.line.role == "primary"]
    return ([id for id in ids if id == lines[0].group] or primary or ids)[0]


def bare(id: str) -> str:
    """An id without its fields: ``P-13 all`` of ``P-13 all{also}``."""
    return _FIELD.sub("", id).strip()


def stated_in(number: int) -> Mapping[str, Claim]:
    """Claims of a chapter by id; none where it has no file of them."""
    try:
        return claims.claims(number)
    except FileNotFoundError:
        return {}


@cache
def _pattern(id: str) -> re.Pattern[str]:
    return re.compile("(.*)".join(re.escape(part) for part in _FIELD.split(id)))


def claim_of(id: str, stated: Mapping[str, Claim]) -> Claim | None:
    """The stated claim that a line's id was made of: of those that fit, the most literal."""
    fitting = [own for own in stated if _pattern(own).fullmatch(id)]
    return stated[max(fitting, key=lambda own: len(bare(own)))] if fitting else None


def together(lines: Sequence[Corrected]) -> Cell:
    """One cell of the lines of a claim in one world; several, such as one a network, are counted.

    Lines that agree have their verdict. Where the claim holds in some and clearly not in others,
    networks disagree; else it is inconclusive.
    """
    first = lines[0]
    page = f"{first.line.zoo}/{first.chapter}"
    if len(lines) == 1:
        line = first.line
        told = len(line.cells) > 1 and line.holding is not None and line.units != 1
        counted = (line.holding, len(line.cells)) if told else (None, None)
        return Cell(page, first.verdict, line, *counted)
    verdicts = [one.verdict for one in lines]
    if len(set(verdicts)) == 1:
        verdict = verdicts[0]
    elif set(verdicts) <= set(ledger.VERDICTS):
        verdict = ledger.agreed(verdicts, "inconclusive")
    else:
        verdict = "open"
    return Cell(page, verdict, first.line, sum(v in _HOLDS for v in verdicts), len(verdicts))


def _plain(one: _Told) -> str:
    """The statement of a claim, without its fields, as a sentence begins."""
    text = one.claim.statement if one.claim else one.corrected.line.statement
    text = re.sub(r"^(?:\s*\{[^}]*\}\s*,?)+:\s*", "", text)
    text = re.sub(r",?\s*(?:(?:in|of)\s+(?:units of\s+)?)?\{[^}]*\}", "", text).strip()
    return text[:1].upper() + text[1:]


def _where(claim: Claim) -> str:
    """Figure or table of a claim in its source; ``text`` where there is none."""
    shown = claim.figure.startswith(("Fig.", "Table"))
    return claim.figure.replace(" ", "\N{NO-BREAK SPACE}") if shown else "text"


def _no_more(chapter: Question, id: str, cells: Mapping[str, Cell], lines: Sequence[_Told]) -> str:
    """Where a claim holds and yet random ablation does as much, in words; empty: nowhere."""
    lost = []
    for zoo, cell in cells.items():
        controls = [
            one for one in lines if one.id == f"{id} random" and one.corrected.line.zoo == zoo
        ]
        if cell.verdict in _HOLDS and controls and not any(one.holds for one in controls):
            lost.append(zoo)
    if not lost:
        return ""
    where = "" if len(lost) == len(cells) else f": {chapter.world(lost[0])}"
    return f"no more than random ablation{where}"


# ---------------------------------------------------------------- what was written down


def named(path: Path | None = None) -> list[dict[str, str]]:
    """Rows of ``data/claims/scoreboard.csv``; BadFile says what is wrong with one."""
    path = path or data_folder() / "claims" / "scoreboard.csv"
    if not path.is_file():
        return []
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if tuple(table.columns) != COLUMNS:
        raise BadFile(f"expected the columns {', '.join(COLUMNS)} in {path}; got {list(table)}")
    rows = [{str(k): str(v) for k, v in row.items()} for row in table.to_dict("records")]
    for row in rows:
        where = f"{path}, {row['id']!r}"
        if row["id"] not in map(bare, stated_in(int(row["chapter"]))):
            raise BadFile(f"{where}: expected a claim of chapter {row['chapter']}; got none such")
        if not row["words"]:
            raise BadFile(f"{where}: expected the claim in plain words; got none")
        if len(row["caveat"].split()) > MOST_CAVEAT:
            raise BadFile(f"{where}: expected a caveat of at most {MOST_CAVEAT} words")
    return rows


# ---------------------------------------------------------------- as text


def plain(found: Cell | None) -> str:
    """A cell as text: ``✓ holds 0.35 [0.27, 0.42], 3/3``."""
    if found is None:
        return "–"
    shape, _ = ledger.MARKS[found.verdict]
    words = f"{shape} {PLAIN.get(found.verdict, found.verdict)} {found.effect}".strip()
    return f"{words}, {found.share}" if found.share else words


def markdown(rows: Sequence[Row]) -> str:
    """The main rows as a Markdown table, a column a zoo; a neuron's world is told in its cell."""
    main = [row for row in rows if row.main]
    zoos = stories.in_order(zoo for row in main for zoo in row.cells)
    heads = ["What holds?", *map(stories.world, zoos), "but"]
    table = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in main:
        cells = []
        for zoo in zoos:
            who = f"{row.chapter.world(zoo)}: " if row.chapter.recorded else ""
            cells.append(f"{who}{plain(row.cells.get(zoo))}")
        told = [f"{row.words} ({row.figure})", *cells, row.caveat]
        table.append(f"| {' | '.join(told)} |")
    return "\n".join(table)


def between(text: str, new: str) -> str:
    """``text`` with what stands between the markers replaced.

    Raises
    ------
    BadFile
        If the markers are not there, once each and in order.
    """
    parts = re.split(f"({re.escape(START)}|{re.escape(END)})", text)
    if parts[1::2] != [START, END]:
        raise BadFile(
            f"expected {START} and {END} once each, because the scoreboard goes between them; got "
            f"{parts[1::2]}; put both on lines of their own"
        )
    return f"{parts[0]}{START}\n{new}\n{END}{parts[4]}"
