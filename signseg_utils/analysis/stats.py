"""Estimates and tests over units: bootstrap, paired permutation, equivalence, rank correlation.

The unit (a class, a neuron) is the sample. Average seeds and generators within a unit first: runs
of one unit are not independent samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Estimate:
    """A statistic with its interval over ``n`` units; no seed where nothing was drawn."""

    value: float
    low: float
    high: float
    n: int
    seed: int | None
    level: float = 0.95

    def __str__(self) -> str:
        interval = f"{self.level:.0%} interval {self.low:.3g} to {self.high:.3g}"
        return f"{self.value:.3g} ({interval}, n = {self.n})"


@dataclass(frozen=True, eq=False)
class Curve:
    """A statistic at several points, ``[point]`` each, with pointwise bootstrap intervals."""

    value: Array
    low: Array
    high: Array
    n: int
    seed: int
    level: float = 0.95

    def __str__(self) -> str:
        ends = f"{self.value[0]:.3g} to {self.value[-1]:.3g}"
        return f"curve of {len(self.value)} points, {ends} (n = {self.n})"


@dataclass(frozen=True, eq=False)
class SmallerSamples:
    """Means of many random samples of ``size`` from ``n`` units, ``[draw]``, with their intervals.

    ``low`` and ``high`` are what a study of that one sample would have given.
    """

    value: Array
    low: Array
    high: Array
    size: int
    n: int
    seed: int
    level: float = 0.95

    @property
    def above(self) -> float:
        """Share of draws whose whole interval is above zero."""
        return float((self.low > 0).mean())

    @property
    def below(self) -> float:
        """Share of draws whose whole interval is below zero."""
        return float((self.high < 0).mean())

    def __str__(self) -> str:
        low, high = np.quantile(self.value, [(1 - self.level) / 2, (1 + self.level) / 2])
        return (
            f"means of {self.size} of {self.n} units: {self.value.mean():.3g}, "
            f"{self.level:.0%} of them {low:.3g} to {high:.3g}"
        )


@dataclass(frozen=True)
class PermutationTest:
    """Paired sign-flip test of ``mean(a - b)``."""

    difference: float
    p: float
    n: int
    seed: int
    alternative: str
    exact: bool

    def __str__(self) -> str:
        kind = "exact" if self.exact else f"seed {self.seed}"
        return (
            f"difference {self.difference:.3g}, p = {self.p:.2g} "
            f"({self.alternative} paired permutation test, {kind}, n = {self.n})"
        )


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided t-tests: is ``|mean(a - b)|`` below ``margin``?

    ``value`` is the mean difference, ``low`` and ``high`` its 95 % t interval.
    """

    value: float
    low: float
    high: float
    margin: float
    p: float
    n: int
    level: float = 0.05
    seed: None = None

    @property
    def equivalent(self) -> bool:
        """Whether both one-sided tests reject at ``level``."""
        return self.p < self.level

    def __str__(self) -> str:
        word = "equivalent" if self.equivalent else "not shown equivalent"
        return (
            f"{word} within {self.margin:.3g}: difference {self.value:.3g} "
            f"(95% interval {self.low:.3g} to {self.high:.3g}, "
            f"p = {self.p:.2g}, n = {self.n})"
        )


@dataclass(frozen=True)
class Correlation:
    """Rank correlation with bootstrap interval over pairs and permutation p."""

    value: float
    low: float
    high: float
    p: float
    n: int
    seed: int
    level: float = 0.95

    def __str__(self) -> str:
        return (
            f"rho = {self.value:.2f} ({self.level:.0%} interval {self.low:.2f} to {self.high:.2f}, "
            f"p = {self.p:.2g}, n = {self.n})"
        )


def bootstrap(
    values: ArrayLike,
    statistic: Callable[..., Any] = np.mean,
    *,
    seed: int = 0,
    resamples: int = 10_000,
    level: float = 0.95,
) -> Estimate:
    """Statistic of ``values [unit]`` with a percentile bootstrap interval over units.

    ``statistic`` takes ``axis`` (``np.mean``, ``np.median``). With one unit the interval is that
    one value: it then says nothing about other units.
    """
    sample = _sample(values, 1)
    drawn = statistic(sample[_resampled(len(sample), resamples, seed)], axis=1)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    value = float(statistic(sample, axis=0))
    return Estimate(value, float(low), float(high), len(sample), seed, level)


def bootstrap_gap(
    first: ArrayLike, second: ArrayLike, *, seed: int = 0, resamples: int = 10_000
) -> Estimate:
    """Mean of ``first [unit]`` less mean of ``second [unit]``, units of two separate groups.

    The 95 % interval is a percentile bootstrap within each group; ``n`` is the smaller group's.
    """
    one, two = _sample(first, 1), _sample(second, 1)
    drawn = one[_resampled(len(one), resamples, seed)].mean(1)
    other = np.random.default_rng([seed, 1]).integers(0, len(two), (resamples, len(two)))
    low, high = np.quantile(drawn - two[other].mean(1), [0.025, 0.975])
    value = float(one.mean() - two.mean())
    return Estimate(value, float(low), float(high), min(len(one), len(two)), seed)


def from_draws(value: float, draws: ArrayLike, *, n: int, seed: int) -> Estimate:
    """A statistic with the 95 % percentile interval of its bootstrap ``draws [draw]``.

    ``n`` counts the units that were resampled.
    """
    low, high = np.quantile(_sample(draws, 1), [0.025, 0.975])
    return Estimate(float(value), float(low), float(high), n, seed)


def above_chance(observed: float, chance: ArrayLike, *, n: int, seed: int) -> Estimate:
    """A value less its mean under chance ``[draw]``; interval: what 95 % of the draws leave of it.

    The interval is above 0 if the value is above 97.5 % of the draws. ``n`` counts the units behind
    the value, ``seed`` is that of the draws.
    """
    drawn = _sample(chance, 1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(
        observed - float(drawn.mean()), observed - float(high), observed - float(low), n, seed
    )


def bootstrap_cells(
    cells: Mapping[str, ArrayLike], *, seed: int = 0
) -> tuple[dict[str, Estimate], Estimate]:
    """`bootstrap` of each cell ``[unit]``, such as each network, and of each unit's mean over them.

    NaN stands for a unit without a value: it is left out of that cell, and of the mean over cells
    only where no cell has it. A cell without any value is left out.
    """
    values = {name: np.asarray(own, dtype=np.float64) for name, own in cells.items()}
    kept = {name: own for name, own in values.items() if np.isfinite(own).any()}
    if not kept:
        raise ValueError(f"expected a finite value in one of the cells {list(cells)}; got none")
    each = {n: bootstrap(own[np.isfinite(own)], seed=seed) for n, own in kept.items()}
    stacked = np.stack(list(kept.values()))
    some = np.isfinite(stacked).any(0)
    return each, bootstrap(np.nanmean(stacked[:, some], 0), seed=seed)


def share(hits: int, n: int, *, level: float = 0.95) -> Estimate:
    """Share of ``hits`` among ``n`` with its Wilson score interval.

    Wilson 1927, doi:10.1080/01621459.1927.10502953. Unlike a bootstrap it is not empty at 0 or 1.

    >>> print(share(9, 10))
    0.9 (95% interval 0.596 to 0.982, n = 10)
    """
    if not 0 <= hits <= n or n < 1:
        raise ValueError(f"expected 0 <= hits <= n and n of at least 1; got {hits} of {n}")
    interval = stats.binomtest(hits, n).proportion_ci(level, method="wilson")
    return Estimate(hits / n, float(interval.low), float(interval.high), n, None, level)


def share_difference(first: Estimate, second: Estimate) -> Estimate:
    """First less second of two independent shares, each with its Wilson interval (`share`).

    Newcombe 1998, method 10, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I.
    """
    value = first.value - second.value
    below = np.hypot(first.value - first.low, second.high - second.value)
    above = np.hypot(first.high - first.value, second.value - second.low)
    n = min(first.n, second.n)
    return Estimate(value, float(value - below), float(value + above), n, None, first.level)


def bootstrap_curve(
    values: ArrayLike,
    statistic: Callable[..., Any] = np.mean,
    *,
    seed: int = 0,
    resamples: int = 2_000,
    level: float = 0.95,
) -> Curve:
    """Statistic of ``values [unit, point]`` at each point; whole units are resampled, as one."""
    sample = _sample(values, 2)
    drawn = np.stack(
        [statistic(sample[rows], axis=0) for rows in _resampled(len(sample), resamples, seed)]
    )
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Curve(np.asarray(statistic(sample, axis=0)), low, high, len(sample), seed, level)


def smaller_samples(
    values: ArrayLike,
    size: int,
    *,
    seed: int = 0,
    draws: int = 10_000,
    level: float = 0.95,
) -> SmallerSamples:
    """What studies of only ``size`` of the units in ``values [unit]`` would have found.

    Each draw takes ``size`` different units, and gives their mean and its t interval. The t
    interval is for a sample from very many units: of few units of which most were drawn it is
    wider than the means scatter.
    """
    sample = _sample(values, 1)
    if not 2 <= size <= len(sample):
        raise ValueError(
            f"expected a size from 2, because an interval needs a variance, to {len(sample)}, the "
            f"number of units; got {size}"
        )
    rows = np.tile(np.arange(len(sample)), (draws, 1))
    drawn = sample[np.random.default_rng(seed).permuted(rows, axis=1)[:, :size]]
    mean = drawn.mean(1)
    reach = drawn.std(1, ddof=1) / np.sqrt(size) * stats.t.ppf((1 + level) / 2, size - 1)
    return SmallerSamples(mean, mean - reach, mean + reach, size, len(sample), seed, level)


def rank_among_samples(
    values: ArrayLike, chosen: ArrayLike, *, seed: int = 0, draws: int = 10_000
) -> float:
    """Are some units typical? Share of random samples whose mean is at or below that of ``chosen``.

    Parameters
    ----------
    values
        ``[unit]``.
    chosen
        ``[unit]`` bool; samples are as large. NaN where none is chosen.
    """
    sample, mask = _sample(values, 1), np.asarray(chosen, dtype=bool)
    if mask.shape != sample.shape:
        raise ValueError(
            f"expected chosen bool [{len(sample)}], one for each unit; got shape {mask.shape}"
        )
    if not mask.any():
        return float("nan")
    masks = np.tile(mask, (draws, 1))
    drawn = np.random.default_rng(seed).permuted(masks, axis=1) @ sample / mask.sum()
    slack = 1e-12 * float(np.abs(sample).max())  # equal sums in another order count as equal
    return float((drawn <= sample[mask].mean() + slack).mean())


def paired_permutation(
    a: ArrayLike,
    b: ArrayLike,
    *,
    seed: int = 0,
    alternative: str = "two-sided",
    permutations: int = 10_000,
) -> PermutationTest:
    """Test of ``mean(a - b) = 0`` over paired units by flipping signs of differences.

    All ``2^n`` flips where they are no more than ``permutations`` (n up to 13 by default), else a
    seeded sample of them with ``p = (hits + 1) / (permutations + 1)``.
    ``alternative``: ``two-sided``, ``greater`` (a above b) or ``less``.
    """
    if alternative not in ("two-sided", "greater", "less"):
        raise ValueError(
            f"expected alternative 'two-sided', 'greater' or 'less'; got {alternative!r}"
        )
    difference = _paired(a, b)
    n = len(difference)
    exact = n < 63 and 2**n <= permutations
    if exact:
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    else:
        bits = np.random.default_rng(seed).integers(0, 2, (permutations, n))
    means = (1 - 2 * bits) @ difference / n
    observed = float(difference.mean())
    slack = 1e-12 * float(np.abs(difference).max())  # equal sums in another order count as equal
    if alternative == "two-sided":
        hits = int((np.abs(means) >= abs(observed) - slack).sum())
    elif alternative == "greater":
        hits = int((means >= observed - slack).sum())
    else:
        hits = int((means <= observed + slack).sum())
    p = hits / len(means) if exact else (hits + 1) / (permutations + 1)
    return PermutationTest(observed, p, n, seed, alternative, exact)


def equivalence(a: ArrayLike, b: ArrayLike, margin: float, *, level: float = 0.05) -> Equivalence:
    """Two one-sided paired t-tests (TOST): are ``a`` and ``b`` alike within ``margin``?

    ``p`` is the larger of the two; state the margin before looking at the data.
    Schuirmann 1987, doi:10.1007/BF01068419.
    """
    if not margin > 0:
        raise ValueError(
            f"expected a margin above 0, because no data can show a difference of 0; got {margin}"
        )
    difference = _paired(a, b)
    n = len(difference)
    if n < 2:
        raise ValueError("expected at least 2 pairs, because the test needs a variance; got 1")
    mean = float(difference.mean())
    error = float(difference.std(ddof=1)) / np.sqrt(n)
    if error == 0:
        return Equivalence(mean, mean, mean, margin, float(abs(mean) >= margin), n, level)
    above = stats.t.sf((mean + margin) / error, n - 1)  # H0: difference <= -margin
    below = stats.t.cdf((mean - margin) / error, n - 1)  # H0: difference >= margin
    reach = error * stats.t.ppf(0.975, n - 1)
    return Equivalence(
        mean,
        float(mean - reach),
        float(mean + reach),
        margin,
        float(max(above, below)),
        n,
        level,
    )


def detectable(values: ArrayLike, *, power: float = 0.8, level: float = 0.05) -> float:
    """Smallest mean effect that so many units, so spread out, would have shown.

    The effect at which a two-sided t test of ``values [unit]`` against 0, at ``level``, finds it
    with probability ``power``; in the units of ``values``, above 0. It tells what a result that
    shows nothing could have missed.

    Notes
    -----
    Noncentral t with the sample's own standard deviation s: the delta for which
    P(t'(n - 1, delta sqrt(n) / s) > t(1 - level / 2, n - 1)) = power (Cohen 1988, *Statistical
    Power Analysis for the Behavioral Sciences*, chapter 2).

    Raises
    ------
    ValueError
        For fewer than 2 units, because a spread is needed; or a power not above the level.
    """
    sample = _sample(values, 1)
    n = len(sample)
    if n < 2:
        raise ValueError("expected at least 2 units, because power needs a spread; got 1")
    if not 0 < level < power < 1:
        raise ValueError(f"expected 0 < level < power < 1; got level {level}, power {power}")
    error = float(sample.std(ddof=1)) / np.sqrt(n)
    if error == 0:
        return 0.0
    bound = stats.t.ppf(1 - level / 2, n - 1)

    def missing(shift: float) -> float:  # the other tail adds nothing at such a power
        return float(stats.nct.sf(bound, n - 1, shift)) - power

    most = bound
    while missing(most) < 0:
        most *= 1.2
    return error * float(optimize.brentq(missing, 0.0, most))


def spearman(
    x: ArrayLike,
    y: ArrayLike,
    *,
    seed: int = 0,
    resamples: int = 10_000,
    level: float = 0.95,
) -> Correlation:
    """Spearman's rho with a bootstrap interval over pairs and a two-sided permutation p.

    NaN where ``x`` or ``y`` is constant. Resamples in which one is constant have no rho and are
    left out of the interval.
    """
    first, second = _sample(x, 1), _sample(y, 1)
    if len(first) != len(second):
        raise ValueError(f"expected as many x as y; got {len(first)} and {len(second)}")
    n = len(first)
    value = float(_rho(first[None], second[None])[0])
    if np.isnan(value):
        return Correlation(value, value, value, value, n, seed, level)
    rows = _resampled(n, resamples, seed)
    drawn = _rho(first[rows], second[rows])
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    shuffled = np.random.default_rng([seed, 1]).permuted(np.tile(second, (resamples, 1)), axis=1)
    null = _rho(np.broadcast_to(first, shuffled.shape), shuffled)
    p = (int((np.abs(null) >= abs(value) - 1e-12).sum()) + 1) / (resamples + 1)
    return Correlation(value, float(low), float(high), p, n, seed, level)


def spearman_gap(
    x: ArrayLike, y: ArrayLike, z: ArrayLike, *, seed: int = 0, resamples: int = 10_000
) -> Estimate:
    """Spearman's rho of ``x`` with ``y`` less that of ``x`` with ``z``, all ``[item]``.

    The interval is a 95 % bootstrap over items; resamples in which one is constant are left out.
    """
    first, second, third = _sample(x, 1), _sample(y, 1), _sample(z, 1)
    if not len(first) == len(second) == len(third):
        raise ValueError(
            "expected x, y and z of the same items; "
            f"got {len(first)}, {len(second)} and {len(third)}"
        )
    rows = _resampled(len(first), resamples, seed)
    gaps = _rho(first[rows], second[rows]) - _rho(first[rows], third[rows])
    low, high = np.nanquantile(gaps, [0.025, 0.975])
    value = _rho(first[None], second[None]) - _rho(first[None], third[None])
    return Estimate(float(value[0]), float(low), float(high), len(first), seed)


def spearman_over_units(
    x: ArrayLike,
    y: ArrayLike,
    *,
    seed: int = 0,
    resamples: int = 2_000,
    level: float = 0.95,
) -> Correlation:
    """Spearman's rho of ``x [point]`` with ``y [unit, point]`` over all units and points.

    The points of one unit are not independent, so whole units are resampled for the interval, and
    ``x`` is shuffled within units for the p. ``n`` counts units, for they are the sample.
    """
    first, second = _sample(x, 1), _sample(y, 2)
    units, points = second.shape
    if len(first) != points:
        raise ValueError(f"expected y [unit, {len(first)}], one column an x; got {second.shape}")
    levels = np.broadcast_to(first, (units, points))
    value = float(_rho(levels.reshape(1, -1), second.reshape(1, -1))[0])
    if np.isnan(value):
        return Correlation(value, value, value, value, units, seed, level)
    drawn = second[_resampled(units, resamples, seed)].reshape(resamples, -1)
    rhos = _rho(np.broadcast_to(levels.ravel(), drawn.shape), drawn)
    low, high = np.nanquantile(rhos, [(1 - level) / 2, (1 + level) / 2])
    tiled = np.tile(levels, (resamples, 1))
    shuffled = np.random.default_rng([seed, 1]).permuted(tiled, axis=1).reshape(resamples, -1)
    null = _rho(shuffled, np.broadcast_to(second.ravel(), shuffled.shape))
    p = (int((np.abs(null) >= abs(value) - 1e-12).sum()) + 1) / (resamples + 1)
    return Correlation(value, float(low), float(high), p, units, seed, level)


def holm(p: ArrayLike) -> Array:
    """P values ``[test]`` adjusted for their number: the chance of any false alarm stays at level.

    ``max_{j <= i} min(1, (m - j + 1) p_(j))`` of m sorted p values (Holm 1979, Scandinavian
    Journal of Statistics 6, 65-70).

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    values = _sample(p, 1)
    if values.min() < 0 or values.max() > 1:
        raise ValueError(f"expected p values in 0..1; got {values.min()} to {values.max()}")
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def _rho(x: Array, y: Array) -> Array:
    """Spearman's rho of each row of ``x [sample, pair]`` with that of ``y``; ties share ranks."""
    first, second = (stats.rankdata(values, axis=1) for values in (x, y))
    first = first - first.mean(1, keepdims=True)
    second = second - second.mean(1, keepdims=True)
    scale = np.sqrt((first**2).sum(1) * (second**2).sum(1))
    rho = np.divide((first * second).sum(1), scale, out=np.full(len(x), np.nan), where=scale > 0)
    return np.clip(rho, -1.0, 1.0)


def _resampled(n: int, resamples: int, seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Row numbers drawn with replacement, ``[resample, n]``."""
    return np.random.default_rng(seed).integers(0, n, (resamples, n))


def _sample(values: ArrayLike, dims: int) -> Array:
    """The values as float64, checked: as many dimensions as said, at least one unit, no NaN."""
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != dims or len(sample) == 0:
        shape = "[unit]" if dims == 1 else "[unit, point]"
        raise ValueError(f"expected values {shape} of at least one unit; got shape {sample.shape}")
    bad = ~np.isfinite(sample).reshape(len(sample), -1).all(1)
    if bad.any():
        raise ValueError(
            f"expected finite values; got NaN or infinity in units {np.flatnonzero(bad).tolist()}; "
            "leave those units out and say so"
        )
    return sample


def _paired(a: ArrayLike, b: ArrayLike) -> Array:
    """``a - b``, checked to be paired."""
    first, second = _sample(a, 1), _sample(b, 1)
    if len(first) != len(second):
        raise ValueError(
            "expected a and b of equal length, because unit i of one is paired with unit i of the "
            f"other; got {len(first)} and {len(second)}"
        )
    return first - second
