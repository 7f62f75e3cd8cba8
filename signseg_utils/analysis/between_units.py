"""How unlike the images of different units are: the level at which nothing of a unit is left."""

from typing import Any

import numpy as np
import torch
import xarray as xr

from signseg_utils import zoos
from signseg_utils.analysis import images


@torch.inference_mode()
def between_units(found: xr.Dataset, zoo: zoos.Zoo, judge: str) -> xr.DataArray:
    """Mean perceptual distance of a unit's control image to those of all other units.

    The floor for ``change`` of `signseg_utils.analysis.images.measure`, whose own value for an
    intact unit is the level among its control images (paper, Fig. 15).

    Parameters
    ----------
    found
        A collected sweep or joined ascents, of two units or more; condition 0 is the intact
        unit. The control images of the first seed are compared.
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
    every = images.pieces(found)
    keys = [(str(piece["network"].values), str(piece["generator"].values)) for piece in every]
    if min(keys.count(key) for key in keys) < 2:
        raise ValueError(
            "expected two units or more, because images are compared with those of others; got "
            f"{len(every)} pieces; ask for more"
        )
    eye = zoo.perceptual(judge)
    makers: dict[str, Any] = {}
    first = [piece.isel(condition=[0], seed=[0]) for piece in every]
    controls = [images.made(piece, zoo, makers)[0][0, 0] for piece in first]
    apart = np.zeros(len(keys))
    for key in dict.fromkeys(keys):
        mine = [place for place, other in enumerate(keys) if other == key]
        own = torch.stack([controls[place] for place in mine])
        pairs = eye.pairs(own, own).values.numpy()
        apart[mine] = pairs.sum(1) / (len(mine) - 1)  # an image's distance to itself is 0
    return images.arranged(xr.Dataset({"apart": (("shard",), apart)}, images.named(every)))["apart"]
