"""How alike the filters and the activity of several models are, and what chance makes of it.

Kernel similarity and CKA as Cowley et al. (doi:10.1101/2023.11.22.568315, Fig. 3b, c) name them;
their definitions are not public, so those here were stated beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from signseg_utils.basics import draws

Array = np.ndarray[Any, np.dtype[np.float64]]

NULLS = ("blurred", "unblurred", "covariance")
SIDE = 5
_WIDEST = 3.0  # of the blurs that are tried, places


def closest(kernels: Sequence[Array]) -> Array:
    """Similarity of the kernels of each pair of models, ``[model, model]``, NaN on the diagonal.

    The correlation of each kernel with its closest match in the other model, mean over kernels and
    both directions.

    Parameters
    ----------
    kernels
        ``[filter, 5, 5]`` of each model.

    Raises
    ------
    ValueError
        If a model has no kernel, for then nothing can match.
    """
    counts = [len(own) for own in kernels]
    if min(counts, default=0) < 1:
        raise ValueError(f"expected at least one kernel of each model; got {counts}")
    whole = standard(np.concatenate(list(kernels)))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    best = np.maximum.reduceat(whole @ whole.T, starts, axis=1)  # [kernel, other model]
    means = np.add.reduceat(best, starts, axis=0) / np.array(counts)[:, None]
    found = (means + means.T) / 2
    np.fill_diagonal(found, np.nan)
    return found


def standard(kernels: Array) -> Array:
    """Kernels ``[filter, 25]`` less their mean, of length 1; one that is uniform is 0."""
    flat = np.asarray(kernels, dtype=np.float64).reshape(len(kernels), -1)
    flat = flat - flat.mean(1, keepdims=True)
    length = np.sqrt((flat**2).sum(1, keepdims=True))
    return np.divide(flat, length, out=np.zeros_like(flat), where=length > 1e-12)


def smoothness(kernels: Array) -> float:
    """Correlation of neighbouring weights, of kernels ``[filter, 5, 5]`` as `standard` has them."""
    square = standard(kernels).reshape(-1, SIDE, SIDE)
    pairs = (square[:, 1:] * square[:, :-1]).mean() + (square[:, :, 1:] * square[:, :, :-1]).mean()
    return float(pairs / (2 * (square**2).mean()))


def random_kernels(kernels: Sequence[Array], null: str, seed: int, stream: int) -> list[Array]:
    """As many random kernels for each model: one of `NULLS`.

    ``unblurred``: white Gaussian noise. ``blurred``: the same, blurred until neighbouring weights
    correlate as in all ``kernels`` together. ``covariance``: Gaussian with the mean and the
    covariance that these have, at length 1.
    """
    counts = [len(own) for own in kernels]
    rng, whole = draws.philox(seed, stream), np.concatenate(list(kernels))
    if null == "covariance":
        unit = standard(whole)
        values, axes = np.linalg.eigh(np.cov(unit.T))
        root = axes * np.sqrt(values.clip(min=0)) @ axes.T  # no sign of an eigenvector is in it
        white = rng.standard_normal((len(unit), len(values)))
        drawn = unit.mean(0) + white @ root
        drawn = drawn.reshape(-1, SIDE, SIDE)
    else:
        wide = rng.standard_normal((len(whole), 3 * SIDE, 3 * SIDE))
        drawn = _blurred(wide, 0 if null == "unblurred" else _blur(wide, smoothness(whole)))
    return np.split(drawn, np.cumsum(counts)[:-1])


def _blurred(wide: Array, sigma: float) -> Array:
    middle = slice(SIDE, 2 * SIDE)
    return np.asarray(ndimage.gaussian_filter(wide, (0, sigma, sigma))[:, middle, middle])


def _blur(wide: Array, wanted: float) -> float:
    """The blur, in places, that makes noise as smooth as is wanted, by bisection."""
    low, high = 0.0, _WIDEST
    for _ in range(12):
        middle = (low + high) / 2
        if smoothness(_blurred(wide, middle)) < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def gram(activity: Array) -> Array:
    """U-centred Gram matrix ``[image, image]`` of activity ``[image, feature]``, of length 1.

    The scalar product of two of them is linear CKA with the unbiased estimator of HSIC (Song et al.
    2012, eq. 5; Kornblith et al. 2019, arXiv:1905.00414, eq. 3), 0 in expectation for activity
    without a relation, however many features there are. NaN where activity never differs.

    Raises
    ------
    ValueError
        For fewer than four images.
    """
    count = len(activity)
    if count < 4:
        raise ValueError(f"expected at least four images for the estimate; got {count}")
    own = np.asarray(activity, dtype=np.float64)
    own = own - own.mean(0)
    product = own @ own.T
    np.fill_diagonal(product, 0)
    rows = product.sum(1) / (count - 2)
    centred = product - rows[:, None] - rows[None] + product.sum() / ((count - 1) * (count - 2))
    np.fill_diagonal(centred, 0)
    length = np.sqrt((centred**2).sum())
    return centred / length if length > 1e-12 else np.full_like(centred, np.nan)


def alignment(grams: Array) -> Array:
    """CKA of each pair, ``[model, model]``, of `gram` matrices ``[model, image, image]``.

    NaN on the diagonal.
    """
    flat = np.asarray(grams, dtype=np.float64).reshape(len(grams), -1)
    found = flat @ flat.T
    np.fill_diagonal(found, np.nan)
    return np.asarray(found)


def of_each(pairs: Array, groups: Sequence[str] | None = None) -> Array:
    """Mean over a model's pairs, ``[model]``: with all others, or with those of its group."""
    kept = np.array(pairs, dtype=np.float64)
    if groups is not None:
        labels = np.asarray(groups)
        kept[labels[:, None] != labels[None]] = np.nan
    there = np.isfinite(kept)
    return np.divide(
        np.where(there, kept, 0).sum(1),
        there.sum(1),
        out=np.full(len(kept), np.nan),
        where=there.any(1),
    )


def jackknifed(means: Array) -> Array:
    """Pseudovalues ``[model]``: their mean is that over all pairs, their t interval holds for it.

    Pairs share models, so an interval over pairs, or over the means of models' pairs, is too
    narrow: the standard error of a mean over pairs is twice that of the latter (Arvesen 1969,
    doi:10.1214/aoms/1177697287).

    Parameters
    ----------
    means
        ``[model]``, of each over its pairs with all others.

    Raises
    ------
    ValueError
        For fewer than three models.
    """
    own = np.asarray(means, dtype=np.float64)
    count = len(own)
    if count < 3:
        raise ValueError(f"expected at least three models, because pairs share them; got {count}")
    whole = own.mean()
    without = (count * whole - 2 * own) / (count - 2)
    return count * whole - (count - 1) * without


def one_sided(weight: Array, seed: int, stream: int, tosses: int = 50) -> tuple[float, float]:
    """How far rows of weights ``[row, input]`` are of one sign, and the same with tossed signs.

    The larger share of a row's summed magnitude that has one sign, .5 to 1, mean over rows; rows of
    zeros are left out. With coins for signs it is the larger the fewer weights a row has.
    """
    size, rng = np.abs(weight), draws.philox(seed, stream)
    tossed = [_larger(size, rng.choice([-1, 1], size.shape)) for _ in range(tosses)]
    return _larger(size, np.sign(weight)), float(np.mean(tossed))


def _larger(size: Array, sign: Array) -> float:
    whole = size.sum(1)
    share = (size * (sign > 0)).sum(1)[whole > 0] / whole[whole > 0]
    return float(np.maximum(share, 1 - share).mean()) if len(share) else float("nan")
