"""What may set units of one network apart: properties of a unit that an effect could go with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from signseg_utils import zoos
from signseg_utils.experiments.class_accuracy import class_accuracy
from signseg_utils.units.signs import sign_ratio

FEWEST = 5  # images of a class that make an accuracy


def of_units(
    zoo: zoos.Zoo, network: str, units: Sequence[str], seen: xr.Dataset
) -> dict[str, np.ndarray]:
    """Four properties of each unit by name, ``[unit]`` each.

    Parameters
    ----------
    seen
        `signseg_utils.analysis.images.by_unit` of the same network and units.

    Returns
    -------
    dict
        ``accuracy``: the network's top-1 for the unit's class, NaN where it was not counted on
        `FEWEST` images or more.
        ``sign ratio``: summed positive over summed negative weights. ``objectness, intact`` and
        ``likeness, intact``: of the intact unit's images, the latter among themselves.
    """
    own = seen.sel(network=network, unit=list(units))
    return {
        "accuracy": class_accuracy(zoo, network, units, missing=np.nan, fewest=FEWEST),
        "sign ratio": sign_ratio(zoo.network(network).readout.rows(units).weight).numpy(),
        "objectness, intact": own["objectness"].isel(condition=0).values,
        "likeness, intact": own["strict_similarity"].isel(condition=0).values,
    }
