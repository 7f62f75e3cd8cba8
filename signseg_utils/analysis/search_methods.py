"""Search methods side by side: how far each gets, how soon, and which does best.

Takes the races of `signseg_utils.experiments.races`: the same units searched by several optimisers
from the same starts, with the same number of images. What a search ends with is always told
without noise, whatever the search itself heard.
"""

from collections.abc import Sequence
from typing import Any

import xarray as xr

from signseg_utils.analysis import stats
from signseg_utils.analysis.stats import Estimate

REFERENCE = "cholesky_cma"  # the paper's choice, which the others are held against
FLOOR = "random_search"  # learns nothing from what it hears
NAMES = {
    "cholesky_cma": "Cholesky CMA",
    "sphere_cma": "SphereCMA",
    "sep_cma": "separable CMA",
    "pycma": "full CMA",
    "csa_es": "isotropic ES",
    "random_search": "random search",
}


def titles(optimizers: Sequence[str]) -> list[str]:
    """Names as figures and sentences have them; an optimiser of your own keeps its own."""
    return [NAMES.get(name, name) for name in optimizers]


def challengers(optimizers: Sequence[str]) -> list[str]:
    """The methods that could take the reference's place: all but itself and the floor."""
    return [name for name in optimizers if name not in (REFERENCE, FLOOR)]


def scale(found: xr.Dataset) -> xr.DataArray:
    """What counts as 1: the reference's end without noise, (network, generator).

    The mean over units and seeds, because a ratio unit by unit would be ruled by the few units
    that hardly answer.
    """
    return found["activation"].mean("seed").sel(optimizer=REFERENCE, noise=0).mean("unit")


def kept(found: xr.Dataset) -> xr.DataArray:
    """Final activation on that `scale`, over networks and generators: (optimizer, unit, noise)."""
    mean = found["activation"].mean("seed")
    return (mean / scale(found)).mean(["network", "generator"])


def gains(found: xr.Dataset) -> xr.DataArray:
    """Final activation less the reference's under the same noise: (optimizer, noise, unit).

    Above 0, a method ends higher than the reference; 0.1 is a tenth of what the reference ends
    with without noise.
    """
    mean = found["activation"].mean("seed")
    gain = ((mean - mean.sel(optimizer=REFERENCE)) / scale(found)).mean(["network", "generator"])
    return gain.transpose("optimizer", "noise", "unit")


def delays(reached: xr.DataArray) -> xr.DataArray:
    """How much later than the reference a method gets to its target: (optimizer, unit).

    ``reached`` (network, generator, optimizer, unit, noise, seed): share of the budget that was
    spent by then, of `signseg_utils.experiments.races.to_target`. Without noise; 0.1 is a tenth of
    the budget later.
    """
    late = reached.sel(noise=0).mean(["network", "generator", "seed"])
    late = late.transpose("optimizer", "unit")
    return late - late.sel(optimizer=REFERENCE)


def best(gain: xr.DataArray, rivals: Sequence[str]) -> tuple[str, Estimate, float]:
    """The rival that surely gains most without noise, its gain, and the level of its interval.

    The one whose interval ends highest at its lower end; intervals are widened for the number of
    rivals, so that all together hold at 95 %.
    """
    level = 1 - 0.05 / max(1, len(rivals))
    found = {name: stats.mean(gain.sel(optimizer=name, noise=0), level=level) for name in rivals}
    first = max(found, key=lambda name: found[name].low)
    return first, found[first], level


def curves(values: xr.DataArray, along: str) -> dict[str, tuple[xr.DataArray, Any]]:
    """Mean over units with its interval for each method: name to (points, `stats.Curve`).

    ``values`` (optimizer, unit, ``along``).
    """
    drawn = {}
    for name in values["optimizer"].values.tolist():
        curve = values.sel(optimizer=name).transpose("unit", along)
        band = stats.mean_curve(curve.values)
        drawn[NAMES.get(name, name)] = curve[along], band
    return drawn


def trajectories(found: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Activation held against the share of the budget spent, without noise, on `scale`.

    Network and generator to `curves`; shares at which not every method has an image yet are left
    out.
    """
    held = (found["trace"].sel(noise=0).mean("seed") / scale(found)).dropna("share")
    return {
        f"{network}, {generator}": curves(held.sel(network=network, generator=generator), "share")
        for generator in held["generator"].values.tolist()
        for network in held["network"].values.tolist()
    }
