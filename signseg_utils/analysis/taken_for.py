"""What other networks take pictures for: animals, whatever was climbed for?

Of joined ascents (`signseg_utils.experiments.ascents`) whose pictures are stored.
"""

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr

from signseg_utils.analysis import stats
from signseg_utils.analysis.images import decoded
from signseg_utils.analysis.kinds_of_things import ANIMALS, ARTEFACTS, kinds
from signseg_utils.zoos import Zoo


@torch.inference_mode()
def animals(zoo: Zoo, found: xr.Dataset, conditions: Sequence[str]) -> xr.DataArray:
    """Probability that other networks give to all animals together: [unit, condition].

    Mean over starts and over the standard networks of ``zoo`` that were not climbed in; ``found``
    is of a single network.
    """
    own = found.squeeze("network").sel(condition=list(conditions))
    others = [name for name in zoo.networks if name != str(own["network"].values)]
    here = torch.from_numpy(np.isin(kinds(zoo.classes), ANIMALS))
    runs = own[["picture", "length"]].stack(run=("unit", "condition", "seed"))
    given = []
    for place in range(runs.sizes["run"]):
        picture = decoded(runs.isel(run=place))[None] / 255
        answers = [zoo.network(name).logits(picture).double().softmax(1)[0] for name in others]
        given.append(float(torch.stack(answers).mean(0)[here].sum()))
    along = ("unit", "condition", "seed")
    whole = np.reshape(given, [own.sizes[name] for name in along])
    coords = {name: own[name] for name in along}
    return xr.DataArray(whole, coords, along).mean("seed")


def things(values: xr.DataArray) -> xr.DataArray:
    """Of values ``[unit, ...]`` those of units for things that people made."""
    return values.isel(unit=np.isin(kinds(values["unit"].values.tolist()), ARTEFACTS))


def by_group(values: xr.DataArray) -> dict[str, dict[str, stats.Estimate]]:
    """Things and animals to condition to the mean over units, for `plots.effect_rows`."""
    of = np.array(kinds(values["unit"].values.tolist()))
    groups = {"pictures of things": ARTEFACTS, "pictures of animals": ANIMALS}
    chosen = {name: values.isel(unit=np.isin(of, group)) for name, group in groups.items()}
    return {
        f"{name} ({own.sizes['unit']})": {
            str(condition): stats.mean(own.sel(condition=condition).values)
            for condition in own["condition"].values
        }
        for name, own in chosen.items()
        if own.sizes["unit"]
    }
