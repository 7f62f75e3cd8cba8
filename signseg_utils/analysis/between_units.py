"""How unlike the images of different units are: the level at which nothing of a unit is left."""

import numpy as np
import torch
import xarray as xr

from signseg_utils import zoos
from signseg_utils.analysis.images import arranged, rendered


@torch.inference_mode()
def between_units(found: xr.Dataset, zoo: zoos.Zoo, judge: str) -> xr.DataArray:
    """Mean perceptual distance of a unit's control image to those of all other units.

    The floor for ``change`` of `signseg_utils.analysis.images.measure`, whose own value for an
    intact unit is the level among its control images (paper, Fig. 15).

    Parameters
    ----------
    found
        From `signseg_utils.experiments.sweep.collect` or ``run``, of two units or more; condition
        0 is the intact unit. The control images of the first seed are compared.
    judge
        Network of ``zoo`` whose maps give the distance (unweighted LPIPS).

    Returns
    -------
    DataArray
        (network, generator, unit).

    Raises
    ------
    ValueError
        For a single unit.
    """
    keys = list(zip(found["network"].values, found["generator"].values, strict=True))
    if min(keys.count(key) for key in keys) < 2:
        raise ValueError(
            "expected two units or more, because images are compared with those of others; got "
            f"{found.sizes['shard']} shards; ask for more"
        )
    eye = zoo.perceptual(judge)
    generators = {name: zoo.generator(name) for name in dict.fromkeys(found["generator"].values)}
    controls = []
    for shard in range(found.sizes["shard"]):
        piece = found.isel(shard=shard, condition=0, seed=[0])
        controls.append(rendered(generators[str(piece["generator"].values)], piece["codes"])[0])
    apart = np.zeros(len(keys))
    for key in dict.fromkeys(keys):
        mine = [place for place, other in enumerate(keys) if other == key]
        images = torch.stack([controls[place] for place in mine])
        pairs = eye.pairs(images, images).values.numpy()
        apart[mine] = pairs.sum(1) / (len(mine) - 1)  # an image's distance to itself is 0
    coords = {name: found[name] for name in found["shard"].coords}
    return arranged(xr.Dataset({"apart": (("shard",), apart)}, coords))["apart"]
