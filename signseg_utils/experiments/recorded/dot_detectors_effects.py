"""What filters of a dot detector do, and what each sign of its weights: what chapter 21 compares.

The result of a `dot_detectors.DotDetectors` comes in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from signseg_utils.analysis import stats
from signseg_utils.experiments.recorded import dot_detectors as dots
from signseg_utils.experiments.recorded.dot_detectors import CONSOLIDATING
from signseg_utils.neurons import circuits

Array = np.ndarray[Any, Any]

FEWEST = 6  # filters that a verdict about filters needs, as the ledger has it


def words(recording: str) -> dict[str, str]:
    """Who is asked, to begin a sentence and within one."""
    kind = "compact models of V4 neurons" if recording == "v4" else "simulated models"
    return {"who": f"{kind[0].upper()}{kind[1:]}", "whom": kind}


class Circuit(NamedTuple):
    """One detector: its filters, and where on the axis of radii its best dot stands.

    ``filters`` hold `dot_detectors.taken_apart` of this model; ``strong`` are those of the
    consolidating layer that a cumulative ablation keeps longest, ``excites`` tells which of these
    drive the model more than they hold it back, mean over radii.
    """

    name: str
    filters: xr.Dataset
    strong: xr.Dataset
    excites: Array
    best: int
    tuning: Array


def circuits_of(found: xr.Dataset, strong: int) -> list[Circuit]:
    """The detectors that were taken apart, the strongest first."""
    told = []
    for name in found["detector"].values.tolist():
        own = found.isel(filter=np.flatnonzero(found["of"].values == name))
        layer = own.isel(filter=np.flatnonzero(own["layer"].values == CONSOLIDATING))
        kept = layer.isel(filter=np.sort(np.argsort(-layer["step"].values)[:strong]))
        tuning = tuning_of(found, name)
        excites = kept["effect"].mean("radius").values > 0
        told.append(Circuit(name, own, kept, excites, int(tuning.argmax()), tuning))
    return told


def tuning_of(found: xr.Dataset, name: str) -> Array:
    """Responses ``[radius]`` of one model to dots of its better polarity."""
    one = found.sel(model=name)
    return np.asarray(one["tuning"].isel(polarity=int(dots.best_polarity(one))).values)


def detectors(found: xr.Dataset) -> int:
    """How many models are dot detectors by the rule; `dot_detectors.detecting` also names one."""
    return int(((dots.ratio(found) > 1) & dots.tuned(found)).sum())


def necessary(own: Circuit) -> tuple[float, str]:
    """The largest invariance without one filter, and its layer."""
    place = int(np.argmax(own.filters["dsi"].values))
    return float(own.filters["dsi"][place]), str(int(own.filters["layer"][place]))


def excitation(own: Circuit) -> Array:
    """Effect of exciting filters ``[filter]``, best less largest dot."""
    effect = own.strong["effect"].values[:, own.excites]
    return np.asarray(effect[own.best] - effect[-1])


def inhibition(own: Circuit) -> Array:
    """Size of the effect of inhibiting filters ``[filter]``, largest less best dot."""
    effect = -own.strong["effect"].values[:, ~own.excites]
    return np.asarray(effect[-1] - effect[own.best])


def quarters(own: Circuit) -> tuple[int, int, float]:
    """Quarters around the dot that hold what an exciting filter adds, and how many such there are.

    Then the chance that as many filters fill all four.
    """
    y, x = (own.strong[axis].values[own.excites] for axis in ("y", "x"))
    there = np.isfinite(y) & np.isfinite(x)
    count = int(there.sum())
    held = len(set(zip(y[there] > 0, x[there] > 0, strict=True)))
    return held, count, max(0.0, 1 - 4 * 0.75**count + 6 * 0.5**count - 4 * 0.25**count)


def before_half(own: Circuit) -> float:
    """Share of the layer's filters that are gone before the change first exceeds one half."""
    steps = own.filters["change"].values[np.argsort(own.filters["step"].values)]
    steps = steps[np.isfinite(steps)]
    return float(np.argmax(steps > 0.5) / len(steps)) if (steps > 0.5).any() else 1.0


def enough(values: Array, least: int = FEWEST) -> Array | None:
    """Values, or None where there are fewer than can tell."""
    return values if np.isfinite(values).sum() >= least else None


def over_detectors(found: xr.Dataset, told: list[Circuit]) -> dict[str, Array | None]:
    """The claims about all detectors that were taken apart: id to values ``[model]``."""
    blank = found["blank"].sel(model=found["detector"].values).values
    peak = np.array([own.tuning[own.best] for own in told]) - blank
    rows = [own.best for own in told]
    left = {}
    for sign in found["sign"].values.tolist():
        after = found["signed"].sel(sign=sign).values - blank  # [radius, detector]
        at_peak = after[rows, np.arange(len(rows))] / peak
        left[sign] = at_peak, after[-1] / peak
    largest = np.array([own.tuning[-1] for own in told]) - blank
    form = (found["forms"].max("radius").values - blank) / peak  # [form, detector]
    disc, square, *bars = form
    values = {
        "C-5 excitation others": np.array([_mean(excitation(own)) for own in told]),
        "C-5 inhibition others": np.array([_mean(inhibition(own)) for own in told]),
        "C-5 necessary others": np.array([necessary(own)[0] - 0.5 for own in told]),
        "W-size negative": left["negative"][1] - largest / peak,
        "W-size positive": left["positive"][0] - 1,
        "W-size sign": left["negative"][0] - left["positive"][0],
        "W-disc": disc - np.max(bars, axis=0),
        "W-square": disc - square,
    }
    return {id: enough(own, 2) for id, own in values.items()}


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else float("nan")


def planted(own: Circuit) -> tuple[float, float]:
    """Whether the planted detector is found with its size, and the share of its circuit that is."""
    radii = own.filters["radius"].values
    planted = int(np.abs(radii - circuits.RADIUS).argmin())
    found = own.name == circuits.DOTS and abs(own.best - planted) <= 1
    signs = dict(zip(own.strong["number"].values.astype(int).tolist(), own.excites, strict=True))
    right = [signs.get(n) == True for n in circuits.EXCITING]  # noqa: E712
    right += [signs.get(n) == False for n in circuits.INHIBITING]  # noqa: E712
    return float(found), float(np.mean(right))


# ---------------------------------------------------------------- figures


class _Line(NamedTuple):
    value: Array
    low: None = None
    high: None = None


def tuning(found: xr.Dataset, own: Circuit) -> dict[str, dict[str, Any]]:
    """Responses of a detector to dots of both polarities against the radius."""
    one, radii = found["tuning"].sel(model=own.name), found["radius"].values
    names = found["polarity"].values.tolist()
    return {"": {name: (radii, _Line(one.sel(polarity=name).values)) for name in names}}


def signed(found: xr.Dataset, own: Circuit) -> dict[str, Any]:
    """Responses to dots against the radius, intact and without half of one sign."""
    radii, one = found["radius"].values, found["signed"].sel(detector=own.name)
    after = {str(n): (radii, _Line(one.sel(sign=n).values)) for n in found["sign"].values}
    return {"intact": (radii, _Line(own.tuning)), **after}


def by_strength(found: xr.Dataset) -> dict[str, Array]:
    """Ratio of the best dot to natural images ``[model]``: models tuned to size, and others."""
    strength, fits = dots.ratio(found).values, dots.tuned(found).values
    return {"tuned to size": strength[fits], "not tuned": strength[~fits]}


def by_layer(own: Circuit) -> dict[str, Array]:
    """Invariance without each filter, by its layer."""
    layers = own.filters["layer"].values.astype(int)
    return {
        f"layer {layer}": own.filters["dsi"].values[layers == layer] for layer in np.unique(layers)
    }


def cumulative(own: Circuit) -> tuple[Array, Array]:
    """Filters gone, and how far responses have changed then."""
    steps = own.filters["step"].values
    order = np.argsort(steps)[: np.isfinite(steps).sum()]
    return np.arange(1, len(order) + 1), own.filters["change"].values[order]


def effects_by_size(own: Circuit) -> dict[str, tuple[Array, Any]]:
    """Mean effect of exciting and of inhibiting filters against the radius, with intervals."""
    effect, radii = own.strong["effect"].values, own.filters["radius"].values
    named: Iterator[tuple[str, Array]] = iter(
        [("excite", effect[:, own.excites]), ("inhibit", effect[:, ~own.excites])]
    )
    return {
        name: (radii, stats.mean_curve(values.T) if values.shape[1] > 1 else _Line(values.mean(1)))
        for name, values in named
        if values.shape[1]
    }


def corners(own: Circuit) -> dict[str, tuple[Array, Array]]:
    """Where strong filters add to the map, x and y in pixels from the dot's middle, by sign."""
    y, x = own.strong["y"].values, own.strong["x"].values
    named = {"excite": own.excites, "inhibit": ~own.excites}
    return {name: (x[those], y[those]) for name, those in named.items()}
