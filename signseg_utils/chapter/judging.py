"""From an effect to a verdict, by the kind of test that was stated (`claims.KINDS`).

The sample of a claim about networks are networks, of units each: its estimate is that of
`signseg_utils.analysis.stats.over_networks`, and of one network trained once it says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from signseg_utils.analysis import stats
from signseg_utils.chapter import claims, ledger
from signseg_utils.chapter.claims import Claim

ONE_NETWORK = "one network of its kind, trained once, does not tell what another would give"
UNINFORMATIVE = "uninformative: the other condition passes the same test of equivalence"


@dataclass(frozen=True)
class Measurement:
    """What came out for a claim.

    Attributes
    ----------
    verdict
        One of `signseg_utils.chapter.ledger.VERDICTS`.
    value, low, high, n, seed, units, p, detectable
        Of the ledger's line; None where there is none.
    cells
        Name of each network (or other cell) to its estimate; one without a name where the claim
        is not about each.
    holding
        In how many cells the claim holds.
    why
        Why there is no verdict, where the effect was measured all the same.
    """

    verdict: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    seed: int | None = None
    units: int | None = None
    p: float | None = None
    detectable: float | None = None
    cells: Mapping[str, Any] = field(default_factory=dict)
    holding: int = 0
    why: str = ""


def judge(
    stated: Claim,
    effect: Any,
    fields: Mapping[str, Any],
    *,
    p: float = 0.0,
    together: Any = None,
    other: Any = None,
) -> Measurement:
    """Measure a claim; ``effect`` as `signseg_utils.chapter.Chapter.claim` takes it."""
    if effect is None:
        return Measurement("not testable")
    if stated.kind in ("at least", "none"):
        found = _bare(stated, float(effect), fields)
    else:
        found = _measured(stated, effect, fields, p=p, together=together)
    if other is not None and _alike(other, stated.number("margin", fields)).equivalent:
        found = replace(found, verdict="not testable", why=UNINFORMATIVE)
    if stated.role == "arithmetic" and found.cells and found.holding == len(found.cells):
        found = replace(found, verdict="arithmetic")
    return found


def _measured(
    stated: Claim, effect: Any, fields: Mapping[str, Any], *, p: float, together: Any
) -> Measurement:
    margin = stated.number("margin", fields)
    kind = stated.kind.removesuffix(claims.EACH).removesuffix(claims.OVER)
    if kind == "number":
        expected = _needed(stated.number("expected", fields))

        def verdict(found: Any) -> str:
            return ledger.judge_number(found, expected, _needed(margin))

        def p_of(found: Any) -> float | None:
            within = getattr(found, "p_within", None)
            return None if within is None else within(_needed(margin), expected)
    elif kind == "alike":

        def verdict(found: Any) -> str:
            return ledger.judge_alike(found)

        p_of = _p
    else:
        side = claims.SIDES[stated.expected]

        def verdict(found: Any) -> str:
            return ledger.judge_direction(found, side, margin, p=p)

        p_of = _p
    one = _alike if kind == "alike" else _estimate
    if not stated.over_networks:
        found = one(effect, margin)
        return _line(found, verdict(found), p_of(found), {"": found})
    parts = [by_cell(own) for own in (effect if kind == "alike" else (effect,))]
    values = {name: tuple(part[name] for part in parts) for name in parts[0]}
    values = {name: own for name, own in values.items() if all(map(_there, own))}
    cells = {n: one(own if kind == "alike" else own[0], margin) for n, own in values.items()}
    each = [verdict(cell) for cell in cells.values()]
    if together is None:
        tables = [_by_network(own) for own in (effect if kind == "alike" else (effect,))]
        together = one(tuple(tables), margin) if kind == "alike" else _over_networks(tables[0])
    told = verdict(together)
    if stated.kind.endswith(claims.EACH):
        told = ledger.agreed(each, told)
    found = _line(together, told, p_of(together), cells, each.count("replicated"))
    if together.units is not None and together.n < 2 and stated.role != "arithmetic":
        (only,) = cells.values()
        found = replace(_line(only, "not testable", None, cells), why=ONE_NETWORK)
    return found


def by_cell(values: Any) -> dict[str, Any]:
    """Values ``[network, ..., unit]`` by cell: by network, or network and further dimensions.

    Values ``[network]`` and estimates by name stay as they are.
    """
    if isinstance(values, Mapping):
        return {str(name): own for name, own in values.items()}
    if not hasattr(values, "dims"):
        return {str(place): row for place, row in enumerate(np.asarray(values))}
    stacked = values.transpose("network", ..., "unit", missing_dims="ignore")
    names = [""]
    dims = [dim for dim in stacked.dims if dim != "unit"]
    for dim in dims:
        labels = [str(label) for label in stacked[dim].values]
        names = [f"{name} {label}".strip() for name in names for label in labels]
    rows = stacked.values.reshape(len(names), *stacked.shape[len(dims) :])
    return dict(zip(names, rows, strict=True))


def _there(own: Any) -> bool:
    """Whether a cell has an estimate, or any value."""
    return hasattr(own, "value") or bool(np.isfinite(np.asarray(own, dtype=float)).any())


def _by_network(values: Any) -> Any:
    """The table ``[network, unit]`` of what `by_cell` takes: means over further dimensions."""
    if isinstance(values, Mapping):
        own = list(values.values())
        if all(hasattr(one, "value") for one in own):
            return np.array([one.value for one in own])
        return np.stack([np.asarray(one, dtype=float) for one in own])
    if not hasattr(values, "dims"):
        return np.asarray(values, dtype=float)
    kept = [dim for dim in ("network", "unit") if dim in values.dims]
    return values.mean([dim for dim in values.dims if dim not in kept]).transpose(*kept).values


def _estimate(effect: Any, margin: float | None = None) -> Any:
    """An estimate as it is; of values ``[unit]`` or ``[network, unit]`` their mean."""
    if hasattr(effect, "low"):
        return effect
    values = np.asarray(effect, dtype=float)
    if values.ndim == 0:
        return stats.Estimate(float(values), float(values), float(values), 1)
    return stats.mean(values[np.isfinite(values)]) if values.ndim == 1 else _over_networks(values)


def _over_networks(values: np.ndarray) -> stats.Estimate:
    """Over networks, and over units that one of them has."""
    kept = np.isfinite(values)
    if values.ndim == 1:
        return stats.over_networks(values[kept])
    return stats.over_networks(values[kept.any(1)][:, kept.any(0)])


def _alike(pair: Any, margin: float | None) -> stats.Equivalence:
    """The result of an equivalence test as it is, or the test of two measures."""
    if isinstance(pair, stats.Equivalence):
        return pair
    first, second = (np.asarray(own, dtype=float) for own in pair)
    return stats.equivalence(first, second, _needed(margin))


def _bare(stated: Claim, value: float, fields: Mapping[str, Any]) -> Measurement:
    """A number without an interval."""
    verdict = "not testable"
    if stated.kind == "at least":
        reached = value >= _needed(stated.number("expected", fields))
        verdict = "replicated" if reached else "differs"
    return Measurement(verdict, value if np.isfinite(value) else None, n=fields.get("n"))


def _line(
    found: Any, verdict: str, p: float | None, cells: Mapping[str, Any], holding: int | None = None
) -> Measurement:
    if holding is None:
        holding = int(verdict == "replicated")
    return Measurement(
        verdict,
        found.value,
        found.low,
        found.high,
        found.n,
        seed=found.seed,
        units=getattr(found, "units", None),
        p=p,
        detectable=getattr(found, "detectable", None),
        cells=cells,
        holding=holding,
    )


def _p(found: Any) -> float | None:
    return getattr(found, "p", None)


def _needed(number: float | None) -> float:
    if number is None:  # `claims` refuses such rows
        raise ValueError("expected a number in the claim's row; got none")
    return number


def shown_cells(cells: Mapping[str, Any]) -> Sequence[ledger.Cell]:
    """Cells of a ledger's line, where there are several."""
    if len(cells) < 2:
        return ()
    return tuple(
        ledger.Cell(name, float(own.value), float(own.low), float(own.high), int(own.n))
        for name, own in cells.items()
    )
