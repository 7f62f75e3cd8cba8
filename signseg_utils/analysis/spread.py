"""How an effect is spread over units: which are shown, the exceptions, and what goes with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from signseg_utils.analysis import stats


def evenly_ranked(values: ArrayLike, names: Sequence[str], most: int = 10) -> list[str]:
    """Names of at most ``most`` units from the lowest of ``values [unit]`` to the highest.

    Evenly spaced by rank and both ends among them, so that a panel of images hides no exception.
    """
    order = np.argsort(np.asarray(values))
    places = np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(int)
    return [names[unit] for unit in order[places]]


def how_typical(values: ArrayLike, known: ArrayLike, *, seed: int) -> str:
    """Where the mean of the units that chapter 3 has seen lies among as many drawn at random.

    ``values`` and the mask ``known``: ``[unit]`` (`signseg_utils.analysis.stats`).
    """
    count = int(np.sum(known))
    if not count:
        return "none of these units is of chapter 3"
    rank = stats.rank_among_samples(values, known, seed=seed)
    return f"{rank:.0%} of draws of {count} are at or below the {count} of chapter 3"


def exceptions(effects: Mapping[str, ArrayLike]) -> pd.DataFrame:
    """How many units go against an effect: values below zero, one row for each ``[unit]``."""
    heights = {name: np.asarray(values, dtype=float) for name, values in effects.items()}
    return pd.DataFrame(
        {
            "units below 0": {name: int((own < 0).sum()) for name, own in heights.items()},
            "of": {name: len(own) for name, own in heights.items()},
        }
    )


def correlations(
    predictors: Mapping[str, ArrayLike], effect: ArrayLike
) -> dict[str, stats.Correlation]:
    """Spearman's rho of each predictor ``[unit]`` with an effect ``[unit]``.

    Intervals are corrected for the number of predictors (Bonferroni); p values are not: see
    `correlation_table`. A predictor that lacks a unit's value is left out.
    """
    level = 1 - 0.05 / len(predictors)
    return {
        name: stats.spearman(values, effect, level=level)
        for name, values in predictors.items()
        if np.isfinite(values).all()
    }


def correlation_table(found: Mapping[str, stats.Correlation], tests: int) -> pd.DataFrame:
    """`correlations` as text, a row each; p is corrected for so many ``tests`` (Bonferroni)."""
    rows = {
        name: {
            "rho": f"{rho.value:.2f}",
            "interval": f"{rho.low:.2f} to {rho.high:.2f}",
            "p": f"{min(1, tests * (rho.p or 0)):.2g}",
        }
        for name, rho in found.items()
    }
    return pd.DataFrame(rows).T
