"""From an effect to a verdict, by the kind of test that was stated (`claims.KINDS`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from signseg_utils.analysis import stats
from signseg_utils.chapter import claims, ledger
from signseg_utils.chapter.claims import Claim


@dataclass(frozen=True)
class Measurement:
    """What came out for a claim.

    Attributes
    ----------
    verdict
        One of `signseg_utils.chapter.ledger.VERDICTS`.
    value, low, high, n, seed
        Of the ledger's line; None where there is none.
    cells
        Name of each network (or other cell) to its estimate; one without a name where the claim
        is not about each.
    holding
        In how many cells the claim holds.
    effect
        What text may ask for more, such as ``{effect.p}``: the result of an equivalence test, or
        the `Sample` of a direction.
    """

    verdict: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    seed: int | None = None
    cells: Mapping[str, Any] = field(default_factory=dict)
    holding: int = 0
    effect: Any = None


@dataclass(frozen=True)
class Sample:
    """Values ``[unit]`` of a direction; what else is told of them is computed when text asks."""

    values: Any
    seed: int

    @property
    def p(self) -> float:
        """Of a permutation test of a mean of 0 (`signseg_utils.analysis.stats`)."""
        values = np.asarray(self.values)
        return stats.paired_permutation(values, 0 * values, seed=self.seed).p

    @property
    def power(self) -> float:
        """The smallest mean that so many units would have shown four times in five."""
        return stats.detectable(self.values) if len(self.values) > 1 else np.inf


def judge(
    stated: Claim, effect: Any, fields: Mapping[str, Any], *, seed: int, p: float = 0.0,
    together: Any = None,
) -> Measurement:
    """Measure a claim; ``effect`` as `signseg_utils.chapter.Chapter.claim` takes it."""
    kind = stated.kind
    if effect is None:
        return Measurement("not testable")
    if kind in ("at least", "none"):
        return _bare(stated, float(effect), fields)
    margin = stated.number("margin", fields)
    if kind == "number":
        found = estimate(effect, seed)
        expected = _needed(stated.number("expected", fields))
        return _one(found, ledger.judge_number(found, expected, _needed(margin)))
    if kind == "alike":
        alike = _alike(effect, margin)
        return _one(alike, ledger.judge_alike(alike), alike)
    if kind == "alike in each":
        first, second = (by_cell(values) for values in effect)
        each = {name: _alike((first[name], second[name]), margin) for name in first}
        means = [np.mean(list(values.values()), 0) for values in (first, second)]
        verdicts = [ledger.judge_alike(cell) for cell in each.values()]
        return _each(each, verdicts, together or _alike(means, margin))
    side = claims.SIDES[stated.expected]
    if kind == "direction":
        found = estimate(effect, seed)
        more = found if effect is found else Sample(effect, seed)
        return _one(found, ledger.judge_direction(found, side, margin, p=p), more)
    values = by_cell(effect)
    each = {name: estimate(own, seed) for name, own in values.items()}
    verdicts = [ledger.judge_direction(cell, side, margin, p=p) for cell in each.values()]
    if together is None:
        together = stats.bootstrap(np.mean(list(values.values()), 0), seed=seed)
    return _each(each, verdicts, together)


def estimate(effect: Any, seed: int) -> Any:
    """An estimate as it is; of values ``[unit]`` their mean with its bootstrap interval."""
    return effect if hasattr(effect, "low") else stats.bootstrap(effect, seed=seed)


def by_cell(values: Any) -> dict[str, Any]:
    """Values ``[network, ..., unit]`` by cell: by network, or network and further dimensions."""
    if isinstance(values, Mapping):
        return {str(name): own for name, own in values.items()}
    if not hasattr(values, "dims"):
        return {str(place): row for place, row in enumerate(np.asarray(values))}
    stacked = values.transpose("network", ..., "unit")
    names = [""]
    for dim in stacked.dims[:-1]:
        labels = [str(label) for label in stacked[dim].values]
        names = [f"{name} {label}".strip() for name in names for label in labels]
    return dict(zip(names, stacked.values.reshape(len(names), -1), strict=True))


def _bare(stated: Claim, value: float, fields: Mapping[str, Any]) -> Measurement:
    """A number without an interval."""
    verdict = "not testable"
    if stated.kind == "at least":
        reached = value >= _needed(stated.number("expected", fields))
        verdict = "replicated" if reached else "not replicated"
    return Measurement(verdict, value if np.isfinite(value) else None, n=fields.get("n"))


def _one(found: Any, verdict: str, effect: Any = None) -> Measurement:
    return Measurement(
        verdict, found.value, found.low, found.high, found.n, found.seed, {"": found},
        effect=effect,
    )  # fmt: skip


def _each(each: Mapping[str, Any], verdicts: list[str], together: Any) -> Measurement:
    return Measurement(
        ledger.agreed(verdicts), together.value, together.low, together.high, together.n,
        together.seed, each, verdicts.count("replicated"),
    )  # fmt: skip


def _alike(pair: Any, margin: float | None) -> stats.Equivalence:
    """The result of an equivalence test as it is, or the test of two measures ``[unit]``."""
    if isinstance(pair, stats.Equivalence):
        return pair
    first, second = pair
    return stats.equivalence(first, second, _needed(margin))


def _needed(number: float | None) -> float:
    if number is None:  # `claims` refuses such rows
        raise ValueError("expected a number in the claim's row; got none")
    return number
