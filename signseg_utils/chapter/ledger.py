"""The ledger: for each claim what the paper reports, what was measured here, and the verdict.

A verdict says what was found. Of a claim of a source: replicated; reversed, the effect is on the
other side; absent, it lies within the stated margin of 0; differs, a number or two things said to
be alike are clearly farther apart than the margin; networks disagree; inconclusive, beside the
effect that could have been seen; not testable, and why; arithmetic, it had to come out so. What the
book asks of itself is answered yes, no or open, and a check of a zoo's quality meets its bar.
"""

from __future__ import annotations

import html
import json
import math
import os
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Protocol

from signseg_utils.basics.refusals import BadFile
from signseg_utils.basics.registry import unknown
from signseg_utils.files.paths import write_text
from signseg_utils.files.reading import read_text

# What came out for a claim of a source. `differs`: of a number or of two things said to be alike.
VERDICTS = (
    "replicated", "reversed", "absent", "differs", "networks disagree", "inconclusive",
    "not testable", "arithmetic",
)  # fmt: skip

# Nobody asked the book's own questions, so nothing is replicated: their word for each verdict.
OWN_WORDS = {
    "replicated": "yes",
    "reversed": "no",
    "absent": "no",
    "differs": "no",
    "networks disagree": "open",
    "inconclusive": "open",
}
BAR = "meets its bar"  # for "yes", of a check of the zoo's quality
WORDS = (*VERDICTS, BAR, *dict.fromkeys(OWN_WORDS.values()))

ROLES = ("primary", "control", "arithmetic")

# Of fewer units no verdict follows: an exact two-sided sign test of 5 cannot reach p = .05.
FEWEST_UNITS = 6

LEVEL = 0.05

# A mark and a colour for each word; the text stands beside them, so neither carries it alone.
# Colours: Okabe and Ito, "Color universal design" (2008).
MARKS = {
    "replicated": ("✓", "#0072B2"),
    "reversed": ("⇄", "#CC79A7"),
    "absent": ("✗", "#D55E00"),
    "differs": ("≠", "#D55E00"),
    "networks disagree": ("±", "#E69F00"),
    "inconclusive": ("?", "#E69F00"),
    "not testable": ("–", "#7F7F7F"),
    "arithmetic": ("=", "#7F7F7F"),
    BAR: ("✓", "#0072B2"),
    "yes": ("✓", "#0072B2"),
    "no": ("✗", "#D55E00"),
    "open": ("?", "#E69F00"),
}


def own_word(verdict: str, id: str) -> str:
    """The word for a verdict on a question of the book, or a check of quality (``Z-``)."""
    if verdict == "replicated" and id.startswith("Z-"):
        return BAR
    return OWN_WORDS.get(verdict, verdict)


class Measured(Protocol):
    """A value with its 95 % interval, as the results of `signseg_utils.analysis.stats` have it."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def n(self) -> int: ...
    @property
    def seed(self) -> int | None: ...
    @property
    def units(self) -> int | None: ...


class MeasuredAlike(Measured, Protocol):
    """The result of an equivalence test."""

    @property
    def equivalent(self) -> bool: ...
    @property
    def margin(self) -> float: ...


@dataclass(frozen=True)
class Cell:
    """One network, session or other part of what a line is about, by itself."""

    name: str
    value: float
    low: float
    high: float
    n: int | None = None


_BARE = ("not testable", "arithmetic")  # verdicts that are not told of so many networks
# Verdicts that need a number behind them.
_TOLD = ("replicated", "reversed", "absent", "differs", "networks disagree", BAR, "yes", "no")


@dataclass(frozen=True)
class Line:
    """One claim in one zoo.

    Attributes
    ----------
    id
        Of the claim, such as ``P-1a``.
    zoo
        Where it was measured.
    statement
        The claim in words.
    reported
        What the source gives: a number or a direction.
    measured
        Effect size; None where there is none.
    ci_low, ci_high
        Its 95 % interval.
    n
        Size of the sample: units, or networks where ``units`` is told.
    test
        Name of the test that was stated beforehand.
    seed
        Of bootstrap or permutation.
    verdict
        One of `WORDS`.
    role
        One of `ROLES`. Controls are uncorrected, and make no claim replicated by themselves.
    units
        Units in each network, where networks are the sample.
    p
        Of the test behind the verdict, not corrected; None where there is none.
    detectable
        Smallest effect that would have been seen (80 % power), in the units of ``measured``.
    holding
        In how many of the cells the claim holds.
    cells
        Each network (or session) by itself, where there are several: name, value and interval.
    """

    id: str
    zoo: str
    statement: str
    reported: str
    measured: float | None
    ci_low: float | None
    ci_high: float | None
    n: int | None
    test: str
    seed: int | None
    verdict: str
    role: str = "primary"
    units: int | None = None
    p: float | None = None
    detectable: float | None = None
    holding: int | None = None
    cells: tuple[Cell, ...] = ()

    def __post_init__(self) -> None:
        if self.verdict not in WORDS:
            raise ValueError(unknown("verdict", self.verdict, WORDS))
        if self.role not in ROLES:
            raise ValueError(unknown("role", self.role, ROLES))
        cells = tuple(own if isinstance(own, Cell) else Cell(**own) for own in self.cells)
        object.__setattr__(self, "cells", cells)
        for name in ("id", "zoo", "statement", "reported", "test"):
            if not str(getattr(self, name)).strip():
                raise ValueError(f"expected a {name} in a ledger line; got none")
            object.__setattr__(self, name, str(getattr(self, name)))
        for name in ("measured", "ci_low", "ci_high", "p", "detectable"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"expected a finite {name} or None in {self.id}; got {value}")
            object.__setattr__(self, name, None if value is None else float(value))
        for name in ("n", "seed", "units", "holding"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else int(value))
        if self.verdict in _TOLD and None in (self.measured, self.n):
            raise ValueError(
                f"expected measured and n in {self.id}, because the verdict is {self.verdict!r}; "
                "use 'not testable' where nothing can be measured"
            )
        if (self.ci_low is None) != (self.ci_high is None):
            raise ValueError(f"expected both ends of the interval in {self.id} or neither")
        if self.ci_low is not None and self.ci_high is not None and self.ci_low > self.ci_high:
            raise ValueError(
                f"expected ci_low <= ci_high in {self.id}; got {self.ci_low} and {self.ci_high}"
            )

    @property
    def sample(self) -> str:
        """Size of the sample in words: ``12``, or ``5 × 12`` networks of so many units."""
        if self.n is None:
            return "–"
        return str(self.n) if self.units is None else f"{self.n} × {self.units}"

    @property
    def found(self) -> str:
        """The verdict with what belongs to it: in how many networks, or what could be seen."""
        said = self.verdict
        if self.holding is not None and len(self.cells) > 1 and said not in _BARE:
            said += f" ({self.holding} of {len(self.cells)})"
        if self.verdict in ("inconclusive", "open") and self.detectable is not None:
            said += f"; {number(self.detectable)} would have been seen"
        return said


def judge_direction(
    estimate: Measured, expected: str, margin: float | None = None, *, p: float = 0.0
) -> str:
    """Verdict on a direction: is the effect above (``expected="positive"``) or below 0?

    replicated: the interval lies on the expected side of 0; reversed: on the other side;
    absent: it holds 0 and lies within ``margin`` of it, the smallest effect that would count,
    stated beforehand; inconclusive: else, or of fewer than `FEWEST_UNITS` units. Of one effect
    among many, ``p`` is its p value corrected for their number
    (`signseg_utils.analysis.stats.holm`): from .05 on, neither side of 0 is told.
    """
    if expected not in ("positive", "negative"):
        raise ValueError(unknown("direction", expected, ("positive", "negative")))
    if _too_few(estimate):
        return "inconclusive"
    low, high = (estimate.low, estimate.high)
    if expected == "negative":
        low, high = -high, -low
    if low > 0 and p < LEVEL:
        return "replicated"
    if high < 0 and p < LEVEL:
        return "reversed"
    if margin is not None and -margin < low and high < margin:
        return "absent"
    return "inconclusive"


def judge_number(estimate: Measured, reported: float, tolerance: float) -> str:
    """Verdict on a number: is the interval within ``tolerance`` of what was reported?

    replicated: it lies within; differs: it lies wholly outside; inconclusive: else, or of fewer
    than `FEWEST_UNITS` units.
    """
    if not tolerance > 0:
        raise ValueError(f"expected a tolerance above 0; got {tolerance}")
    if _too_few(estimate):
        return "inconclusive"
    if abs(estimate.low - reported) <= tolerance and abs(estimate.high - reported) <= tolerance:
        return "replicated"
    if estimate.low > reported + tolerance or estimate.high < reported - tolerance:
        return "differs"
    return "inconclusive"


def judge_alike(result: MeasuredAlike) -> str:
    """Verdict on "alike": equivalent, clearly farther apart than the margin, or neither."""
    if _too_few(result):
        return "inconclusive"
    if result.equivalent:
        return "replicated"
    if result.low > result.margin or result.high < -result.margin:
        return "differs"
    return "inconclusive"


def _too_few(estimate: Measured) -> bool:
    """Whether units are the sample and there are too few; over networks the t interval tells."""
    return getattr(estimate, "units", None) is None and estimate.n < FEWEST_UNITS


def agreed(each: Sequence[str], together: str) -> str:
    """Verdict on a claim about networks: that of all ``together``, unless they disagree.

    They do if the claim holds in some, and is reversed, absent or clearly another number in others.
    """
    if not each:
        raise ValueError("expected at least one verdict; got none")
    for verdict in (*each, together):
        if verdict not in VERDICTS:
            raise ValueError(unknown("verdict", verdict, VERDICTS))
    if "replicated" in each and {"reversed", "absent", "differs"} & set(each):
        return "networks disagree"
    return together


def write(lines: Sequence[Line], path: str | os.PathLike[str]) -> Path:
    """Write lines as a JSON list of objects."""
    target = Path(path)
    _check_unique(lines)
    text = json.dumps([asdict(line) for line in lines], indent=1, ensure_ascii=False) + "\n"
    write_text(target, text)
    return target


def read(path: str | os.PathLike[str]) -> tuple[Line, ...]:
    """Read a ledger; ValueError names the file and what in it is not a line."""
    try:
        rows = json.loads(read_text(Path(path), "a ledger"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadFile(
            f"expected a JSON list of ledger lines in {path}; got {error}; run its chapter again"
        ) from error
    keys = {field.name for field in fields(Line)}
    needed = {field.name for field in fields(Line) if field.default is MISSING}
    if not isinstance(rows, list):
        raise BadFile(
            f"expected a JSON list of ledger lines in {path}; got a {type(rows).__name__}; "
            "run its chapter again"
        )
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or not needed <= set(row) <= keys:
            got = sorted(row) if isinstance(row, dict) else type(row)
            raise BadFile(
                f"expected the keys {sorted(keys)} in line {number} of {path}; got {got}; run its "
                "chapter again"
            )
    return tuple(Line(**row) for row in rows)


@dataclass(frozen=True)
class Table:
    """HTML that a notebook shows."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


# On a narrow screen each claim becomes a card: no sideways scroll.
_STYLE = """
.signseg-ledger { width: 100%; border-collapse: collapse; font-size: .9em; text-align: left }
.signseg-ledger th, .signseg-ledger td { padding: .35em .5em; vertical-align: top;
  text-align: left !important; white-space: normal }
.signseg-ledger thead th { border-bottom: 2px solid currentColor }
.signseg-ledger tbody tr { border-bottom: 1px solid rgba(127, 127, 127, .4) }
.signseg-ledger .verdict { border-left: .35em solid var(--mark); font-weight: 600 }
.signseg-ledger small { opacity: .8 }
@media (max-width: 45rem) {
  .signseg-ledger thead { display: none }
  .signseg-ledger tr, .signseg-ledger td, .signseg-ledger th { display: block }
  .signseg-ledger tbody tr { padding: .5em 0 }
  .signseg-ledger td[data-label]::before { content: attr(data-label) ": "; opacity: .75 }
}
"""


def table(lines: Sequence[Line], caption: str = "Ledger of this chapter") -> Table:
    """The ledger as a table for a page: one row for each claim, verdict in words and by mark."""
    heads = ("Claim", "Reported", "Measured (95 % interval)", "n", "Test", "Verdict")
    body = "".join(_row(line, heads) for line in lines)
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    page = (
        f"<style>{_STYLE}</style>"
        f'<table class="signseg-ledger"><caption>{html.escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
    text = "\n".join(
        f"{line.id} [{line.zoo}] {line.statement}: reported {line.reported}; "
        f"measured {measured(line)}; n {line.sample}; {line.found}"
        for line in lines
    )
    return Table(page, text)


def measured(line: Line) -> str:
    """The measured value with its interval, in words fit for a table."""
    if line.measured is None:
        return "–"
    if line.ci_low is None or line.ci_high is None:
        return number(line.measured)
    return with_interval(line.measured, line.ci_low, line.ci_high)


def _row(line: Line, heads: Sequence[str]) -> str:
    mark, colour = MARKS[line.verdict]
    test = html.escape(line.test)
    if line.p is not None:
        test += f"; p = {line.p:.2g}"
    if line.seed is not None:
        test += f" <small>(seed {line.seed})</small>"
    cells = (html.escape(line.reported), measured(line) + spread(line), line.sample, test)
    middle = "".join(
        f'<td data-label="{name}">{cell}</td>' for name, cell in zip(heads[1:5], cells, strict=True)
    )
    tag = f"{line.zoo}, control" if line.role == "control" else line.zoo
    return (
        f'<tr><th scope="row">{html.escape(line.id)} <small>{html.escape(tag)}</small><br>'
        f'<span style="font-weight:400">{html.escape(line.statement)}</span></th>{middle}'
        f'<td class="verdict" style="--mark:{colour}"><span aria-hidden="true">{mark}</span> '
        f"{line.found}</td></tr>"
    )


def spread(line: Line) -> str:
    """HTML of the networks or sessions behind a line, folded; empty where there is one."""
    if len(line.cells) < 2:
        return ""
    rows = "<br>".join(
        f"{html.escape(own.name)} {with_interval(own.value, own.low, own.high)}"
        for own in line.cells
    )
    return f"<details><summary><small>each of {len(line.cells)}</small></summary>{rows}</details>"


def with_interval(value: float, low: float, high: float) -> str:
    """A value and its interval, as precise as the interval allows: ``"0.25 (0.12 to 0.37)"``."""
    return f"{number(value, decimals(low, high))} ({interval(low, high)})"


def interval(low: float, high: float) -> str:
    """``"0.12 to 0.37"``, as precise as its width allows."""
    kept = decimals(low, high)
    return f"{_bound(low, kept)} to {_bound(high, kept)}"


def _bound(value: float, kept: int | None) -> str:
    """A bound with so many decimals; one that is not 0 is not told as 0."""
    if kept is None or value == 0 or round(value, kept):
        return number(value, kept)
    return f"{value:.1g}".replace("-", "−")


def number(value: float, decimals: int | None = None) -> str:
    """As many decimals as given, else three digits; with a true minus sign.

    >>> number(0.00064), number(-0.00064, decimals=2)
    ('0.00064', '0.00')
    """
    told = f"{float(value):.3g}" if decimals is None else f"{float(value):.{decimals}f}"
    return told.replace("-", "−") if float(told) else told.lstrip("-")


def decimals(low: float, high: float) -> int | None:
    """How many decimals the numbers of an interval are worth; None where that cannot be told.

    Half the width of the interval keeps two digits if the first of them is small, else one, as
    particle physicists round errors (https://pdg.lbl.gov, Introduction, section 5.3), but never
    less than hundredths below 1.

    >>> decimals(0.1232, 0.3721), decimals(0.1786, 0.2824), decimals(0.0008, 0.0398)
    (2, 2, 3)
    """
    half = (high - low) / 2
    if not (math.isfinite(half) and half > 0):
        return None
    place = math.floor(math.log10(half))
    kept = 2 if half / 10**place < 3.55 else 1
    return max(kept - 1 - place, 2 if half < 1 else 0)


def _check_unique(lines: Sequence[Line]) -> None:
    seen: set[tuple[str, str]] = set()
    for line in lines:
        if (line.id, line.zoo) in seen:
            raise ValueError(f"expected each claim once a zoo; got {line.id} twice in {line.zoo}")
        seen.add((line.id, line.zoo))
