"""How far a network's features go below zero, and how much of a unit's drive goes that way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from signseg_utils import zoos
from signseg_utils.analysis.images import own_images
from signseg_utils.networks import change_if_mirrored
from signseg_utils.units.signs import drive_through_negative, negative_share


def below_zero(
    searches: xr.Dataset, zoo: zoos.Zoo, networks: Sequence[str], units: Sequence[str]
) -> xr.Dataset:
    """Features below zero in each network, for the images that its own intact units prefer.

    Parameters
    ----------
    searches
        `signseg_utils.analysis.images.arranged`.

    Returns
    -------
    Dataset
        ``features below zero`` (network, unit): share of the features' summed magnitude. ``drive
        through negative weights`` (network, unit): share of what drives the unit that comes from
        negative weights on negative features. Both are means over the unit's preferred images, and
        0 by arithmetic behind ReLU and softplus. ``change if mirrored`` (network): mean change of
        the responses, in their standard deviations, when every second feature is turned round with
        all its weights; 0 where the network cannot tell which of its weights are negative.
    """
    below, drive, moved = [], [], []
    for name in networks:
        network, images = zoo.network(name), own_images(searches, zoo, name, units)
        flat = images.flatten(0, 1)
        features = network.backbone(flat).unflatten(0, images.shape[:2])
        weight = network.readout.rows(units).weight[:, None]
        below.append(negative_share(features).mean(1).numpy())
        drive.append(drive_through_negative(weight, features).mean(1).numpy())
        moved.append(change_if_mirrored(network, flat))
    along = ("network", "unit")
    return xr.Dataset(
        {
            "features below zero": (along, np.stack(below)),
            "drive through negative weights": (along, np.stack(drive)),
            "change if mirrored": ("network", moved),
        },
        {"network": list(networks), "unit": list(units)},
    )
