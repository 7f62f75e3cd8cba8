"""What the factors do: differences of means between levels, with intervals and p values."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats as distributions

from signseg_utils.experiments.factorial.design import FACTORS, aliases


@dataclass(frozen=True)
class Effect:
    """Mean at the high level less mean at the low one, with its 95 % t interval.

    ``n`` counts networks; ``p`` is two-sided and not corrected; ``scale`` is the standard error.
    """

    value: float
    low: float
    high: float
    p: float
    n: int
    scale: float
    seed: None = None


def main_effects(
    design: ArrayLike, response: ArrayLike, covariate: ArrayLike | None = None
) -> list[Effect]:
    """Effect of each factor by least squares.

    Parameters
    ----------
    design
        ``[network, factor]`` of -1 and +1.
    response
        ``[network]``.
    covariate
        ``[network]``, such as accuracy: effects are then those at equal covariate. A covariate
        that factors move takes their part with it; what is left is what it does not explain.

    Notes
    -----
    The residual of the model of main effects holds noise between networks and every interaction,
    so intervals are wide where factors interact: 7 degrees of freedom for 16 networks, 8 factors.

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite, or too few networks leave no residual.
    """
    levels, values = np.asarray(design, dtype=float), np.asarray(response, dtype=float)
    if levels.ndim != 2 or values.shape != levels.shape[:1] or not np.isfinite(values).all():
        raise ValueError(
            "expected a design [network, factor] and one finite response for each network; got "
            f"shapes {levels.shape} and {values.shape}; leave no network out: the design would "
            "no longer be balanced"
        )
    model = np.column_stack([np.ones(len(values)), levels])
    if covariate is not None:
        given = np.asarray(covariate, dtype=float)
        model = np.column_stack([model, given - given.mean()])
    freedom = len(values) - model.shape[1]
    if freedom < 1 or np.linalg.matrix_rank(model) < model.shape[1]:
        raise ValueError(
            f"expected more networks than the {model.shape[1]} coefficients, and factors that can "
            f"be told apart; got {len(values)} networks; add a replicate"
        )
    inverse = np.linalg.inv(model.T @ model)
    found = inverse @ model.T @ values
    residual = values - model @ found
    variance = float(residual @ residual) / freedom
    places = range(1, 1 + levels.shape[1])
    return [
        _effect(2 * found[i], 2 * float(np.sqrt(variance * inverse[i, i])), freedom, len(values))
        for i in places
    ]


def paired_effect(differences: ArrayLike) -> Effect:
    """Effect of a factor that was varied within each network: ``differences [network]``."""
    values = np.asarray(differences, dtype=float)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"expected finite differences of 2 networks or more; got {values!r}")
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    return _effect(float(values.mean()), error, len(values) - 1, len(values))


def by_factor(runs: pd.DataFrame, kind: str, covariate: str | None = None) -> dict[str, Effect]:
    """Effect of each factor on one asymmetry, by name; of the gauge, too, without covariate.

    Parameters
    ----------
    runs
        From `signseg_utils.experiments.factorial.table`.
    kind, covariate
        Its columns ``similarity`` or ``presence``, and ``accuracy``.
    """
    given = None if covariate is None else runs[covariate]
    names = [factor.name for factor in FACTORS]
    found = dict(zip(names, main_effects(coded(runs), runs[kind], given), strict=True))
    if covariate is None:
        found["gauge"] = paired_effect((runs[f"{kind}, centred"] - runs[kind]).dropna())
    return found


def coded(runs: pd.DataFrame) -> np.ndarray:
    """Levels of the factors as -1 and +1: ``[network, factor]``."""
    return np.stack([np.where(runs[f.name] == f.high, 1, -1) for f in FACTORS], axis=1)


def strings(design: ArrayLike, response: ArrayLike) -> dict[str, float]:
    """Effect of each string of two-factor interactions: ``{"AB + CG + ...": value}``.

    Parameters
    ----------
    design, response
        As in `main_effects`; the design is this project's (`design.columns`), replicated or not.
    """
    levels, values = np.asarray(design, dtype=float), np.asarray(response, dtype=float)
    letters: Sequence[str] = [factor.letter for factor in FACTORS]
    found = {}
    for names in aliases():
        first, second = (levels[:, letters.index(letter)] for letter in names[0])
        found[" + ".join(names)] = float(2 * (first * second * values).mean())
    return found


def _effect(value: float, error: float, freedom: int, n: int) -> Effect:
    reach = error * float(distributions.t.ppf(0.975, freedom))
    if error == 0:
        p = float(value == 0)
    else:
        p = float(2 * distributions.t.sf(abs(value) / error, freedom))
    return Effect(float(value), float(value - reach), float(value + reach), p, n, error)
