"""Estimates and tests over units and networks: means, equivalence, ranks, shares, multiplicity.

The unit (a class, a neuron) is the sample of a claim about units. Average seeds and generators
within a unit first: runs of one unit are not independent samples. A claim about networks needs
networks: `over_networks`.

SciPy and statsmodels compute what they have. Their own here is `over_networks`, for neither has
an interval for the mean of a table that is crossed, networks by units, and holds three networks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.special import stdtr, stdtrit
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    test_proportions_2indep,
)
from statsmodels.stats.weightstats import ttost_paired

Array = np.ndarray[Any, np.dtype[np.float64]]

# What "could have been seen" means: found with this probability by a two-sided test at .05.
POWER = 0.8


@dataclass(frozen=True)
class Estimate:
    """A statistic with its interval over ``n`` units, or networks; no seed if nothing was drawn.

    Attributes
    ----------
    value, low, high, level
        The interval is of this level.
    n
        Size of the sample: units, or networks where ``units`` is told.
    seed
        Of what was drawn.
    p
        Two-sided, of a value of 0; None where no test goes with the interval.
    units
        In each network, where networks are the sample; else None.
    error, freedom
        Standard error and degrees of freedom of a t interval; else None.
    """

    value: float
    low: float
    high: float
    n: int
    seed: int | None = None
    level: float = 0.95
    p: float | None = None
    units: int | None = None
    error: float | None = None
    freedom: float | None = None

    @property
    def detectable(self) -> float:
        """Size of an effect that would have been seen: with a power of `POWER`, at .05."""
        freedom = self.freedom or max(self.n - 1, 1)
        first, second = stats.t.ppf([0.975, POWER], freedom)
        error = self.error
        if error is None:
            reach = stats.t.ppf((1 + self.level) / 2, freedom)
            error = (self.high - self.low) / 2 / reach
        return float((first + second) * error)

    def p_within(self, margin: float, of: float = 0.0) -> float | None:
        """P of two one-sided t tests (TOST): is it within ``margin`` of a number?"""
        if self.error is None or self.freedom is None:
            return None
        apart = self.value - of
        if self.error == 0:
            return float(abs(apart) >= margin)
        above = stats.t.sf((apart + margin) / self.error, self.freedom)
        return float(max(above, stats.t.cdf((apart - margin) / self.error, self.freedom)))

    def __str__(self) -> str:
        interval = f"{self.level:.0%} interval {self.low:.3g} to {self.high:.3g}"
        units = "" if self.units is None else f" networks of {self.units} units"
        return f"{self.value:.3g} ({interval}, n = {self.n}{units})"


@dataclass(frozen=True, eq=False)
class Curve:
    """A mean at several points, ``[point]`` each, with pointwise t intervals."""

    value: Array
    low: Array
    high: Array
    n: int
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
class Equivalence:
    """Two one-sided t-tests: is ``|mean(a - b)|`` below ``margin``?

    ``value`` is the mean difference, ``low`` and ``high`` its 95 % t interval; ``n`` and ``units``
    are those of an `Estimate`.
    """

    value: float
    low: float
    high: float
    margin: float
    p: float
    n: int
    level: float = 0.05
    seed: None = None
    units: int | None = None

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
class Correlation(Estimate):
    """Spearman's rank correlation with its interval and two-sided p."""

    def __str__(self) -> str:
        p = "" if self.p is None else f"p = {self.p:.2g}, "
        return (
            f"rho = {self.value:.2f} ({self.level:.0%} interval {self.low:.2f} to {self.high:.2f}, "
            f"{p}n = {self.n})"
        )


# ---------------------------------------------------------------- means


def mean(values: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Mean of ``values [unit]`` with its t interval and the p of a mean of 0.

    In simulations it holds the true mean in 94 to 95 % of samples of 6 to 30 that are normal or of
    a skewness of 1; the percentile bootstrap in 84 to 93 %, BCa in 84 to 93 %. Of exponential
    samples (skewness 2) of 6 to 20 it holds 88 to 92 %. With one unit the interval is that one
    value: it then says nothing about other units.
    """
    sample = _sample(values, 1)
    n = len(sample)
    if n == 1:
        return Estimate(float(sample[0]), float(sample[0]), float(sample[0]), 1, level=level)
    error = float(sample.std(ddof=1) / np.sqrt(n))
    return _t_interval(float(sample.mean()), error, n - 1, n, level)


def over_networks(values: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Mean of ``values [network, unit]``, or ``[network]``, over networks *and* units.

    The interval is for other networks of the kind and other units: a unit that is high in one
    network is often high in the next, and a network is high in all its units, so neither all cells
    nor one way of averaging are a sample. NaN stands for a unit that a network lacks.

    Notes
    -----
    Two-way random effects, networks crossed with units (Searle, Casella & McCulloch 1992,
    *Variance Components*, chapter 4): the variance of the mean is (MS_network + MS_unit -
    MS_residual) / (N U), at least MS_residual / (N U); its degrees of freedom are Satterthwaite's
    (1946, doi:10.2307/3002019). Resampling networks, then units, cannot do it with three or five
    networks: in simulations that interval holds the truth in 75 to 90 % of cases, this one in 93
    to 97 %, and more where networks and units differ in nothing but noise.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim == 1:
        found = mean(table, level=level)
        return _as_networks(found, 1)
    _check_table(table)
    networks, units = table.shape
    by_network, by_unit = np.nanmean(table, 1), np.nanmean(table, 0)
    value = float(by_network.mean())
    if networks == 1:
        alone = mean(table[0][np.isfinite(table[0])], level=level)
        return replace(alone, n=1, units=units, p=None)
    if units == 1:
        return _as_networks(mean(table[:, 0], level=level), 1)
    residual = table - by_network[:, None] - by_unit + value
    free = np.array([networks - 1, units - 1, np.isfinite(table).sum() - networks - units + 1])
    cells = np.isfinite(table).sum() / np.array([networks, units])  # units a network, and so on
    squares = np.array(
        [
            cells[0] * by_network.var(ddof=1),
            cells[1] * by_unit.var(ddof=1),
            np.nansum(residual**2) / max(free[2], 1),
        ]
    )
    summed = max(squares[0] + squares[1] - squares[2], squares[2])
    total = float(np.isfinite(table).sum())
    spread = (squares**2 / np.maximum(free, 1)).sum()
    freedom = max(float(summed**2 / spread), 1.0) if spread > 0 else float(free[0])
    found = _t_interval(value, float(np.sqrt(summed / total)), freedom, networks, level)
    return _as_networks(found, units)


def trimmed(values: ArrayLike, share: float = 0.2, *, level: float = 0.95) -> Estimate:
    """Mean of ``values [unit]`` without the lowest and highest ``share``: for heavy tails.

    Interval and p by Tukey & McLaughlin 1963 (Sankhya A 25, 331-352), a t interval with the
    winsorised variance; SciPy's `scipy.stats.mstats.trimmed_mean_ci`.
    """
    sample = _sample(values, 1)
    limits = (share, share)
    value = float(stats.mstats.trimmed_mean(sample, limits))
    freedom = len(sample) - 2 * int(share * len(sample)) - 1
    if freedom < 1:
        raise ValueError(
            f"expected units that are left when {share:.0%} go at either end; got {len(sample)}"
        )
    error = float(stats.mstats.trimmed_stde(sample, limits))
    return _t_interval(value, error, freedom, len(sample), level)


def median(values: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Median of ``values [unit]`` with the interval between two of them, which needs no bootstrap.

    Of the units in order, the lower end is the highest that lies above the median in at most
    ``(1 - level) / 2`` of samples (Conover 1999, *Practical Nonparametric Statistics*, chapter 3);
    the upper end mirrors it. It also holds for whole numbers, where the bootstrap of a median does
    not. Of fewer than 6 units, at .95, all of them.
    """
    sample = np.sort(_sample(values, 1))
    n = len(sample)
    below = int(stats.binom.ppf((1 - level) / 2, n, 0.5))
    low, high = sample[max(below - 1, 0)], sample[min(n - below, n - 1)]
    return Estimate(float(np.median(sample)), float(low), float(high), n, level=level)


def bootstrap(
    values: ArrayLike,
    statistic: Callable[..., Any] = np.mean,
    *,
    seed: int = 0,
    resamples: int = 10_000,
    level: float = 0.95,
) -> Estimate:
    """Statistic of ``values [unit]`` with its BCa interval over units, by SciPy.

    ``statistic`` takes ``axis`` (``np.mean``, ``np.median``). Of fewer than 30 units the interval
    is too narrow (see `mean`, which is for means).
    """
    sample = _sample(values, 1)
    return _bca((sample,), statistic, seed=seed, resamples=resamples, level=level)


def gap(first: ArrayLike, second: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Mean of ``first [unit]`` less mean of ``second [unit]``, units of two separate groups.

    Welch's t interval, by SciPy, for groups may scatter unlike; ``n`` is the smaller group's.
    """
    one, two = _sample(first, 1), _sample(second, 1)
    value, n = float(one.mean() - two.mean()), min(len(one), len(two))
    if n < 2 or not (np.ptp(one) or np.ptp(two)):
        return Estimate(value, value, value, n, level=level)
    found = stats.ttest_ind(one, two, equal_var=False)
    low, high = found.confidence_interval(level)
    error = float(np.hypot(stats.sem(one), stats.sem(two)))
    return Estimate(
        value,
        float(low),
        float(high),
        n,
        level=level,
        p=float(found.pvalue),
        error=error,
        freedom=float(found.df),
    )


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


# ---------------------------------------------------------------- shares


def share(hits: int, n: int, *, level: float = 0.95) -> Estimate:
    """Share of ``hits`` among ``n`` with its Wilson score interval.

    Wilson 1927, doi:10.1080/01621459.1927.10502953. Unlike a bootstrap it is not empty at 0 or 1.

    >>> print(share(9, 10))
    0.9 (95% interval 0.596 to 0.982, n = 10)
    """
    if not 0 <= hits <= n or n < 1:
        raise ValueError(f"expected 0 <= hits <= n and n of at least 1; got {hits} of {n}")
    low, high = proportion_confint(hits, n, 1 - level, method="wilson")
    return Estimate(hits / n, float(low), float(high), n, None, level)


def share_difference(first: Estimate, second: Estimate) -> Estimate:
    """First less second of two independent shares (`share`), by Newcombe's method 10.

    Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I; p is that
    of the score test.
    """
    counts = (round(first.value * first.n), first.n, round(second.value * second.n), second.n)
    low, high = confint_proportions_2indep(*counts, method="newcomb", alpha=1 - first.level)
    p = float(test_proportions_2indep(*counts, method="score").pvalue)
    value, n = first.value - second.value, min(first.n, second.n)
    return Estimate(value, float(low), float(high), n, None, first.level, p)


# ---------------------------------------------------------------- curves and smaller studies


def mean_curve(values: ArrayLike, *, trim: float = 0.0, level: float = 0.95) -> Curve:
    """Mean of ``values [unit, point]`` at each point with its interval, as `mean` has it.

    With ``trim``, without so large a share of units at either end, as `trimmed` has it.
    """
    sample = _sample(values, 2)
    points = [
        trimmed(own, trim, level=level) if trim else mean(own, level=level) for own in sample.T
    ]
    ends = np.array([(one.value, one.low, one.high) for one in points]).T
    return Curve(ends[0], ends[1], ends[2], len(sample), level)


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


# ---------------------------------------------------------------- tests


def equivalence(a: ArrayLike, b: ArrayLike, margin: float, *, level: float = 0.05) -> Equivalence:
    """Two one-sided paired t-tests (TOST): are ``a`` and ``b`` alike within ``margin``?

    ``a`` and ``b`` ``[unit]``, or ``[network, unit]``: then over networks and units, see
    `over_networks`. ``p`` is the larger of the two; state the margin before looking at the data.
    Schuirmann 1987, doi:10.1007/BF01068419.
    """
    if not margin > 0:
        raise ValueError(
            f"expected a margin above 0, because no data can show a difference of 0; got {margin}"
        )
    if np.ndim(a) == 2:
        found = over_networks(np.asarray(a, dtype=float) - np.asarray(b, dtype=float))
        p = found.p_within(margin)
    else:
        difference = _paired(a, b)
        if len(difference) < 2:
            raise ValueError("expected at least 2 pairs, because the test needs a variance; got 1")
        found = mean(difference)
        if found.error == 0:
            p = found.p_within(margin)
        else:
            p = float(ttost_paired(difference, np.zeros(len(difference)), -margin, margin)[0])
    p = 1.0 if p is None else p
    return Equivalence(
        found.value, found.low, found.high, margin, p, found.n, level, units=found.units
    )


def detectable(values: ArrayLike, *, power: float = POWER, level: float = 0.05) -> float:
    """Smallest mean effect that so many units, so spread out, would have shown.

    The effect at which a two-sided t test of ``values [unit]`` against 0, at ``level``, finds it
    with probability ``power``, by statsmodels; in the units of ``values``, above 0. It tells what a
    result that shows nothing could have missed.

    Raises
    ------
    ValueError
        For fewer than 2 units, because a spread is needed; or a power not above the level.
    """
    sample = _sample(values, 1)
    if len(sample) < 2:
        raise ValueError("expected at least 2 units, because power needs a spread; got 1")
    if not 0 < level < power < 1:
        raise ValueError(f"expected 0 < level < power < 1; got level {level}, power {power}")
    spread = float(sample.std(ddof=1))
    if spread == 0:
        return 0.0
    sizes = TTestPower().solve_power(None, nobs=len(sample), alpha=level, power=power)
    return spread * float(sizes)


def holm(p: ArrayLike) -> Array:
    """P values ``[test]`` adjusted for their number: the chance of any false alarm stays at level.

    Holm 1979, Scandinavian Journal of Statistics 6, 65-70, by statsmodels.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    values = _sample(p, 1)
    if values.min() < 0 or values.max() > 1:
        raise ValueError(f"expected p values in 0..1; got {values.min()} to {values.max()}")
    return np.asarray(multipletests(values, method="holm")[1])


# ---------------------------------------------------------------- ranks


def spearman(x: ArrayLike, y: ArrayLike, *, level: float = 0.95) -> Correlation:
    """Spearman's rho with its interval by Bonett & Wright, and the p of SciPy.

    Fisher's interval with the standard error ``sqrt((1 + rho^2 / 2) / (n - 3))`` of arctanh rho
    (Bonett & Wright 2000, Psychometrika 65, 23-28): in simulations of 10 to 64 pairs it holds the
    truth in 94 to 97 % of cases, Fisher's own, which SciPy has, in as few as 91 % where rho is .8.
    NaN where ``x`` or ``y`` is constant.
    """
    first, second = _sample(x, 1), _sample(y, 1)
    if len(first) != len(second):
        raise ValueError(f"expected as many x as y; got {len(first)} and {len(second)}")
    n = len(first)
    if n < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return Correlation(np.nan, np.nan, np.nan, n, level=level)
    found = stats.spearmanr(first, second)
    value = float(found.statistic)
    if n < 4:  # any rho is within the interval of so few
        return Correlation(value, -1.0, 1.0, n, level=level)
    value = float(np.clip(value, -1 + 1e-12, 1 - 1e-12))
    reach = stats.norm.ppf((1 + level) / 2) * np.sqrt((1 + value**2 / 2) / (n - 3))
    low, high = np.tanh(np.arctanh(value) + np.array([-reach, reach]))
    return Correlation(value, float(low), float(high), n, level=level, p=float(found.pvalue))


def spearman_gap(
    x: ArrayLike, y: ArrayLike, z: ArrayLike, *, seed: int = 0, resamples: int = 10_000
) -> Estimate:
    """Spearman's rho of ``x`` with ``y`` less that of ``x`` with ``z``, all ``[item]``.

    BCa interval over items, by SciPy.
    """
    samples = _sample(x, 1), _sample(y, 1), _sample(z, 1)
    sizes = [len(sample) for sample in samples]
    if len(set(sizes)) > 1:
        raise ValueError(
            f"expected x, y and z of the same items; got {sizes[0]}, {sizes[1]} and {sizes[2]}"
        )

    def gap(one: Array, two: Array, three: Array, axis: int = -1) -> Array:
        shape = one.shape[:-1]
        rows = [np.atleast_2d(values) for values in (one, two, three)]
        return np.reshape(_rho(rows[0], rows[1]) - _rho(rows[0], rows[2]), shape)

    return _bca(samples, gap, seed=seed, resamples=resamples, level=0.95, paired=True)


def rho_over_networks(x: ArrayLike, y: ArrayLike) -> Correlation:
    """Spearman's rho of ``x [network]`` with ``y [network, unit]``, over all networks and units.

    The interval is `over_networks`, of the pseudo-values of rho, for cells of one network, or of
    one unit, are not independent: each cell counts as rho plus its influence on it, ``z_x z_y - rho
    (z_x^2 + z_y^2) / 2`` of standardised ranks (Devlin, Gnanadesikan & Kettenring 1975,
    doi:10.1093/biomet/62.3.531). Ends are taken on the scale of arctanh rho, with one degree of
    freedom less. In simulations of 18 and 30 networks it holds the truth in 92 to 97 % of cases,
    more where networks have no level of their own; of 6 networks that differ in little else, in 89
    %. NaN where ``x`` or ``y`` is constant.
    """
    first, table = _sample(x, 1), _sample(y, 2)
    if len(first) != len(table):
        raise ValueError(
            f"expected y [{len(first)}, unit], a row for each x; got shape {table.shape}"
        )
    standard = []
    for values in (np.broadcast_to(first[:, None], table.shape), table):
        ranks = stats.rankdata(values).reshape(table.shape)
        if np.ptp(ranks) == 0:
            return Correlation(np.nan, np.nan, np.nan, len(first), units=table.shape[1])
        standard.append((ranks - ranks.mean()) / ranks.std())
    products = standard[0] * standard[1]
    rho = float(products.mean())
    influence = products - rho / 2 * (standard[0] ** 2 + standard[1] ** 2)
    spread = over_networks(rho + influence)
    scale = (spread.error or 0.0) / (1 - rho**2) if abs(rho) < 1 else 0.0
    freedom = max((spread.freedom or 1.0) - 1, 1.0)
    reach = scale * float(stdtrit(freedom, 0.975))
    low, high = np.tanh(np.arctanh(np.clip(rho, -1 + 1e-12, 1 - 1e-12)) + np.array([-reach, reach]))
    p = float(2 * stdtr(freedom, -abs(np.arctanh(rho)) / scale)) if scale > 0 else None
    return Correlation(
        rho, float(low), float(high), len(first), p=p, units=table.shape[1], freedom=freedom
    )


def _rho(x: Array, y: Array) -> Array:
    """Spearman's rho of each row of ``x [sample, pair]`` with that of ``y``; ties share ranks."""
    first, second = (stats.rankdata(values, axis=1) for values in (x, y))
    first = first - first.mean(1, keepdims=True)
    second = second - second.mean(1, keepdims=True)
    scale = np.sqrt((first**2).sum(1) * (second**2).sum(1))
    rho = np.divide((first * second).sum(1), scale, out=np.full(len(x), np.nan), where=scale > 0)
    return np.clip(rho, -1.0, 1.0)


# ---------------------------------------------------------------- helpers


def _t_interval(value: float, error: float, freedom: float, n: int, level: float) -> Estimate:
    """Estimate with its t interval and the two-sided p of 0."""
    reach = error * float(stdtrit(freedom, (1 + level) / 2))
    if error == 0:
        p = float(value == 0)
    else:
        p = float(2 * stdtr(freedom, -abs(value) / error))
    return Estimate(
        value, value - reach, value + reach, n, None, level, p, None, error, float(freedom)
    )


def _as_networks(found: Estimate, units: int) -> Estimate:
    """The estimate with its sample said to be networks of so many units."""
    return replace(found, units=units)


def _bca(
    samples: tuple[Array, ...],
    statistic: Callable[..., Any],
    *,
    seed: int,
    resamples: int,
    level: float,
    paired: bool = False,
) -> Estimate:
    """A statistic with its BCa interval; the value itself where resamples cannot differ."""
    value = float(statistic(*samples, axis=-1))
    n = min(len(sample) for sample in samples)
    if n == 1 or all(np.ptp(sample) == 0 for sample in samples):
        return Estimate(value, value, value, n, seed, level)
    found = stats.bootstrap(
        samples,
        statistic,
        paired=paired,
        vectorized=True,
        n_resamples=resamples,
        batch=1000,
        confidence_level=level,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    low, high = (float(value if np.isnan(end) else end) for end in found)
    return Estimate(value, low, high, n, seed, level)


def _check_table(table: Array) -> None:
    if table.ndim != 2 or not table.size:
        raise ValueError(f"expected values [network, unit]; got shape {table.shape}")
    if np.isinf(table).any() or np.isnan(table).all(0).any() or np.isnan(table).all(1).any():
        raise ValueError(
            "expected a finite value in each network and of each unit; leave those out that have "
            "none, and say so"
        )


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
