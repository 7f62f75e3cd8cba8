"""How unlike two images are that differ in nothing, or in everything: levels to compare with."""

import numpy as np
import torch
import xarray as xr

from signseg_utils import zoos
from signseg_utils.analysis.images import arranged, rendered


@torch.inference_mode()
def perceptual_levels(found: xr.Dataset, zoo: zoos.Zoo, judge: str) -> xr.Dataset:
    """Perceptual distance to control images of other seeds, and of other units.

    `measure` compares an image with the control image of its own seed, which began at the same
    code; there an intact unit has a distance of 0. The paper compares with all control images and
    draws the distance among these as the level (Fig. 15).

    Parameters
    ----------
    found
        From `signseg_utils.experiments.sweep.collect` or ``run``, of two seeds and units or more;
        condition 0 is the intact unit.
    judge
        Network of ``zoo`` whose maps give the distance (unweighted LPIPS).

    Returns
    -------
    Dataset
        ``other_seeds`` (network, generator, unit, condition): mean distance between an image and
        the control images of other seeds of the same unit; for condition 0 that is the level among
        control images. ``other_units`` (network, generator, unit): mean distance between the
        unit's control image and those of all other units, of the first seed.

    Raises
    ------
    ValueError
        For a single seed or unit.
    """
    seeds = found.sizes["seed"]
    keys = list(zip(found["network"].values, found["generator"].values, strict=True))
    if seeds < 2 or min(keys.count(key) for key in keys) < 2:
        raise ValueError(
            "expected two seeds and two units or more, because images are compared with those of "
            f"others; got {seeds} seeds and {found.sizes['shard']} shards; ask for more"
        )
    eye = zoo.perceptual(judge)
    generators = {name: zoo.generator(name) for name in dict.fromkeys(found["generator"].values)}
    controls, across = [], []
    for shard in range(found.sizes["shard"]):
        piece = found.isel(shard=shard)
        images = rendered(generators[str(piece["generator"].values)], piece["codes"])
        controls.append(images[0, 0])
        pairs = eye.pairs(images[0], images.flatten(0, 1)).values.numpy()
        each = pairs.reshape(seeds, -1, seeds).transpose(1, 0, 2)  # condition, control, image
        across.append(each[:, ~np.eye(seeds, dtype=bool)].mean(1))
    apart = np.zeros(len(keys))
    for key in dict.fromkeys(keys):
        mine = [place for place, other in enumerate(keys) if other == key]
        images = torch.stack([controls[place] for place in mine])
        pairs = eye.pairs(images, images).values.numpy()
        apart[mine] = pairs.sum(1) / (len(mine) - 1)  # an image's distance to itself is 0
    kept = (*found["shard"].coords, "condition", "sign", "alpha")
    stacked = {"other_seeds": (("shard", "condition"), np.stack(across))}
    return arranged(
        xr.Dataset(
            {**stacked, "other_units": (("shard",), apart)},
            coords={name: found[name] for name in kept},
        )
    )
