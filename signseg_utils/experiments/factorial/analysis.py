"""What factors do, alone and in pairs: differences of means between levels, with intervals."""

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
    so intervals are wide where factors interact: 54 degrees of freedom for 64 networks, 9 factors.

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite, or too few networks leave no residual.
    """
    levels, values = _checked(design, response)
    model = np.column_stack([np.ones(len(values)), levels])
    if covariate is not None:
        given = np.asarray(covariate, dtype=float)
        model = np.column_stack([model, given - given.mean()])
    twice = 2 * np.eye(model.shape[1])[1 : 1 + levels.shape[1]]
    return _contrasts(model, values, twice)


def interactions(design: ArrayLike, response: ArrayLike) -> dict[str, Effect]:
    """Effect of each interaction of two factors that the design tells apart, the largest first.

    Half the difference that one factor makes to the effect of the other. Where the design cannot
    tell some apart the name holds them all: ``AD + GH``.

    Parameters
    ----------
    design, response
        As in `main_effects`; the design is this project's (`design.columns`), replicated or not.
    """
    levels, values = _checked(design, response)
    letters: Sequence[str] = [factor.letter for factor in FACTORS]
    strings = aliases()
    pairs = [levels[:, [letters.index(one) for one in names[0]]].prod(1) for names in strings]
    model = np.column_stack([np.ones(len(values)), levels, *pairs])
    twice = 2 * np.eye(model.shape[1])[1 + levels.shape[1] :]
    found = zip(strings, _contrasts(model, values, twice), strict=True)
    named = {" + ".join(names): effect for names, effect in found}
    return dict(sorted(named.items(), key=lambda item: -abs(item[1].value)))


def neither(design: ArrayLike, response: ArrayLike, first: str, second: str) -> Effect:
    """Mean where one of two factors or both are high, less the mean where neither is.

    Parameters
    ----------
    first, second
        Letters of the factors. Beside all main effects the model holds their interaction.
    """
    levels, values = _checked(design, response)
    letters = [factor.letter for factor in FACTORS]
    one, other = letters.index(first), letters.index(second)
    model = np.column_stack([np.ones(len(values)), levels, levels[:, one] * levels[:, other]])
    contrast = np.zeros((1, model.shape[1]))
    contrast[0, [1 + one, 1 + other, -1]] = np.array([1, 1, -1]) * 4 / 3
    return _contrasts(model, values, contrast)[0]


def _checked(design: ArrayLike, response: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    levels, values = np.asarray(design, dtype=float), np.asarray(response, dtype=float)
    if levels.ndim != 2 or values.shape != levels.shape[:1] or not np.isfinite(values).all():
        raise ValueError(
            "expected a design [network, factor] and one finite response for each network; got "
            f"shapes {levels.shape} and {values.shape}; leave no network out: the design would "
            "no longer be balanced"
        )
    return levels, values


def _contrasts(model: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> list[Effect]:
    """Sums of coefficients, ``wanted [contrast, coefficient]``, of a fit by least squares."""
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
    errors = np.sqrt(variance * np.einsum("ij,jk,ik->i", wanted, inverse, wanted))
    return [
        _effect(value, float(error), freedom, len(values))
        for value, error in zip((wanted @ found).tolist(), errors, strict=True)
    ]


def over_networks(values: ArrayLike) -> Effect:
    """Mean over networks ``[network]``: of a response, or of what was varied within each."""
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"expected finite values of 2 networks or more; got {values!r}")
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    return _effect(float(values.mean()), error, len(values) - 1, len(values))


def by_factor(runs: pd.DataFrame, kind: str, covariate: str | None = None) -> dict[str, Effect]:
    """Effect of each factor on one response, by name; of the gauge, too, without covariate.

    Parameters
    ----------
    runs
        From `signseg_utils.experiments.factorial.table`.
    kind, covariate
        Its columns: one of `signseg_utils.experiments.factorial.KINDS` or ``accuracy``, and
        ``accuracy``.
    """
    given = None if covariate is None else runs[covariate]
    names = [factor.name for factor in FACTORS]
    found = dict(zip(names, main_effects(coded(runs), runs[kind], given), strict=True))
    if covariate is None and f"{kind}, centred" in runs:
        found["gauge"] = over_networks((runs[f"{kind}, centred"] - runs[kind]).dropna())
    return found


def coded(runs: pd.DataFrame) -> np.ndarray:
    """Levels of the factors as -1 and +1: ``[network, factor]``."""
    return np.stack([np.where(runs[f.name] == f.high, 1, -1) for f in FACTORS], axis=1)


def _effect(value: float, error: float, freedom: int, n: int) -> Effect:
    reach = error * float(distributions.t.ppf(0.975, freedom))
    if error == 0:
        p = float(value == 0)
    else:
        p = float(2 * distributions.t.sf(abs(value) / error, freedom))
    return Effect(float(value), float(value - reach), float(value + reach), p, n, error)
