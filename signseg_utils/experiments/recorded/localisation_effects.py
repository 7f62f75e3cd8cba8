"""What discs and masks tell about neurons and their models: the measures that chapter 14 compares.

Results of `localisation.Localisation` come in; dimensions are ``who`` (neuron, model) and
``neuron``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from signseg_utils.analysis import localize
from signseg_utils.analysis.similarity import cosine_similarity
from signseg_utils.experiments.recorded.base import row_labels
from signseg_utils.experiments.recorded.localisation import KINDS
from signseg_utils.networks import Network
from signseg_utils.neurons.simulated import Simulated

Array = np.ndarray[Any, np.dtype[np.float64]]


def together(measured: Sequence[xr.Dataset]) -> xr.Dataset:
    """Neurons of all sessions in one dataset, with what follows from the numbers.

    ``found`` [who, neuron] bool: is there a place; ``share`` [who, neuron] of the image that the
    mask covers; ``change`` [who, neuron, kind]: response to the cleared image over that to the
    intact one, both less the response that means nothing, less 1; ``change_natural``
    [neuron, shown] likewise, where there are twins.
    """
    whole = xr.concat(list(measured), "neuron", combine_attrs="drop")
    whole["found"] = whole["mask"].any(("row", "column"))
    whole["share"] = whole["mask"].mean(("row", "column"))
    scale = whole["intact"] - whole["floor"]
    whole["change"] = (whole["cleared"] - whole["floor"]) / scale - 1
    if "natural" in whole:
        whole["change_natural"] = whole["natural"] / whole["natural"].sel(shown="intact") - 1
    return whole


@torch.inference_mode()
def evolved(whole: xr.Dataset, generator: nn.Module) -> dict[str, Tensor]:
    """Evolved images ``[neuron, 3, height, width]`` of ``neuron`` and ``model``."""
    return {
        str(who): generator(torch.from_numpy(whole["codes"].sel(who=who).values).float())
        for who in whole["who"].values
    }


@torch.inference_mode()
def own_less_others(first: Tensor, second: Tensor, judges: Sequence[Network]) -> Array:
    """How much more alike each image of ``first`` is to its own of ``second`` than to the others.

    Parameters
    ----------
    first, second
        ``[neuron, 3, height, width]``, two neurons or more.
    judges
        Networks whose features say how alike images are; these are centred on all images.

    Returns
    -------
    ndarray [neuron]
        Centred cosine similarity, mean over judges, to its own less the mean of the others.
    """
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(
            f"expected as many images in both, and two or more; got {len(first)} and {len(second)}"
        )
    alike = torch.zeros(len(first), len(first))
    for judge in judges:
        one, two = judge.backbone(first), judge.backbone(second)
        centre = torch.cat([one, two]).mean(0)
        alike += cosine_similarity(one[:, None, None], two[None, :, None], centre) / len(judges)
    own = alike.diagonal()
    return np.asarray((own - (alike.sum(1) - own) / (len(first) - 1)).numpy())


def localised(whole: xr.Dataset, who: str) -> xr.Dataset:
    """Of a neuron or a model, those in whose image a place was found: dimension ``neuron``."""
    own = whole.sel(who=who)
    return own.isel(neuron=np.flatnonzero(own["found"]))


def in_both(whole: xr.Dataset) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Numbers of the neurons that have a place in their own image and in that of their model."""
    return np.flatnonzero(whole["found"].all("who"))


def masked(whole: xr.Dataset, images: dict[str, Tensor]) -> dict[str, list[Tensor | None]]:
    """Images with all but the mask cleared to grey, ``who`` to one a neuron; None without a place.

    ``images`` as of `evolved`.
    """
    return {
        who: [
            localize.clear_background(image, torch.from_numpy(mask)) if mask.any() else None
            for image, mask in zip(own, whole["mask"].sel(who=who).values, strict=True)
        ]
        for who, own in images.items()
    }


def beside_masked(
    whole: xr.Dataset,
    images: dict[str, Tensor],
    kept: dict[str, list[Tensor | None]],
    most: int = 5,
) -> tuple[list[list[Tensor | None]], list[str], list[str]]:
    """What to look at first: images of the neurons that models predict best, whole and masked.

    Returns
    -------
    rows, names, heads
        A row a neuron that has a place in both images, or the first neuron where none has: the
        image and its masked form, of the neuron and then of the model; and what the grid's rows
        and columns are called.
    """
    both = in_both(whole)
    order = np.argsort(-whole["fit"].values[both])
    shown = both[order][:most].tolist() or [0]
    rows = [[kind[who][n] for who in images for kind in (images, kept)] for n in shown]
    heads = [words for who in images for words in (f"{who}'s", "masked")]
    return rows, row_labels(whole["neuron"].values[shown].tolist()), heads


def of_both(images: Sequence[Tensor | None], numbers: Sequence[int]) -> Tensor:
    """Images ``[neuron, 3, height, width]`` of these neurons, all of which have one."""
    return torch.stack([image for n in numbers if (image := images[n]) is not None])


def foretold(own: xr.Dataset) -> dict[str, Array]:
    """Correlation over discs a map has not seen of their change with the map under them, [neuron].

    ``own`` as of `localised`; of the map, and of maps made of shuffled changes.
    """
    names = {"map": "measured", "shuffled map": "shuffled"}
    return {name: own["foretold"].sel(map=kind).values for name, kind in names.items()}


def rises(own: xr.Dataset) -> dict[str, Array]:
    """Change of the response when the background goes, by how it is cleared: [neuron].

    ``own`` as of `localised`; a share of the intact response.
    """
    return {kind: own["change"].sel(kind=kind).values for kind in KINDS}


def natural_rise(whole: xr.Dataset) -> xr.DataArray:
    """Likewise for the image of the experiment that a neuron prefers, where it has a place in it.

    Greyed outside of its mask: (neuron).
    """
    return whole["change_natural"].sel(shown="grey").dropna("neuron")


def on_own_field(own: xr.Dataset, cells: Simulated, size: int) -> Array:
    """Overlap of each mask with the known receptive field, less the mean over others' fields.

    ``own`` as of `localised`, of simulated neurons; ``size``: of the images. Returns [neuron].
    """
    fields = cells.receptive_fields(size)
    masks = [torch.from_numpy(mask) for mask in own["mask"].values]
    match = np.array([[localize.overlap(mask, field) for field in fields] for mask in masks])
    places = [cells.index(name) for name in own["neuron"].values.tolist()]
    mine = match[np.arange(len(match)), places]
    return np.asarray(mine - (match.sum(1) - mine) / (len(cells) - 1))


def by_surround(values: xr.DataArray, cells: Simulated) -> tuple[Array, Array] | None:
    """Values (neuron) of simulated neurons with and without a suppressive surround, [neuron] each.

    None where either kind is missing.
    """
    planted = cells.truth()["background_suppression"].to_series() > 0
    split = planted[values["neuron"].values].to_numpy(dtype=bool)
    if not split.any() or split.all():
        return None
    return values.values[split], values.values[~split]
