"""Does a measure rise or fall with a number of each network, such as its training's attack?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import xarray as xr

from signseg_utils.analysis import stats
from signseg_utils.analysis.by_sign import of_sign


def rho(values: xr.DataArray, numbers: Mapping[str, float], seed: int = 0) -> stats.Correlation:
    """Spearman's rho of a number of each network with a measure, over units and networks.

    Parameters
    ----------
    values
        (network, unit). Values that one unit has in several networks are no independent samples:
        whole units are resampled (`stats.spearman_over_units`).
    numbers
        Name of each network to take, to its number.
    """
    chosen = values.sel(network=list(numbers)).transpose("unit", "network")
    return stats.spearman_over_units(list(numbers.values()), chosen.values, seed=seed)


def rho_by_strength(
    values: xr.DataArray, sign: str, numbers: Mapping[str, float], seed: int = 0
) -> dict[float, stats.Correlation]:
    """`rho` at each strength of ablation above zero: a column of the paper's Table 1.

    ``values`` (network, unit, condition).
    """
    line = of_sign(values, sign, intact=False)
    return {
        float(alpha): rho(line.isel(condition=place, drop=True), numbers, seed)
        for place, alpha in enumerate(line["alpha"].values)
    }


def mean_of_cells(cells: Iterable[stats.Correlation]) -> stats.Estimate:
    """Mean of several correlations over the same units, and mean of the ends of their intervals.

    The cells rise and fall together, for they are the same units; so the mean of the ends is no
    narrower than an interval of the mean would be.
    """
    found = list(cells)
    if not found:
        raise ValueError("expected a correlation or more, because they are averaged; got none")
    value, low, high = np.mean([(cell.value, cell.low, cell.high) for cell in found], 0)
    return stats.Estimate(value, low, high, n=found[0].n, seed=found[0].seed)


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
