"""How small models are, and what it costs: what chapter 18 compares.

Results of `compressed.Compressed` and `published.Published` come in; dimension ``neuron``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import rankdata

from signseg_utils.analysis import stats
from signseg_utils.experiments.recorded.compressed import FLOOR, STUDENTS, TEACHER

Array = np.ndarray[Any, np.dtype[np.float64]]
PRUNED = STUDENTS[1:4]


def together(found: Sequence[xr.Dataset]) -> xr.Dataset:
    """Neurons of all sessions; the weights of students are left out."""
    few = [own.drop_vars("weights", errors="ignore") for own in found]
    return xr.concat(few, "neuron", combine_attrs="drop")


def by_layer(channels: xr.DataArray) -> tuple[Array, Any]:
    """Layers, and the mean number of channels [layer, neuron] in each with its interval."""
    values = channels.transpose("neuron", "layer").values
    return channels["layer"].values, stats.mean_curve(values)


def widths(whole: xr.Dataset) -> dict[str, tuple[Array, Any]]:
    """`by_layer` of students that were pruned, by name."""
    return {name: by_layer(whole["channels"].sel(student=name)) for name in PRUNED}


def predictions(whole: xr.Dataset) -> dict[str, Array]:
    """R2 [neuron] with recorded responses, by model."""
    return {str(name): whole["r2"].sel(model=name).values for name in whole["model"].values}


def against(
    whole: xr.Dataset, published: xr.Dataset | None = None
) -> tuple[dict[str, xr.DataArray], xr.DataArray, str]:
    """What size is held against, a panel each, what stands across from it, and the latter's label.

    Of V4, sizes of published models; of simulated neurons their subunits; of others how well the
    large model predicts them. All ``[neuron]``.
    """
    if published is not None:
        across = {"filters": published["filters"], "R² of ridge regression": published["ridge"]}
        return across, published["r2"], "R² of published models"
    teacher = whole["r2"].sel(model="teacher")
    across = {"subunits": whole["subunits"]} if "subunits" in whole else {"R² of teacher": teacher}
    return across, whole["filters"].sel(student="no floor"), "filters without a floor"


def lost(whole: xr.Dataset, first: str, second: str = "pruned") -> Array:
    """R2 of one model less that of another, [neuron]."""
    return np.asarray(whole["r2"].sel(model=first).values - whole["r2"].sel(model=second).values)


def fewer(whole: xr.Dataset, first: str, second: str) -> Array:
    """log2 of the filters of one student over those of another, [neuron]."""
    filters = whole["filters"]
    return np.asarray(np.log2(filters.sel(student=first) / filters.sel(student=second)))


def late_share(whole: xr.Dataset, student: str) -> Array:
    """Share of a student's channels that lies in the last two layers, [neuron]."""
    own = whole["channels"].sel(student=student)
    return np.asarray(own.isel(layer=slice(-2, None)).sum("layer") / own.sum("layer"))


def narrowing(whole: xr.Dataset, student: str) -> Array:
    """log2 of the channels of the first two layers over those of the last two, [neuron]."""
    own = whole["channels"].sel(student=student)
    ends = [own.isel(layer=part).sum("layer") for part in (slice(2), slice(-2, None))]
    return np.asarray(np.log2(ends[0] / ends[1]))


def on_floor(channels: xr.DataArray) -> Array:
    """Share of models whose layer is as narrow as the floor allows, [layer]."""
    return np.asarray((channels <= FLOOR).mean("neuron"))


def within_ability(size: Array, r2: Array, other: Array) -> Any:
    """Spearman's rho of size and R2 among neurons that another model predicts alike.

    The ranks of ``other``'s R2 are taken off the ranks of both by regression; all ``[neuron]``.
    """
    beside = rankdata(other) - (len(other) + 1) / 2
    left = []
    for values in (size, r2):
        ranks = rankdata(values) - (len(values) + 1) / 2
        left.append(ranks - beside * (ranks @ beside) / (beside @ beside))
    return stats.spearman(*left)


__all__ = [
    "PRUNED",
    "TEACHER",
    "by_layer",
    "fewer",
    "late_share",
    "lost",
    "narrowing",
    "on_floor",
    "predictions",
    "together",
    "widths",
    "within_ability",
]
