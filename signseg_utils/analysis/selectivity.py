"""Filters that are selective for a category: three indices, both ends of their responses, tuning.

Responses are those before the rectifier. Sources: the notes on negative selectivity of hidden units
of Inception-v1, and public code for such an index, taneta/category_selectivity_cnn (Malakhova 2018,
doi:10.1109/CVPRW.2018.00265), whose README and notebook each define it otherwise than the notes do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import erf, erfinv
from torch import Tensor, nn

from signseg_utils.metrics import LUMINANCE

Array = np.ndarray[Any, Any]

# What is kept of the map of a filter on an image, beside its rectified mean.
POOLINGS = ("mean", "highest", "lowest", "centre")
# Ways to say how strongly a filter answers an image: what its positive end is sorted by, and what
# its negative end. A map of strong contrast has a high maximum and a low minimum at once.
ENDS = {"mean": ("mean", "mean"), "minima": ("highest", "lowest"), "centre": ("centre", "centre")}
SHARE = 0.05  # of the images that make an end; the paper takes 1,000
LEVELS = tuple(place / 20 for place in range(21))  # of the quantiles that draw a tuning curve
_FEWEST = 20  # responses above 0 that a fit takes
_DEAD = 1e-5  # a filter whose responses span less, relative to their size, answers nothing

_RECTIFIERS = (nn.ReLU, nn.ReLU6)


# ---------------------------------------------------------------- responses


@torch.no_grad()
def responses(
    backbone: nn.Module, pixels: Tensor, most: int, batch: int = 50
) -> dict[str, dict[str, Array]]:
    """What every filter answers to every image, in layers spread evenly over a backbone.

    Parameters
    ----------
    pixels
        ``[image, 3, height, width]`` uint8.
    most
        Layers at most, the first and the last among them. A layer is what enters a rectifier
        (ReLU, ReLU6); depthwise ones are left out, whose filters have one input each and so no
        selectivity of their own.

    Returns
    -------
    dict
        Layer, named after its rectifier, to `POOLINGS` and ``rectified``, the mean over places
        behind the rectifier, each ``[image, filter]``, and ``largest`` ``[image, 1]``, the largest
        rectified value of any filter. A fully connected layer has one place.

    Raises
    ------
    ValueError
        If the backbone has no rectifiers.
    """
    layers = [name for name, _ in _seen(backbone, pixels[:1])]
    if not layers:
        raise ValueError(
            "expected a network with rectifiers (ReLU, ReLU6), because responses before and behind "
            "them are compared; got one without; choose another network"
        )
    places = np.linspace(0, len(layers) - 1, min(most, len(layers))).round().astype(int)
    parts: dict[str, list[dict[str, Tensor]]] = {layers[place]: [] for place in places}
    for part in pixels.split(batch):
        for name, found in _seen(backbone, part):
            if name in parts:
                parts[name].append(found)
    return {
        name: {kind: torch.cat([one[kind] for one in own]).double().numpy() for kind in own[0]}
        for name, own in parts.items()
    }


def _seen(backbone: nn.Module, pixels: Tensor) -> list[tuple[str, dict[str, Tensor]]]:
    """Layers in the order in which images pass them; a rectifier used again has a number behind."""
    found: list[tuple[str, dict[str, Tensor]]] = []
    calls: dict[str, int] = {}
    groups = [1]  # of the convolution that images passed last

    def note(module: nn.Module, inputs: tuple[Tensor]) -> None:
        groups[0] = getattr(module, "groups", 1)

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor]) -> None:
            if groups[0] > 1 and groups[0] == inputs[0].shape[1]:
                return  # depthwise: it weighs a single filter of the layer before
            calls[name] = calls.get(name, 0) + 1
            number = "" if calls[name] == 1 else f" {calls[name]}"
            behind = module.forward(inputs[0].clone())  # it may work in place
            found.append((f"{name}{number}", _pooled(inputs[0], behind)))

        return hook

    rectifiers = [(n, m) for n, m in backbone.named_modules() if isinstance(m, _RECTIFIERS)]
    handles = [module.register_forward_pre_hook(keep(name)) for name, module in rectifiers]
    weighing = [m for m in backbone.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles += [module.register_forward_pre_hook(note) for module in weighing]
    try:
        backbone(pixels.float() / 255)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _pooled(before: Tensor, behind: Tensor) -> dict[str, Tensor]:
    """Of maps ``[image, filter, height, width]``, or ``[image, filter]``: ``[image, filter]``."""
    maps = before if before.ndim == 4 else before[:, :, None, None]
    flat, rectified = maps.flatten(2), behind.reshape(*maps.shape[:2], -1)
    return {
        "mean": flat.mean(2),
        "highest": flat.amax(2),
        "lowest": flat.amin(2),
        "centre": maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2].clone(),
        "rectified": rectified.mean(2),
        "largest": rectified.amax((1, 2))[:, None],
    }


# ---------------------------------------------------------------- three readings of one index


def paper_index(mean: Array, chosen: Array) -> Array:
    """Selectivity as the paper's text has it: ``[filter]``, .5 without a preference.

    The responses of a filter are brought to 0..1; the index is their mean over the category's
    images, over the sum of that and of their mean over all other images (section 2). NaN for a
    filter that answers all images alike.

    Parameters
    ----------
    mean
        ``[image, filter]``.
    chosen
        ``[image]`` bool, the category's images.
    """
    own, other = _group_means(_normalised(mean), chosen)
    return own / (own + other)


def readme_index(mean: Array, chosen: Array) -> Array:
    """Selectivity as the README has it: the normalised mean over the category alone, ``[filter]``.

    It does not ask what the filter answers to anything else.
    """
    return _group_means(_normalised(mean), chosen)[0]


def notebook_index(rectified: Array, largest: Array, chosen: Array) -> Array:
    """Selectivity as the notebook has it: a difference of means, ``[filter]``.

    Behind the rectifier, and brought to 0..1 by the largest value of all filters of the layer, so
    that a filter of weak responses cannot reach much.
    """
    own, other = _group_means(rectified / largest.max(), chosen)
    return own - other


def _normalised(mean: Array) -> Array:
    low, high = mean.min(0), mean.max(0)
    alive = high - low > _DEAD * np.maximum(np.abs(low), np.abs(high))
    return (mean - low) / np.where(alive, high - low, np.nan)


def _group_means(values: Array, chosen: Array) -> tuple[Array, Array]:
    return values[chosen].mean(0), values[~chosen].mean(0)


# ---------------------------------------------------------------- both ends


def at_ends(highest: Array, lowest: Array, chosen: Array) -> tuple[Array, Array]:
    """Images of a category among those that make either end of a filter: ``[filter]`` counts.

    Where images that answer alike lie at the border of an end, each of them counts by the share of
    them that the end has room for. A filter that reads silent filters answers many images alike.

    Parameters
    ----------
    highest, lowest
        ``[image, filter]``: what the positive, and the negative end are sorted by (`ENDS`).
    chosen
        ``[image]`` bool.
    """
    return _at_lowest(-highest, chosen), _at_lowest(lowest, chosen)


def _at_lowest(values: Array, chosen: Array) -> Array:
    count = end_size(len(chosen))
    border = np.partition(values, count - 1, axis=0)[count - 1]
    near = _DEAD * (values.max(0) - values.min(0))
    inside, alike = values < border - near, np.abs(values - border) <= near
    room = (count - inside.sum(0)) / alike.sum(0)
    return np.asarray(inside[chosen].sum(0) + room * alike[chosen].sum(0))


def end_size(images: int) -> int:
    """How many images make an end: `SHARE` of them, at least one."""
    return max(1, round(SHARE * images))


def without(values: Array, contrast: Array) -> Array:
    """Values ``[image, filter]`` less what a line over ``contrast`` ``[image]`` says of them."""
    centred = contrast - contrast.mean()
    slope = centred @ (values - values.mean(0)) / (centred @ centred)
    return values - slope * centred[:, None]


def contrast(pixels: Tensor) -> Array:
    """Standard deviation of the luminance of each image, in 0..1: ``[image]``."""
    weights = torch.tensor(LUMINANCE, dtype=torch.float64)
    return torch.einsum("nchw,c->nhw", pixels.double() / 255, weights).std((1, 2)).numpy()


# ---------------------------------------------------------------- tuning


def tuning(mean: Array) -> dict[str, Array]:
    """How the responses of filters are spread, before the rectifier and behind it.

    Parameters
    ----------
    mean
        ``[image, filter]``, before the rectifier.

    Returns
    -------
    dict
        ``[filter]`` each: ``before`` and ``behind``, Kolmogorov-Smirnov distances to a half-normal
        that starts at the lowest response, fitted by maximum likelihood (its scale is the root mean
        square); behind the rectifier these are the responses above 0. ``exponential``: the distance
        to an exponential there. ``above``: share of responses above 0. Fits of fewer than 20
        responses, or of a filter that answers all alike, are NaN.
    """
    ordered = np.sort(mean, 0)
    alive = np.isfinite(_normalised(mean)[0])
    found = {name: np.full(mean.shape[1], np.nan) for name in ("before", "behind", "exponential")}
    for number in np.flatnonzero(alive):
        own = ordered[:, number]
        found["before"][number] = distance(own - own[0], half_normal)
        above = own[own > 0]
        if len(above) >= _FEWEST:
            found["behind"][number] = distance(above, half_normal)
            found["exponential"][number] = distance(above, exponential)
    return {**found, "above": (mean > 0).mean(0)}


def half_normal(values: Array) -> Array:
    """Distribution function of the half-normal that fits values of 0 or more best."""
    return np.asarray(erf(values / np.sqrt(2 * np.square(values).mean())))


def half_normal_quantiles(levels: Array) -> Array:
    """Quantiles of the half-normal of mean square 1 at levels in 0..1."""
    return np.asarray(np.sqrt(2) * erfinv(levels))


def exponential(values: Array) -> Array:
    """Distribution function of the exponential that fits values of 0 or more best."""
    return -np.expm1(-values / values.mean())


def distance(ordered: Array, fitted: Any) -> float:
    """Kolmogorov-Smirnov distance of values in rising order to what is fitted to them."""
    count, there = len(ordered), fitted(ordered)
    steps = np.arange(count + 1) / count
    return float(max((steps[1:] - there).max(), (there - steps[:-1]).max()))


def curves(mean: Array) -> Array:
    """Quantiles of each filter's responses at `LEVELS`, in their standard deviations."""
    spread = mean.std(0)
    scale = np.where(np.isfinite(_normalised(mean)[0]), spread, np.nan)
    return np.quantile(mean, LEVELS, axis=0).T / scale[:, None]


# ---------------------------------------------------------------- weights of the output units


def category_weights(weight: Array, classes: Mapping[str, Sequence[int]]) -> dict[str, Array]:
    """Mean weight of the output units of each category, ``[category, feature]``.

    Parameters
    ----------
    weight
        Of the readout, ``[class, feature]``.
    classes
        Category to numbers of its classes.

    Returns
    -------
    dict
        ``raw``, and ``centred``: less the mean over all classes, which no softmax can tell.
    """
    raw = np.stack([weight[list(own)].mean(0) for own in classes.values()])
    return {"raw": raw, "centred": raw - weight.mean(0)}
