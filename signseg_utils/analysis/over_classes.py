"""What either sign is worth to each of many classes, and what sets classes apart.

Measures are values ``[network, unit, condition]`` as `signseg_utils.experiments.all_units` gives
them, averaged over witnesses and starts.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from scipy.stats import binomtest

from signseg_utils.analysis import by_sign, stats
from signseg_utils.analysis.kinds_of_things import ANIMALS, ARTEFACTS, kinds
from signseg_utils.units.signs import sign_ratio
from signseg_utils.zoos import Zoo


def kept_beyond(recognised: xr.DataArray, sign: str = "negative") -> xr.DataArray:
    """What is left under ablation of a sign, beyond the share that a network usually leaves.

    A class that others recognise well to begin with has more to lose. So from what is left, mean
    over strengths, is taken what would be left if each class of the network kept the same share of
    what its intact unit's image was given: 0 for all classes then.

    Returns
    -------
    DataArray [network, unit]
    """
    left = by_sign.over_alphas(recognised, sign)
    intact = recognised.sel(condition="intact", drop=True)
    share = left.sum("unit") / intact.sum("unit")
    return (left - share * intact).transpose("network", "unit")


def by_kind(
    recognised: xr.DataArray, conditions: Sequence[str]
) -> dict[str, dict[str, stats.Estimate]]:
    """Kind of thing to condition to what others recognise, for `signseg_utils.plots.forest`.

    The sample are classes, averaged over networks; kinds by what is left under the last condition,
    the most first.
    """
    values = recognised.mean("network")
    of = np.array(kinds(values["unit"].values.tolist()))
    found = {
        f"{kind} ({(of == kind).sum()})": {
            name: stats.mean(values.sel(condition=name).values[of == kind]) for name in conditions
        }
        for kind in dict.fromkeys(of.tolist())
    }
    return dict(sorted(found.items(), key=lambda row: -row[1][conditions[-1]].value))


def animals_less_artefacts(beyond: xr.DataArray) -> stats.Estimate | None:
    """Mean of animals less that of things that people made; None if there are none of either.

    Classes are the sample.
    """
    values = beyond.mean("network").values
    of = np.array(kinds(beyond["unit"].values.tolist()))
    animals, artefacts = (values[np.isin(of, group)] for group in (ANIMALS, ARTEFACTS))
    return stats.gap(animals, artefacts) if len(animals) and len(artefacts) else None


def in_most(gap: xr.DataArray) -> stats.Estimate:
    """Share of classes with an effect above 0, mean over networks, less one half."""
    hits, n = int((gap.mean("network") > 0).sum()), gap.sizes["unit"]
    found = stats.share(hits, n)
    return replace(
        found,
        value=found.value - 0.5,
        low=found.low - 0.5,
        high=found.high - 0.5,
        p=float(binomtest(hits, n).pvalue),
    )


def with_others(gap: xr.DataArray) -> dict[str, stats.Correlation] | None:
    """Network to rho over classes of its effect with the mean of the other networks' effects.

    None if there is one network.
    """
    names = gap["network"].values.tolist()
    if len(names) == 1:
        return None
    return {
        name: stats.spearman(gap.sel(network=name), gap.drop_sel(network=name).mean("network"))
        for name in names
    }


def with_ratio(beyond: xr.DataArray, ratios: xr.DataArray) -> dict[str, stats.Correlation]:
    """Network to rho over classes of the sign ratio of its weights and what is kept."""
    return {
        name: stats.spearman(ratios.sel(network=name), beyond.sel(network=name))
        for name in beyond["network"].values.tolist()
    }


def furthest(gap: xr.DataArray, count: int) -> tuple[list[str], list[str]]:
    """Classes in which an effect, mean over networks, is smallest, and where it is largest."""
    order = np.argsort(gap.mean("network").values, kind="stable")
    names = gap["unit"].values[order].tolist()
    return names[:count], names[::-1][:count]


def sign_ratios(zoo: Zoo, values: xr.DataArray) -> xr.DataArray:
    """Summed positive over summed negative weight of each unit: ``[network, unit]``."""
    names = values["unit"].values.tolist()
    found = [
        sign_ratio(zoo.network(network).readout.rows(names).weight).numpy()
        for network in values["network"].values.tolist()
    ]
    return values.copy(data=np.stack(found))
