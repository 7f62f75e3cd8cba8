"""How much of a neuron's *repeatable* response does a model explain?

The mean of a few repeats is noisy, so that even the true model explains less than all of its
variance. Two corrections are given: one that is unbiased, and the older one by halves of the
repeats. Scores of the second kind were found higher by .15 on V4 (Cowley et al. 2023, Extended
Data Fig. 2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Array = np.ndarray[Any, np.dtype[np.float64]]


def corrected_r2(predicted: ArrayLike, repeats: ArrayLike) -> Array:
    r"""Squared correlation of a model with a neuron's expected response, corrected for noise.

    .. math::

        \hat r^2 = \frac{(\sum_i m_i y_i)^2 / \sum_i m_i^2 - \hat\sigma^2 \overline{1/n}}
                        {\sum_i y_i^2 - (M - 1)\,\hat\sigma^2 \overline{1/n}}

    Parameters
    ----------
    predicted
        ``[image, neuron]``: m, centred over the M images inside.
    repeats
        ``[image, neuron, repeat]``: y is their mean over repeats (n_i of them, NaN padded),
        centred; sigma^2 is the mean over images of the variance between repeats, so noise should
        be alike for all images (take square roots of spike counts to make it so).

    Returns
    -------
    Array
        ``[neuron]``. May lie outside 0..1. NaN where no repeatable response is left.

    Notes
    -----
    Pospisil and Bair 2021, PLOS Computational Biology 17:e1009212,
    doi:10.1371/journal.pcbi.1009212. Numerator and denominator are unbiased; their ratio is so up
    to a small term. The model must not have been fitted to these responses.
    """
    m, y = _checked(predicted, repeats)
    count = np.isfinite(y).sum(-1)
    if (count < 1).any() or not (count >= 2).any(0).all():
        raise ValueError(
            "expected a response of each neuron to each image, and two repeats of some, because "
            "their variance is the noise; leave out images without, or use encoding.correlation"
        )
    mean = np.nanmean(y, -1)
    within = np.nansum((y - mean[..., None]) ** 2, -1)
    noise = within.sum(0) / (count - 1).sum(0) * (1 / count).mean(0)  # of a mean over repeats
    m, mean = m - m.mean(0), mean - mean.mean(0)
    size = (m**2).sum(0)
    along = np.divide((m * mean).sum(0) ** 2, size, out=np.zeros(size.shape), where=size > 0)
    signal = (mean**2).sum(0) - (len(m) - 1) * noise
    top = np.where(size > 0, along - noise, 0.0)
    return np.divide(top, signal, out=np.full(size.shape, np.nan), where=signal > 0)


def split_half_r2(
    predicted: ArrayLike,
    repeats: ArrayLike,
    *,
    splits: int = 50,
    seed: int = 0,
    squared: bool = False,
    whole: ArrayLike | None = None,
) -> Array:
    r"""Squared correlation over the neuron's reliability: ``r^2 / r_yy``, ``[neuron]``.

    The quotient is the correction for attenuation (Spearman 1904, doi:10.2307/1412159), with the
    `reliability` of all repeats; unstable where halves hardly correlate. With ``squared`` r is
    divided by ``r_yy``, not by its root, before it is squared: ``r^2 / r_yy^2``, which is higher
    still. ``whole``: the reliability, where it is known. Shapes as `corrected_r2`.
    """
    m, y = _checked(predicted, repeats)
    found = reliability(y, splits=splits, seed=seed) if whole is None else np.asarray(whole)
    r = _correlation(m, np.nanmean(y, -1))
    below = found**2 if squared else found
    return np.divide(r**2, below, out=np.full(r.shape, np.nan), where=found > 0)


def reliability(repeats: ArrayLike, *, splits: int = 50, seed: int = 0) -> Array:
    """Correlation of the mean response with what other repeats would give, ``[neuron]``.

    The correlation between the means of two halves of the repeats, mean over random ``splits``,
    brought to all repeats by ``2 r / (1 + r)`` (Spearman 1910 and Brown 1910).
    """
    y = np.asarray(repeats, dtype=np.float64)
    count = np.isfinite(y).sum(-1)
    if (count < 2).any():
        raise ValueError(
            "expected two repeats or more of each image, one for each half; got images with "
            f"{count.min()}; leave those out"
        )
    rng = np.random.default_rng(seed)
    halves = np.zeros((splits, y.shape[1]))
    for split in range(splits):
        order = np.argsort(np.where(np.isfinite(y), rng.random(y.shape), 2.0), axis=-1)
        rank = np.argsort(order, axis=-1)
        first = rank < (count // 2)[..., None]
        second = (rank >= (count // 2)[..., None]) & np.isfinite(y)
        means = [np.where(part, y, 0).sum(-1) / part.sum(-1) for part in (first, second)]
        halves[split] = _correlation(*means)
    half = halves.mean(0)
    return np.asarray(2 * half / (1 + half))


def fewer(repeats: ArrayLike, count: int, rng: np.random.Generator) -> Array:
    """So many of the repeats of each image, drawn at random: ``[image, neuron, count]``.

    Raises
    ------
    ValueError
        If an image was shown less often.
    """
    y = np.asarray(repeats, dtype=np.float64)
    there = np.isfinite(y)
    if there.sum(-1).min() < count:
        raise ValueError(
            f"expected {count} repeats of each image; got images with {there.sum(-1).min()}; ask "
            "for fewer"
        )
    order = np.argsort(np.where(there, rng.random(y.shape), 2.0), axis=-1)[..., :count]
    return np.take_along_axis(y, order, -1)


def planted(
    predicted: ArrayLike, repeats: ArrayLike, truth: ArrayLike, rng: np.random.Generator
) -> Array:
    """Repeats of neurons that a model explains to a known share, with their own noise.

    The expected response is the prediction and a random remainder, uncorrelated with it, so that
    the squared correlation of prediction and expected response is ``truth`` and its variance what
    the recording's is, noise taken off. Noise is that of the recording, image by image, each
    deviation from an image's mean with a random sign (wild bootstrap; Wu 1986,
    doi:10.1214/aos/1176350142), so that it grows with the response where the recording's does.

    Parameters
    ----------
    predicted, repeats
        As of `corrected_r2`.
    truth
        ``[neuron]``, in 0..1.

    Returns
    -------
    Array
        As ``repeats``, with gaps where it has them.
    """
    m, y = _checked(predicted, repeats)
    count = np.isfinite(y).sum(-1, keepdims=True)
    mean = np.nanmean(y, -1)
    unbiased = np.sqrt(count / np.maximum(count - 1, 1))
    deviation = (y - mean[..., None]) * unbiased
    noise = (np.nansum(deviation**2, -1) / count[..., 0]).mean(0) * (1 / count[..., 0]).mean(0)
    signal = np.maximum(mean.var(0, ddof=1) - noise, 0.0)
    first = _scaled(m)
    rest: Array = np.asarray(rng.standard_normal(m.shape))
    rest = rest - rest.mean(0)
    rest = _scaled(rest - first * (first * rest).mean(0))
    share = np.asarray(truth, dtype=np.float64)
    expected = np.sqrt(signal) * (np.sqrt(share) * first + np.sqrt(1 - share) * rest)
    signs = rng.integers(0, 2, y.shape) * 2 - 1
    return np.asarray(mean.mean(0)[:, None] + expected[..., None] + signs * deviation)


def _scaled(values: Array) -> Array:
    centred = values - values.mean(0)
    return np.asarray(centred / np.maximum(centred.std(0), 1e-30))


def _correlation(a: Array, b: Array) -> Array:
    a, b = a - a.mean(0), b - b.mean(0)
    size = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    return np.divide((a * b).sum(0), size, out=np.zeros(size.shape), where=size > 0)


def _checked(predicted: ArrayLike, repeats: ArrayLike) -> tuple[Array, Array]:
    m, y = np.asarray(predicted, dtype=np.float64), np.asarray(repeats, dtype=np.float64)
    if y.ndim != 3 or m.shape != y.shape[:2]:
        raise ValueError(
            "expected predictions [image, neuron] and repeats [image, neuron, repeat]; "
            f"got shapes {m.shape} and {y.shape}"
        )
    return m, y
