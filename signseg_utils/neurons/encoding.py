"""Models of neurons: linear in the features of one layer of a network, so each is a readout row.

Features are centred and scaled by the training images, responses centred; the fitted weights are
brought back to raw features, where scaling goes into the weight and centring into the bias. So a
fitted model is a `Readout`, whose inputs are ablated and whose images are searched as those of any
unit (paper, A.1, "Models fit on neuronal activity"; Fig. 13, 16, 17).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from signseg_utils.basics.refusals import UnknownName
from signseg_utils.basics.registry import unknown
from signseg_utils.units.readout import Readout

Array = np.ndarray[Any, np.dtype[np.float64]]

# A standard deviation below this share of the largest feature is too near to rounding: features are
# sums in single precision, each good to about 1e-7 of the largest, and one that varies by less than
# a hundred times that is not known to within a hundredth. Divided by its spread it would bring its
# last digits into all models: where it first comes on in images left out, by thousands of s.d.
ROUNDING = 1e-5
MOST_PRODUCTS = 1024  # features: up to so many their products with each other are kept for Lasso


def pls(features: Array, responses: Array, settings: Sequence[float]) -> Array:
    """Partial least squares, one response at a time (PLS1), with 1, 2 ... components.

    Parameters
    ----------
    features
        ``[image, feature]``, centred and scaled.
    responses
        ``[image, neuron]``, centred.
    settings
        Numbers of components.

    Returns
    -------
    Array
        ``[setting, neuron, feature]``: weights. Equal to those of scikit-learn's PLSRegression.

    Notes
    -----
    Worked out between images, not features, for all neurons at once. With K = X X', the scores
    t_a are K r orthogonalised to the earlier ones, r the residual of y after those (de Jong 1993,
    doi:10.1016/0169-7439(93)85002-X; Rosipal and Trejo 2001, JMLR 2:97).
    """
    wanted = [int(setting) for setting in settings]
    if min(wanted) < 1 or max(wanted) >= len(features):
        raise ValueError(
            f"expected 1 to {len(features) - 1} components, because there are {len(features)} "
            f"images; got {wanted}"
        )
    kernel = features @ features.T
    residual = responses.copy()
    weights = np.zeros_like(responses)  # a combination of images: coefficients = X' weights
    scores: list[Array] = []
    combined: list[Array] = []
    found: dict[int, Array] = {}
    for component in range(1, max(wanted) + 1):
        direction = kernel @ residual  # X X' r
        combination = residual.copy()
        for _ in range(2):  # twice is enough for orthogonality to working precision
            for score, own in zip(scores, combined, strict=True):
                along = (score * direction).sum(0)
                direction = direction - score * along
                combination = combination - own * along
        length = np.linalg.norm(direction, axis=0)
        used = length > 1e-10 * np.linalg.norm(kernel @ responses, axis=0)
        scale = np.divide(1.0, length, out=np.zeros_like(length), where=used)
        scores.append(direction * scale)
        combined.append(combination * scale)
        along = (scores[-1] * responses).sum(0)
        weights = weights + combined[-1] * along
        residual = residual - scores[-1] * along
        found[component] = weights
    return np.stack([found[k].T @ features for k in wanted])


def ridge(features: Array, responses: Array, settings: Sequence[float]) -> Array:
    """Ridge regression; ``settings``: penalties in units of the mean eigenvalue of X X'.

    Shapes as `pls`. Hoerl and Kennard 1970, doi:10.1080/00401706.1970.10488634.
    """
    values, vectors = np.linalg.eigh(features @ features.T)
    turned = vectors.T @ responses
    unit = values.mean()
    found = [(vectors @ (turned / (values + s * unit)[:, None])).T @ features for s in settings]
    return np.stack(found)


def lasso(
    features: Array, responses: Array, settings: Sequence[float], *, positive: bool = False
) -> Array:
    """Lasso; ``settings``: penalties as a share of the one at which the first weight appears.

    Shapes as `pls`. With ``positive`` no weight may be negative (paper, Fig. 17); the same setting
    is the same penalty with and without: the first weight meant is that of either sign.
    Tibshirani 1996, doi:10.1111/j.2517-6161.1996.tb02080.x.
    """
    from sklearn.linear_model import lasso_path

    found = np.zeros((len(settings), responses.shape[1], features.shape[1]))
    order = np.argsort(settings)[::-1]  # from strong to weak, each from where the last one ended
    few = features.shape[1] <= MOST_PRODUCTS
    products = features.T @ features if few else False
    for neuron in range(responses.shape[1]):
        y = np.ascontiguousarray(responses[:, neuron])
        most = float(np.abs(features.T @ y).max()) / len(y)
        if most <= 0:
            continue
        strengths = most * np.asarray(settings, dtype=np.float64)[order]
        _, weights, _ = lasso_path(
            features, y, alphas=strengths, positive=positive, precompute=products, max_iter=3000
        )
        found[order, neuron] = weights.T
    return found


def ridge_positive(features: Array, responses: Array, settings: Sequence[float]) -> Array:
    """Ridge regression without negative weights; settings and shapes as `ridge`."""
    from sklearn.linear_model import Ridge

    unit = float((features**2).sum() / len(features))
    found = np.zeros((len(settings), responses.shape[1], features.shape[1]))
    for place, setting in enumerate(settings):
        model = Ridge(alpha=setting * unit, positive=True, fit_intercept=False)
        for neuron in range(responses.shape[1]):
            found[place, neuron] = model.fit(features, responses[:, neuron]).coef_
    return found


def lasso_positive(features: Array, responses: Array, settings: Sequence[float]) -> Array:
    """`lasso` without negative weights."""
    return lasso(features, responses, settings, positive=True)


Method = Callable[[Array, Array, Sequence[float]], Array]
METHODS: Mapping[str, Method] = {
    "pls": pls,
    "ridge": ridge,
    "ridge_positive": ridge_positive,
    "lasso": lasso,
    "lasso_positive": lasso_positive,
}


def fit(
    features: ArrayLike,
    responses: ArrayLike,
    method: str = "pls",
    setting: float = 1,
    labels: Sequence[str] | None = None,
) -> Readout:
    """Fit a model to each neuron; the models are the rows of the readout.

    Parameters
    ----------
    features
        ``[image, feature]`` of the training images, raw.
    responses
        ``[image, neuron]``, without gaps.
    method, setting
        Of `METHODS`: ``pls`` and its number of components (the paper: 1); ``ridge``, ``lasso``
        and their penalty, with the suffix ``_positive`` for no negative weights.
    labels
        Names of the neurons; default: their numbers.

    Raises
    ------
    ValueError
        If the images of features and responses differ in number, or a value is NaN.
    KeyError
        If there is no such method.
    """
    x, y = _checked(features, responses)
    weight, bias = _fit(x, y, method, [setting])
    names = [str(i) for i in range(y.shape[1])] if labels is None else labels
    return Readout(torch.from_numpy(weight[0]), torch.from_numpy(bias[0]), tuple(names))


def fit_each(
    features: ArrayLike, responses: ArrayLike, method: str, settings: Sequence[float]
) -> tuple[Readout, ...]:
    """`fit` for each setting, at the cost of one where the method goes from one to the next."""
    x, y = _checked(features, responses)
    weight, bias = _fit(x, y, method, settings)
    names = tuple(str(i) for i in range(y.shape[1]))
    return tuple(
        Readout(torch.from_numpy(w), torch.from_numpy(b), names)
        for w, b in zip(weight, bias, strict=True)
    )


def predict(readout: Readout, features: ArrayLike) -> Array:
    """Predicted responses, ``[image, neuron]``."""
    weight, bias = readout.weight.numpy(), readout.bias.numpy()
    return np.asarray(np.asarray(features, dtype=np.float64) @ weight.T + bias)


def cross_validate(
    features: ArrayLike,
    responses: ArrayLike,
    method: str = "pls",
    settings: Sequence[float] = (1,),
    *,
    folds: int = 5,
    seed: int = 0,
) -> Array:
    """R2 of predictions for images left out, ``[setting, neuron]``.

    Every image is predicted once, by a model that was fitted (scaling included) without its fold;
    R2 is that of all of them together.
    """
    x, y = _checked(features, responses)
    if not 2 <= folds <= len(x):
        raise ValueError(f"expected 2 to {len(x)} folds, one image each at least; got {folds}")
    predicted = np.empty((len(settings), *y.shape))
    order = np.random.default_rng(seed).permutation(len(x))
    for left in np.array_split(order, folds):
        kept = np.setdiff1d(order, left)
        weight, bias = _fit(x[kept], y[kept], method, settings)
        predicted[:, left] = np.einsum("if,snf->sin", x[left], weight, optimize=True)
        predicted[:, left] += bias[:, None]
    return np.stack([explained(own, y) for own in predicted])


@dataclass(frozen=True)
class Choice:
    """A layer and a setting, chosen on training images alone.

    ``table``: layer -> R2 of cross-validation ``[setting, neuron]``.
    """

    layer: str
    setting: float
    table: Mapping[str, Array]


def choose(
    layers: Mapping[str, ArrayLike],
    responses: ArrayLike,
    method: str = "pls",
    settings: Sequence[float] = (1,),
    *,
    best: int | None = 10,
    folds: int = 5,
    seed: int = 0,
) -> Choice:
    """The layer and setting that predict best in cross-validation, one choice for all neurons.

    Parameters
    ----------
    layers
        Name to features of the training images, ``[image, feature]``.
    best
        How many neurons decide: those that the layer and setting predict best; None: all.

    Notes
    -----
    This is the inner loop of nested cross-validation: call it on training images only and test
    what it chose on others. Several layers are compared, so its own R2 is too high.
    """
    table = {
        name: cross_validate(features, responses, method, settings, folds=folds, seed=seed)
        for name, features in layers.items()
    }
    ranked = {
        (name, place): float(np.sort(row)[::-1][:best].mean())
        for name, rows in table.items()
        for place, row in enumerate(rows)
    }
    layer, place = max(ranked, key=lambda key: ranked[key])
    return Choice(layer, settings[place], table)


def explained(predicted: ArrayLike, measured: ArrayLike) -> Array:
    """R2 = 1 - SSE/SST of each neuron, ``[image, neuron] -> [neuron]``; below 0: worse than a mean.

    NaN where the measured responses do not vary.
    """
    p, y = np.asarray(predicted, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    total = ((y - y.mean(0)) ** 2).sum(0)
    rest = ((y - p) ** 2).sum(0)
    return 1 - np.divide(rest, total, out=np.full(total.shape, np.nan), where=total > 0)


def correlation(predicted: ArrayLike, measured: ArrayLike) -> Array:
    """Pearson's r of each neuron, ``[image, neuron] -> [neuron]``; 0 for a constant prediction."""
    p, y = np.asarray(predicted, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    p, y = p - p.mean(0), y - y.mean(0)
    size = np.sqrt((p**2).sum(0) * (y**2).sum(0))
    return np.divide((p * y).sum(0), size, out=np.zeros(size.shape), where=size > 1e-12)


def standardised(features: Array) -> tuple[Array, Array, Array]:
    """Features [image, feature] centred and scaled, their means, and what they were multiplied by.

    A feature that varies by rounding alone is scaled by 0: it gets no weight, has no sign and takes
    part in no count (see `ROUNDING`).
    """
    mean, spread = features.mean(0), features.std(0, ddof=1)
    alive = spread > ROUNDING * max(float(np.abs(features).max()), 1e-30)
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=alive)
    return (features - mean) * scale, mean, scale


def _fit(x: Array, y: Array, method: str, settings: Sequence[float]) -> tuple[Array, Array]:
    """Weights [setting, neuron, feature] and biases [setting, neuron] over raw features."""
    if method not in METHODS:
        raise UnknownName(unknown("method of neuron models", method, tuple(METHODS)))
    scaled, mean, scale = standardised(x)
    level = y.mean(0)
    weight = METHODS[method](scaled, y - level, settings) * scale
    return weight, level - weight @ mean


def _checked(features: ArrayLike, responses: ArrayLike) -> tuple[Array, Array]:
    x, y = np.asarray(features, dtype=np.float64), np.asarray(responses, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ValueError(
            "expected features [image, feature] and responses [image, neuron] of the same images; "
            f"got shapes {x.shape} and {y.shape}"
        )
    for what, values in (("features", x), ("responses", y)):
        if not np.isfinite(values).all():
            raise ValueError(
                f"expected finite {what}; got {(~np.isfinite(values)).sum()} that are NaN or "
                "infinite; recordings.complete leaves out neurons and images with gaps"
            )
    return x, y
