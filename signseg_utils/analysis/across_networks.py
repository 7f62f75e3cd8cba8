"""Measures over networks: of one design from several seeds, in pairs, and beside a number of each.

A network that was trained once more, from another seed, has that seed in its name:
``resnet-seed2`` is of the design ``resnet``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from signseg_utils.analysis import stats
from signseg_utils.analysis.by_sign import of_sign

SEED = "-seed"


def design(network: str) -> str:
    """Name of the first network of a design: what is left of its name without the seed."""
    return network.partition(SEED)[0]


def designs(networks: Iterable[str]) -> list[str]:
    """The designs of networks, in their order: what figures show a panel of each."""
    return list(dict.fromkeys(map(design, networks)))


def of_design(networks: Iterable[str], *wanted: str) -> list[str]:
    """Those of the networks that are of a design, or of several: a sample of trainings."""
    return [name for name in networks if design(name) in wanted]


def joined(sweeps: Sequence[xr.Dataset]) -> xr.Dataset:
    """Networks of several sweeps (network, unit, condition), at the conditions that all have.

    Networks that were swept at fewer strengths can so be held against the others; the intact unit
    stays first.

    Raises
    ------
    ValueError
        If the sweeps are of different units.
    """
    every = [list(zip(own["sign"].values, own["alpha"].values, strict=True)) for own in sweeps]
    shared = [condition for condition in every[0] if all(condition in own for own in every)]
    places = [[own.index(condition) for condition in shared] for own in every]
    parts = [own.isel(condition=at) for own, at in zip(sweeps, places, strict=True)]
    return xr.concat(parts, "network", join="exact")


def less(values: xr.DataArray, networks: Sequence[str], other: str) -> xr.DataArray:
    """Values (network, unit) of networks less those of the design ``other`` from the same seed.

    Networks of one seed share start and order of images, so they are pairs. Where the other design
    has no network of that seed, its first one stands for it.
    """
    known = values["network"].values.tolist()
    partners = [f"{other}{name.removeprefix(design(name))}" for name in networks]
    partners = [name if name in known else other for name in partners]
    apart = values.sel(network=partners).assign_coords(network=list(networks))
    return values.sel(network=list(networks)) - apart


def rho(values: xr.DataArray, numbers: Mapping[str, float]) -> stats.Correlation:
    """Spearman's rho of a number of each network with a measure, over networks and units.

    Parameters
    ----------
    values
        (network, unit). The interval is for other networks and other units
        (`signseg_utils.analysis.stats.rho_over_networks`).
    numbers
        Name of each network to take, to its number.
    """
    chosen = values.sel(network=list(numbers)).transpose("network", "unit")
    return stats.rho_over_networks(list(numbers.values()), chosen.values)


def rho_by_strength(
    values: xr.DataArray, sign: str, numbers: Mapping[str, float]
) -> dict[float, stats.Correlation]:
    """`rho` at each strength of ablation above zero: a column of the paper's Table 1.

    ``values`` (network, unit, condition).
    """
    line = of_sign(values, sign, intact=False)
    return {
        float(alpha): rho(line.isel(condition=place, drop=True), numbers)
        for place, alpha in enumerate(line["alpha"].values)
    }


def mean_of_cells(cells: Iterable[stats.Correlation]) -> stats.Estimate:
    """Mean of several correlations over the same networks, and mean of the ends of their intervals.

    The cells rise and fall together, for they are the same networks and units; so the mean of the
    ends is no narrower than an interval of the mean would be.
    """
    found = list(cells)
    if not found:
        raise ValueError("expected a correlation or more, because they are averaged; got none")
    value, low, high = np.mean([(cell.value, cell.low, cell.high) for cell in found], 0)
    return stats.Estimate(value, low, high, n=found[0].n, units=found[0].units)


def beside_reported(
    cells: Mapping[str, Mapping[float, stats.Correlation]], reported: pd.DataFrame
) -> pd.DataFrame:
    """Correlations by (sign, alpha) beside what a source reports for the same cell.

    Parameters
    ----------
    cells
        Sign to strength to correlation (`rho_by_strength`).
    reported
        ``number`` and ``spread``, the p value, by condition such as ``positive 0.1``
        (`signseg_utils.chapter.reported.reported`). NaN where a cell is not reported.
    """
    keys = [(sign, alpha) for sign, row in cells.items() for alpha in row]
    found = [cells[sign][alpha] for sign, alpha in keys]
    theirs = reported.reindex([f"{sign} {alpha:g}" for sign, alpha in keys])
    return pd.DataFrame(
        {
            "paper": theirs["number"].to_numpy(float),
            "paper's p": theirs["spread"].to_numpy(float),
            "here": [cell.value for cell in found],
            "low": [cell.low for cell in found],
            "high": [cell.high for cell in found],
            "p": [cell.p for cell in found],
        },
        index=pd.MultiIndex.from_tuples(keys, names=["sign", "alpha"]),
    )
