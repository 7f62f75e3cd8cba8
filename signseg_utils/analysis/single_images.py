"""The one image that a unit likes best under each condition, and what is measured of it alone.

Chapters average measures over searches; who looks at a single image wants to know what that image
is worth. Stored codes are rendered again, and networks and detector look at what comes out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn.functional import cosine_similarity

from signseg_utils.analysis.images import pictures, rendered
from signseg_utils.metrics import recognition
from signseg_utils.zoos import Zoo


@dataclass(frozen=True)
class Bank:
    """Units of one network with an image for each condition.

    Attributes
    ----------
    network, generator
        Names; no generator where pixels themselves were climbed.
    units
        Labels of the network's readout.
    conditions
        (sign, alpha) of each; one is ``("none", 0)``.
    images
        uint8 [unit, condition, 3, height, width].
    measures
        Name to [unit, condition], NaN where it cannot be told: ``activation`` of the ablated unit;
        ``similarity``, mean cosine to the intact unit's images of other searches; ``recognition``,
        probability of the unit's class, mean over other networks; ``objectness``.
    """

    network: str
    generator: str
    units: Sequence[str]
    conditions: Sequence[tuple[str, float]]
    images: Tensor
    measures: Mapping[str, np.ndarray]


@torch.inference_mode()
def of_searches(found: xr.Dataset, zoo: Zoo, detector: Any = None) -> Bank:
    """Of each condition the search with the highest activation.

    Parameters
    ----------
    found
        Searches of one network through one generator, joined along ``shard``
        (`signseg_utils.experiments.sweep.Shard.joined`); condition 0 is the intact unit.
    detector
        Anything with ``objectness(images)``; None: objectness is not told.
    """
    name, generator = str(found["network"].values[0]), str(found["generator"].values[0])
    units = found["unit"].values.tolist()
    best = found["activation"].argmax("seed")
    codes = found["codes"].transpose("shard", "condition", "seed", "code")
    maker = zoo.generator(generator)
    shown = rendered(maker, codes.isel(seed=best))
    intact = rendered(maker, codes.isel(condition=0))
    shape = shown.shape[:2]
    labels = torch.tensor([zoo.classes.index(unit) for unit in units]).repeat_interleave(shape[1])
    own = torch.from_numpy(best.transpose("shard", "condition").values)
    others = own[..., None] != torch.arange(intact.shape[1])  # searches; one's own says nothing
    alike, recognised = [], []
    for judge in map(zoo.network, zoo.judges):
        features = judge.backbone(shown.flatten(0, 1))
        known = judge.backbone(intact.flatten(0, 1)).unflatten(0, intact.shape[:2])
        cosines = cosine_similarity(features.unflatten(0, shape)[:, :, None], known[:, None], -1)
        alike.append(torch.where(others, cosines, torch.nan).nanmean(-1))
        if judge.name != name:
            answers = judge.readout.responses(features)
            recognised.append(recognition.probability(answers, labels).unflatten(0, shape))
    measures = {
        "activation": found["activation"].isel(seed=best).transpose("shard", "condition").values,
        "similarity": torch.stack(alike).mean(0).numpy(),
        "recognition": torch.stack(recognised).mean(0).numpy(),
    }
    if detector is not None:
        seen = detector.objectness(shown.flatten(0, 1))
        measures["objectness"] = seen.unflatten(0, shape).numpy()
    signs, alphas = found["sign"].values.tolist(), found["alpha"].values.tolist()
    conditions = list(zip(signs, alphas, strict=True))
    pixels = (shown.clamp(0, 1) * 255).round().byte()
    return Bank(name, generator, units, conditions, pixels, measures)


def of_ascents(found: xr.Dataset, network: str, detector: Any = None) -> Bank:
    """Of each condition the ascent with the highest activation, with what was measured of it.

    ``found`` are joined ascents (`signseg_utils.experiments.ascents`); ``detector`` as in
    `of_searches`.
    """
    pixels, conditions = pictures(found, network)
    own = found.sel(network=network)
    own = own.isel(seed=own["activation"].argmax("seed"))
    measures = {
        "activation": own["activation"].transpose("unit", "condition").values,
        "recognition": own["recognition"].mean("witness").transpose("unit", "condition").values,
    }
    if detector is not None:
        seen = detector.objectness(pixels.flatten(0, 1))
        measures["objectness"] = seen.unflatten(0, pixels.shape[:2]).numpy()
    return Bank(network, "", found["unit"].values.tolist(), conditions, pixels, measures)
