"""What images of ablated models do to neurons: the measures that chapter 13 compares.

Measures are those of `ablated_models.of_kind`: [way, neuron, condition, seed], intact first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor

from signseg_utils.analysis import by_sign, stats
from signseg_utils.experiments.recorded.ablated_models import (
    WAYS,
    AblatedModels,
    Fit,
    predicted,
    rendered,
)
from signseg_utils.experiments.recorded.base import row_labels
from signseg_utils.neurons.simulated import Simulated

Array = np.ndarray[Any, np.dtype[np.float64]]


def answered(main: xr.Dataset) -> bool:
    """Whether there is something that answers to images in the neurons' stead."""
    return bool(np.isfinite(main["response"]).all())


def response(main: xr.Dataset, way: str = WAYS[0]) -> xr.DataArray:
    """Each neuron's response to images made for its model: (neuron, condition).

    Mean over searches; ``way``: to images as they are, or with luminance and contrast held.
    """
    return main["response"].sel(way=way).mean("seed")


def similarity(main: xr.Dataset, kind: str = "similarity") -> xr.DataArray:
    """How alike images are to the intact model's, mean over judging networks: (neuron, condition).

    The judges are networks that did not model the neuron; pairs are of different searches;
    ``kind``: similarity, or centred, that is less the mean feature.
    """
    return main[kind].mean("judge")


def strongest(values: xr.DataArray) -> xr.DataArray:
    """Conditions of the largest strength alone, at which all kinds of models are compared."""
    return values.isel(condition=np.flatnonzero(values["alpha"] == values["alpha"].max()))


def fall(values: xr.DataArray, sign: str = "positive") -> xr.DataArray:
    """How much a neuron loses: intact less ablated, mean over strengths: (neuron)."""
    return values.isel(condition=0, drop=True) - by_sign.over_alphas(values, sign)


def beyond(values: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
    """How much more the signs differ than for another kind of model, at the largest strength.

    Both (neuron, condition); returns (neuron).
    """
    return by_sign.sign_gap(strongest(values)) - by_sign.sign_gap(strongest(other))


def responses(main: xr.Dataset) -> dict[str, xr.DataArray]:
    """Who responds how strongly to a neuron's images, by a panel's title: (neuron, condition).

    The intact model's prediction and, where something answers in their stead, the neuron itself and
    all other neurons of its session, to images as they are and held.
    """
    found = {"predicted": main["predicted"].mean("seed")}
    if answered(main):
        found |= {f"neuron, {way}": response(main, way) for way in WAYS}
        found |= {f"others, {way}": main["others"].sel(way=way) for way in WAYS}
    return found


def unmoved(main: xr.Dataset, way: str) -> tuple[Array, Array] | None:
    """Responses to images of intact and of negatively ablated models, to ask if they are alike.

    [neuron] each; None where fewer than two neurons are well-fitted, because the test needs a
    spread.
    """
    own = response(main, way)
    if own.sizes["neuron"] < 2:
        return None
    return own.isel(condition=0).values, by_sign.over_alphas(own, "negative").values


def intact(main: xr.Dataset, untrained: Mapping[str, xr.Dataset]) -> dict[str, Array]:
    """Responses [neuron] to images of intact models, by whose model and how it was shown.

    Of the neuron's own model as they are and with luminance and contrast held, of the models of
    other neurons, and of its model on each untrained network.
    """
    kinds = {
        "own model": response(main),
        "held": response(main, "held"),
        **{name: response(own) for name, own in untrained.items()},
    }
    found = {name: values.isel(condition=0).values for name, values in kinds.items()}
    found["other models"] = main["strangers"].sel(way=WAYS[0]).values
    order = ("own model", "held", "other models", *untrained)
    return {name: found[name] for name in order}


def by_session(values: ArrayLike, main: xr.Dataset) -> dict[str, Any]:
    """Values ``[neuron]`` of each session and the mean of all, for `Chapter.claim`.

    Animals and electrodes differ between sessions, so an effect of one may hide in the mean of all.
    A neuron's name tells its session before the slash.
    """
    whole = np.asarray(values)
    sessions = np.array([name.rpartition("/")[0] for name in main["neuron"].values.tolist()])
    each = {one: whole[sessions == one] for one in dict.fromkeys(sessions.tolist())}
    return {"effect": each, "together": stats.mean(whole)}


def panel(
    study: AblatedModels, main: xr.Dataset, most: int = 4
) -> tuple[Tensor, list[tuple[str, float]], list[str]]:
    """What to look at first: images of the models that cross-validation ranks first.

    Returns
    -------
    images, conditions, names
        ``[neuron, condition, 3, height, width]``, of each condition the search that its own row
        scored highest; sign and strength of each, without random ablations; names of neurons.
    """
    first = np.argsort(-main["cv"].values, kind="stable")[:most]
    told = np.flatnonzero(main["sign"].isin(["none", "positive", "negative"]))
    seen = main.isel(neuron=first, condition=told)
    seen = seen.isel(seed=seen["own"].argmax("seed"))
    conditions = list(zip(seen["sign"].values.tolist(), seen["alpha"].values.tolist(), strict=True))
    names = row_labels(seen["neuron"].values.tolist())
    return rendered(study, seen["codes"]), conditions, names


def curves(measures: Mapping[str, xr.DataArray], signs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Change from the intact model against strength, mean over neurons, for `plots.curve_panels`.

    Intervals are of the change within a neuron, which is what is tested, and not of how far neurons
    differ from each other.

    Parameters
    ----------
    measures
        Title to (neuron, condition); one that is not finite, as the similarity of intact images
        with a single search, has no panel.

    Returns
    -------
    dict
        Title to sign to (strengths, curve).
    """
    panels: dict[str, dict[str, Any]] = {}
    for title, own in measures.items():
        if np.isfinite(own).all():
            change = own - own.isel(condition=0, drop=True)
            as_network = change.expand_dims(network=[title]).rename(neuron="unit")
            panels |= by_sign.curves(as_network, signs)
    return panels


def planted(own: Fit, cells: Simulated) -> tuple[Array, Array]:
    """Do models know what drives and what suppresses simulated neurons?

    Models are asked about every class of shape where the neuron looks, before grey.

    Returns
    -------
    drive, suppression
        Prediction for the shape that was planted to drive a neuron less the mean over all shapes,
        ``[neuron]``, and likewise, sign turned, for the one that suppresses it, of neurons that
        have one; in standard deviations of recorded responses.
    """
    asked = [cells.index(name) for name in own.models.labels]
    told = predicted(own, torch.stack([cells.shapes(row) for row in asked])).numpy()
    told = told - told.mean(1, keepdims=True)
    sign = cells.truth()["sign"].values[asked]
    suppressed = (sign < 0).any(1)
    return told[sign > 0], -told[suppressed][sign[suppressed] < 0]
