"""What images made with models did to neurons and to other models: what chapter 19 compares.

Results of `driven.Driven` and `perturbed.Perturbed` come in; dimension ``neuron``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from signseg_utils.analysis import stats
from signseg_utils.experiments.recorded.perturbed import KINDS, WHO
from signseg_utils.neurons import causal

Array = np.ndarray[Any, np.dtype[np.float64]]
BOTH = ["synthesised first", "synthesised second"]


def by_kind(found: xr.Dataset) -> xr.Dataset:
    """Sets of images by kind: ``set`` is natural (taken from a bank) or synthesised, mean of both.

    Besides the variables over ``set`` and ``kind``: ``matched`` [neuron] bool, whether the best
    model passes the permutation level; ``best`` [neuron], its name; ``r_best`` [neuron].
    """
    over = [name for name in found.data_vars if "set" in found[name].dims]
    natural = found[over].sel(set=["maximising"]).assign_coords(set=["natural"])
    made = found[over].sel(set=BOTH).mean("set").expand_dims(set=["synthesised"])
    whole = xr.concat([natural, made], "set")
    over = [name for name in found.data_vars if "kind" in found[name].dims]
    whole = whole.merge(found[over])
    whole["r_best"] = found["r"].max("model")
    whole["best"] = ("neuron", found["model"].values[found["r"].argmax("model").values])
    whole["matched"] = whole["r_best"] > found["level"]
    return whole


def matched(whole: xr.Dataset) -> xr.Dataset:
    """The neurons whose best model passes the permutation level."""
    return whole.isel(neuron=np.flatnonzero(whole["matched"].values))


def of_one_animal(found: xr.Dataset, whole: xr.Dataset) -> Array | None:
    """1 or 0 ``[neuron]``, matched to a model of its own animal, less the share of such models.

    None where models are of no or of one animal.
    """
    animals = [causal.animal(name) for name in found["model"].values.tolist()]
    if len(set(animals)) < 2:
        return None
    mine = causal.animal(causal.SESSION["v4"])
    share = float(np.mean([name == mine for name in animals]))
    own = [causal.animal(name) == mine for name in matched(whole)["best"].values.tolist()]
    return np.asarray(own, dtype=float) - share


def known_matches(whole: xr.Dataset) -> tuple[float, int, float, int]:
    """Of simulated neurons: share of those with a model matched to it, and their number.

    Then the share of those without one that stay below the permutation level, and their number.
    """
    truth = causal.truth()
    names = whole["neuron"].values.tolist()
    right = [
        bool(passed) and best == truth[name]
        for name, best, passed in zip(
            names, whole["best"].values.tolist(), whole["matched"].values, strict=True
        )
        if truth[name]
    ]
    below = [
        not passed
        for name, passed in zip(names, whole["matched"].values.tolist(), strict=True)
        if not truth[name]
    ]
    return float(np.mean(right)), len(right), float(np.mean(below)), len(below)


def columns(whole: xr.Dataset, kind: str) -> dict[str, Array]:
    """Mean response ``[neuron]`` to images of one kind, own and others', as the figure has it."""
    chosen = whole.sel(set=kind)
    return {"its model's": chosen["drive"].values, "others'": chosen["others"].values}


def smoothed(whole: xr.Dataset) -> dict[str, Array]:
    """Change ``[neuron]`` from images as they were to the same smoothed, by what was smoothed."""
    return {str(kind): whole["change"].sel(kind=kind).values for kind in whole["kind"].values}


def predictions(whole: xr.Dataset) -> dict[str, dict[str, Array]]:
    """What models had predicted beside what came, both ``[neuron]``, by kind of image."""
    return {
        str(kind): {
            "the model's prediction": whole["predicted"].sel(set=kind).values,
            "the neuron": whole["drive"].sel(set=kind).values,
        }
        for kind in whole["set"].values
    }


# ---------------------------------------------------------------- in silico


def together(measured: Sequence[xr.Dataset]) -> xr.Dataset:
    """Neurons of all sessions."""
    return xr.concat(list(measured), "neuron", combine_attrs="drop")


def curves(changed: xr.Dataset) -> dict[str, dict[str, Any]]:
    """For each of `WHO` the mean change against the difference of pixels, by kind."""
    levels = changed["threshold"].values
    return {
        who: {
            kind: (levels, stats.mean_curve(changed["change"].sel(who=who, kind=kind).T.values))
            for kind in KINDS
        }
        for who in WHO
    }


def judged(changed: xr.Dataset, sign: str) -> dict[str, Array]:
    """Change ``[neuron]`` of the judge at the largest difference, less turned, less noise."""
    last = changed["change"].sel(who="judge").isel(threshold=-1)
    own = last.sel(kind=sign).values
    return {
        "judge": own,
        "beyond turned": own - last.sel(kind=f"{sign} turned").values,
        "beyond noise": own - last.sel(kind="noise").values,
    }
