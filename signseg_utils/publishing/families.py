"""Multiplicity: the primary claims of a zoo are one family, and its verdicts come from corrected p.

A chapter judges its claims before others are known. Once the ledgers of a zoo lie side by side, the
p values of the sources' claims are corrected for their number (Holm), and a direction, number or
likeness whose corrected p is not below .05 is inconclusive. Controls, arithmetic and what the book
asks of itself are outside: they are not corrected, and make no claim replicated. Absence,
disagreement and clear differences stay as they are, for they are no false alarm of a claim.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from signseg_utils.analysis import stats
from signseg_utils.chapter import ledger
from signseg_utils.chapter.ledger import Line
from signseg_utils.files.paths import write_text

STORED = "primary_claims.json"
_CORRECTED = ("replicated", "reversed")


@dataclass(frozen=True)
class Corrected:
    """A line of a ledger as the family of its zoo leaves it.

    Attributes
    ----------
    chapter
        Name of its chapter's files.
    line
        As the chapter wrote it.
    p
        Corrected for the number of the family; None outside of it.
    verdict
        What follows from the corrected p.
    """

    chapter: str
    line: Line
    p: float | None
    verdict: str

    @property
    def changed(self) -> bool:
        """Whether the correction took the verdict."""
        return self.verdict != self.line.verdict

    @property
    def found(self) -> str:
        """The verdict with what belongs to it, as `Line.found` has it."""
        if not self.changed:
            return self.line.found
        return f"{self.verdict} (before correction: {self.line.verdict})"


def in_family(line: Line) -> bool:
    """Whether a line is a primary claim of a source that was tested."""
    return line.role == "primary" and line.p is not None and line.verdict in ledger.VERDICTS


def corrected(ledgers: Mapping[str, Sequence[Line]]) -> list[Corrected]:
    """Lines of one zoo, chapter by chapter, their primary claims corrected as one family.

    Parameters
    ----------
    ledgers
        Name of a chapter to its lines, all of one zoo.
    """
    lines = [(chapter, line) for chapter, own in ledgers.items() for line in own]
    zoos = sorted({line.zoo for _, line in lines})
    if len(zoos) > 1:
        raise ValueError(f"expected lines of one zoo, because a family is a zoo's; got {zoos}")
    family = [line for _, line in lines if in_family(line)]
    told = [float(line.p or 0) for line in family]
    adjusted = stats.holm(told).tolist() if family else []
    p_of = {line.id: p for line, p in zip(family, adjusted, strict=True)}
    found = []
    for chapter, line in lines:
        p = p_of.get(line.id) if in_family(line) else None
        lost = p is not None and p >= ledger.LEVEL and line.verdict in _CORRECTED
        found.append(Corrected(chapter, line, p, "inconclusive" if lost else line.verdict))
    return found


def of_folder(folder: Path) -> list[Corrected]:
    """`corrected` lines of the ledgers that were published for one zoo."""
    paths = sorted(folder.glob("*.ledger.json"))
    return corrected({path.name.removesuffix(".ledger.json"): ledger.read(path) for path in paths})


def store(folder: Path) -> Path | None:
    """Write the family of a zoo beside its ledgers; None where no chapter was published.

    A line of the file is a claim: ``chapter``, ``id``, ``p``, ``p_corrected``, ``verdict`` as its
    chapter has it, and ``corrected``.
    """
    own = [one for one in of_folder(folder) if one.p is not None] if folder.is_dir() else []
    if not own:
        return None
    rows = [
        {
            "chapter": one.chapter,
            "id": one.line.id,
            "p": one.line.p,
            "p_corrected": one.p,
            "verdict": one.line.verdict,
            "corrected": one.verdict,
        }
        for one in own
    ]
    path, text = folder / STORED, json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:  # else no page has changed
        write_text(path, text)
    return path
