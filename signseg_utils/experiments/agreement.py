"""How exactly another machine must agree with what is stored, and whether this one does.

Sums in another order differ in their last digits, so machines agree in numbers only within a
tolerance; and what is counted or compared with a threshold may change sides with them. Every stored
variable says which of these it is, with an `Agreement`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

AGREES, WITHIN, BEYOND = "agrees", "within bounds", "beyond bounds"
OUTCOMES = (AGREES, WITHIN, BEYOND)


@dataclass(frozen=True)
class Agreement:
    """How exactly a variable must come out again.

    Attributes
    ----------
    absolute, relative
        Cells that differ by no more than the larger of ``absolute`` and ``relative`` times what is
        stored agree.
    cells, by
        Of a thousand cells so many may differ by more, each by at most ``by``; they are noted.
    """

    absolute: float = 0.0
    relative: float = 0.0
    cells: float = 0.0
    by: float = 0.0

    def __str__(self) -> str:
        if self.absolute or self.relative:
            words = f"agree within {self.absolute:g} or {self.relative:g} of its size"
        else:
            words = "be equal"
        if not self.cells:
            return words
        return f"{words}, but for {self.cells:g} in a thousand by at most {self.by:g}"


EXACTLY = Agreement()


@dataclass(frozen=True)
class Comparison:
    """A stored variable held against the same made again.

    Attributes
    ----------
    variable, where
        What was compared: the name of the variable, and words for the result it belongs to.
    cells, differing
        Number of cells, and of those that differ by more than the tolerance.
    stored, again
        Both values of the cell that differs most; NaN if there are no cells.
    agreement
        How exactly they had to agree.
    outcome
        One of `OUTCOMES`.
    """

    variable: str
    where: str
    cells: int
    differing: int
    stored: float
    again: float
    agreement: Agreement
    outcome: str

    @property
    def difference(self) -> float:
        """The largest difference; NaN where a number stands against none."""
        return self.again - self.stored

    def __str__(self) -> str:
        about = f" of {self.where}" if self.where else ""
        return (
            f"{self.variable}{about}: {self.differing} of {self.cells} numbers differ, the most "
            f"{self.stored:.6g} as stored from {self.again:.6g} as computed here; they must "
            f"{self.agreement}"
        )


def compare(
    variable: str,
    stored: ArrayLike,
    again: ArrayLike,
    agreement: Agreement = EXACTLY,
    where: str = "",
) -> Comparison:
    """Hold stored values against the same made again, cell by cell. NaN agrees with NaN alone.

    Raises
    ------
    ValueError
        If their shapes differ.
    """
    one, two = np.asarray(stored, dtype=np.float64), np.asarray(again, dtype=np.float64)
    if one.shape != two.shape:
        raise ValueError(
            f"expected {variable} of shape {one.shape}, as it is stored; got {two.shape}; the "
            "results are of other settings: compute them again"
        )
    if not one.size:
        return Comparison(variable, where, 0, 0, np.nan, np.nan, agreement, AGREES)
    same = (one == two) | (np.isnan(one) & np.isnan(two))
    with np.errstate(invalid="ignore"):
        size = np.where(same, 0.0, np.abs(two - one))
        allowed = np.maximum(agreement.absolute, agreement.relative * np.abs(one))
    size = np.where(np.isnan(size), np.inf, size)
    differ = ~same & ~(size <= allowed)
    count = int(differ.sum())
    place = np.argmax(np.where(differ, size, -1) if count else size)
    worst = np.unravel_index(int(place), size.shape)
    few = count <= agreement.cells / 1000 * one.size and (size[differ] <= agreement.by).all()
    outcome = AGREES if not count else WITHIN if few else BEYOND
    values = float(one[worst]), float(two[worst])
    return Comparison(variable, where, one.size, count, *values, agreement, outcome)


def worst(comparisons: Iterable[Comparison]) -> str:
    """How all of them together end: as the worst of them, one of `OUTCOMES`."""
    found = {one.outcome for one in comparisons}
    return next(word for word in (*reversed(OUTCOMES[1:]), AGREES) if word in found | {AGREES})


def notes(comparisons: Iterable[Comparison]) -> list[str]:
    """A sentence for each comparison that does not simply agree, the worst first."""
    differing = [one for one in comparisons if one.outcome != AGREES]
    differing.sort(key=lambda one: (one.outcome != BEYOND, -abs(np.nan_to_num(one.difference))))
    return [f"{one}." for one in differing]


def lines(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """One line of a table for each comparison."""
    names = ("variable", "where", "cells", "differing", "stored", "again", "difference", "outcome")
    return [{name: getattr(one, name) for name in names} for one in comparisons]
