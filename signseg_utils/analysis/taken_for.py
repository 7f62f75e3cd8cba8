"""What other networks take pictures for: animals, whatever was climbed for?

Of joined ascents (`signseg_utils.experiments.ascents`) whose pictures are stored.
"""

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr

from signseg_utils import zoos
from signseg_utils.analysis import images, stats
from signseg_utils.analysis.kinds_of_things import ANIMALS, ARTEFACTS, kinds
from signseg_utils.zoos import Zoo


@torch.inference_mode()
def animals(zoo: Zoo, found: xr.Dataset, conditions: Sequence[str]) -> xr.DataArray:
    """Probability that other networks give to all animals together: [unit, condition].

    Mean over starts and over the standard networks of ``zoo`` that were not climbed in; ``found``
    is of a single network.
    """
    few = found.sel(condition=list(conditions))
    (climbed,) = few["network"].values.tolist()
    others = [zoos.kept(zoo, name) for name in zoo.networks if name != climbed]
    here = torch.from_numpy(np.isin(kinds(zoo.classes), ANIMALS))
    given = []
    for piece in images.pieces(few):
        pictures = images.made(piece, zoo, {})[0]
        answers = [own.logits(pictures.flatten(0, 1)).double().softmax(1) for own in others]
        animal = torch.stack(answers).mean(0)[:, here].sum(1)
        given.append(animal.unflatten(0, pictures.shape[:2]).mean(1).numpy())
    coords = {"unit": few["unit"], "condition": few["condition"]}
    return xr.DataArray(np.stack(given), coords, ("unit", "condition"))


def things(values: xr.DataArray) -> xr.DataArray:
    """Of values ``[unit, ...]`` those of units for things that people made."""
    return values.isel(unit=np.isin(kinds(values["unit"].values.tolist()), ARTEFACTS))


def by_group(values: xr.DataArray) -> dict[str, dict[str, stats.Estimate]]:
    """Things and animals to condition to the mean over units, for `plots.effect_rows`."""
    of = np.array(kinds(values["unit"].values.tolist()))
    groups = {"pictures of things": ARTEFACTS, "pictures of animals": ANIMALS}
    chosen = {name: values.isel(unit=np.isin(of, group)) for name, group in groups.items()}
    words = [str(name).replace("_magnitude", "") for name in values["condition"].values]
    return {
        f"{name} ({own.sizes['unit']})": {
            word: stats.mean(own.isel(condition=place).values) for place, word in enumerate(words)
        }
        for name, own in chosen.items()
        if own.sizes["unit"]
    }
