"""What models share by layer, and what each sign carries: what chapter 20 compares.

Results of `consolidation.Consolidation` come in; dimension ``model``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from signseg_utils.analysis import stats
from signseg_utils.analysis.shared_filters import NULLS, jackknifed
from signseg_utils.experiments.recorded.consolidation import CONDITIONS, PARTS
from signseg_utils.neurons import circuits

Array = np.ndarray[Any, np.dtype[np.float64]]

KERNELS = ([2, 3], [4, 5])  # layers called early and late, by kernels (source, Fig. 3b)
MAPS = ([1, 2], [3, 4])  # and by activity (Fig. 3c)
MIXING = (["2"], ["3", "4", "5"])  # and by what mixes: before and since the layer that consolidates
INNER = list(PARTS[:-1])


def words(recording: str) -> dict[str, str]:
    """Who is asked, to begin a sentence and within one."""
    real = "Compact models of V4 neurons"
    one = real if recording == "v4" else "Simulated models that were made so"
    return {"who": one, "whom": f"{one[0].lower()}{one[1:]}"}


def early_less_late(means: xr.DataArray, layers: tuple[list[int], list[int]], dim: str) -> Array:
    """Jackknife pseudovalues ``[model]`` of the difference of early and late layers.

    ``means`` are those of each model over its pairs.
    """
    early, late = (means.sel({dim: own}).mean(dim) for own in layers)
    return jackknifed((early - late).values)


def beyond(found: xr.Dataset, null: str = "blurred", among: str = "all") -> xr.DataArray:
    """Similarity of kernels less that of random ones, ``[layer, model]``."""
    return (found["kernels"] - found["chance"].sel(null=null)).sel(among=among)


def of_kernels(found: xr.Dataset) -> dict[str, Array]:
    """The claims about kernels: id to pseudovalues ``[model]``."""
    left = {null: beyond(found, null) for null in NULLS}
    gaps = {null: early_less_late(own, KERNELS, "layer") for null, own in left.items()}
    return {
        "C-4 kernels": early_less_late(found["kernels"].sel(among="all"), KERNELS, "layer"),
        "C-4 kernels beyond chance": gaps["blurred"],
        "C-4 kernels as published": gaps["unblurred"],
        "C-4 kernels beyond covariance": gaps["covariance"],
        "W-layer 3 beyond chance": jackknifed(left["blurred"].sel(layer=3).values),
        "W-late beyond chance": jackknifed(
            left["blurred"].sel(layer=KERNELS[1]).mean("layer").values
        ),
    }


def of_activity(found: xr.Dataset) -> dict[str, Array]:
    """The claims about activity: id to pseudovalues ``[model]``."""
    own, random = (found["control"].sel(weights=name) for name in ("own", "random"))
    left = own - random
    early, late = (left.sel(map=layers).mean("map").values for layers in MAPS)
    return {
        "C-4 activity": early_less_late(found["cka"].sel(among="all"), MAPS, "map"),
        "C-4 activity beyond random": early_less_late(left, MAPS, "map"),
        "W-early activity beyond random": jackknifed(early),
        "W-late activity beyond random": jackknifed(late),
    }


def by_session(found: xr.Dataset) -> dict[str, dict[str, Array]]:
    """Session to the claims told of it alone, where models are of several sessions."""
    sessions = [circuits.session_of(name) for name in found["model"].values.tolist()]
    told: dict[str, dict[str, Array]] = {}
    for session in dict.fromkeys(sessions):
        own = found.isel(model=np.flatnonzero(np.array(sessions) == session))
        kernels = own["kernels"].sel(among="session")
        cka = own["cka"].sel(among="session")
        told[session] = {
            "C-4 kernels": early_less_late(kernels, KERNELS, "layer"),
            "C-4 kernels beyond chance": early_less_late(
                beyond(own, among="session"), KERNELS, "layer"
            ),
            "C-4 activity": early_less_late(cka, MAPS, "map"),
        }
    return told if len(told) > 1 else {}


def of_signs(found: xr.Dataset) -> dict[str, Array]:
    """The claims about signs: id to values ``[model]``."""
    kept = {name: found["kept"].sel(condition=name) for name in CONDITIONS}
    carried = kept["negative"] - kept["positive"]
    inner = carried.sel(part=INNER).mean("part")
    told = {
        "W-carry": inner,
        "W-signs": _late_less_early(sided(found, "passed on")),
        **{f"W-carry layer {part}": carried.sel(part=part) for part in INNER},
        "W-carry readout": carried.sel(part="readout"),
    }
    for kind in ("full", "raw"):
        apart = kept[f"negative {kind}"] - kept[f"positive {kind}"]
        told[f"W-carry {kind}"] = apart.sel(part=INNER).mean("part")
    for sign in ("positive", "negative"):
        apart = kept[f"random of {sign}"] - kept[sign]
        told[f"W-carry {sign} beyond random"] = apart.sel(part=INNER).mean("part")
    told["W-signs raw"] = _late_less_early(sided(found, "raw"))
    return {id: own.values for id, own in told.items()}


def sided(found: xr.Dataset, gauge: str) -> xr.DataArray:
    """How far weights are of one sign beyond coins, ``[part, model]``."""
    return (found["one_sided"] - found["tossed"]).sel(gauge=gauge)


def _late_less_early(values: xr.DataArray) -> xr.DataArray:
    early, late = (values.sel(part=own).mean("part") for own in MIXING)
    return late - early


# ---------------------------------------------------------------- figures


def kernel_curves(found: xr.Dataset) -> dict[str, Any]:
    """Similarity of kernels by layer, real ones and random ones."""
    real = {"models": found["kernels"].sel(among="all")}
    chance = found["chance"].sel(among="all")
    names = {"blurred": "as smooth", "unblurred": "not blurred", "covariance": "same covariance"}
    real |= {names[null]: chance.sel(null=null) for null in NULLS}
    return {"": {name: _curve(own, "layer") for name, own in real.items()}}


def activity_curves(found: xr.Dataset) -> dict[str, Any]:
    """CKA by layer: all models, and those that are compared with their like of random weights."""
    control = found["control"]
    curves = {
        "models": found["cka"].sel(among="all"),
        "random weights": control.sel(weights="random"),
    }
    return {"": {name: _curve(own, "map") for name, own in curves.items()}}


def _curve(means: xr.DataArray, dim: str) -> tuple[Any, stats.Curve]:
    rows = np.stack([jackknifed(own) for own in means.transpose(dim, ...).values], 1)
    return means[dim].values, stats.mean_curve(rows)


def kept_panels(found: xr.Dataset) -> dict[str, dict[str, Array]]:
    """Correlation with the intact response ``[model]`` by part, half of a sign ablated."""
    names = {"positive": "positive", "negative": "negative", "random of positive": "random"}
    return {
        title(part): {
            names[one]: found["kept"].sel(condition=one, part=part).values for one in names
        }
        for part in PARTS
    }


def sided_panels(found: xr.Dataset) -> dict[str, dict[str, Array]]:
    """How far weights are of one sign beyond coins ``[model]``, by part and gauge."""
    gauges = {"passed on": "passed", "raw": "raw"}
    return {
        title(part): {gauges[one]: sided(found, one).sel(part=part).values for one in gauges}
        for part in PARTS
    }


def title(part: str) -> str:
    return part if part == "readout" else f"layer {part}"
