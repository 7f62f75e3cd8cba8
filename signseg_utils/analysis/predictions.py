"""How well models predict neurons, read from results of `experiments.recorded.encoding_accuracy`.

``sessions`` are results of one network, a session of a recording each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from signseg_utils.analysis import stats
from signseg_utils.neurons import features

Array = np.ndarray[Any, np.dtype[Any]]


def tested(sessions: Sequence[xr.Dataset], fresh: str = "r_fresh") -> str:
    """Which images tell how well models predict: ``fresh`` or ``test``, as the results name them.

    Fresh ones are those of the session that a draw left over; where a session leaves too few for
    a number in the variable ``fresh``, the draw's own test images, a fifth of it, must do.
    """
    return "fresh" if all(np.isfinite(own[fresh]).all() for own in sessions) else "test"


def at(measured: xr.Dataset, kind: str, layer: str | None = None) -> xr.DataArray:
    """Values of ``kind`` at a layer, default the one that each draw chose: ``[draw, neuron]``."""
    if layer is None:
        return measured[kind].isel(layer=measured["chosen"].astype(int))
    return measured[kind].sel(layer=layer)


def of_neurons(sessions: Sequence[xr.Dataset], kind: str, layer: str | None = None) -> Array:
    """Values of each neuron of all sessions, averaged over draws: ``[neuron]``.

    A correlation ``r_...`` may be asked for as its square, ``r2_`` being taken by R2: ``sq_...``
    is 0 where the correlation is negative. Ratios are averaged as their logarithms (``log_...``),
    those beyond 1,000 counted as 1,000.
    """
    sessions = [own.astype(float) for own in sessions]
    shape, _, name = kind.partition("_")
    if shape not in ("sq", "log"):
        return np.concatenate([at(own, kind, layer).mean("draw").values for own in sessions])
    source = f"r_{name}" if shape == "sq" else name
    turned = []
    for own in sessions:
        values = at(own, source, layer)
        log = xr.apply_ufunc(np.log, values.clip(1e-3, 1e3))
        turned.append(values.clip(min=0) ** 2 if shape == "sq" else log)
    return np.concatenate([values.mean("draw").values for values in turned])


def best(sessions: Sequence[xr.Dataset], count: int = 10, layer: str | None = None) -> Array:
    """Numbers of the ``count`` neurons a session that cross-validation ranks first.

    They count the neurons of all sessions in order, as `of_neurons` does. The ranking sees training
    images only.
    """
    start, found = 0, []
    for own in sessions:
        ranked = of_neurons([own], "cv", layer)
        found.append(start + np.argsort(-ranked, kind="stable")[:count])
        start += len(ranked)
    return np.concatenate(found)


def log_ratios(sessions: Sequence[xr.Dataset]) -> dict[str, Array]:
    """Do models use more positive weight? Logarithm of positive over negative, ``[neuron]``.

    Above 0 a model sums more positive than negative weight. Models are those of the paper (Fig.
    16): penultimate features, one component, the ten best neurons a session. ``fitted`` are models
    of the responses, ``shuffled`` of the same responses to images that they were not given to.
    """
    first = best(sessions, layer=features.LAST)
    kinds = {"fitted": "log_ratio_one", "shuffled": "log_ratio_shuffled"}
    return {name: of_neurons(sessions, kind, features.LAST)[first] for name, kind in kinds.items()}


def by_depth(
    fits: Mapping[str, Sequence[xr.Dataset]],
) -> dict[str, dict[str, tuple[list[int], stats.Curve]]]:
    """Which layer predicts? r2 of the ten best neurons a session, for `plots.named_curves`.

    Parameters
    ----------
    fits
        Network to the results of its sessions.

    Returns
    -------
    dict
        Architecture and side of its maps to ``trained`` and ``untrained``, each with the numbers of
        the maps from the stem to the penultimate layer, and r2 there with its interval over
        neurons. Each layer ranks neurons anew, by cross-validation on training images.
    """
    sides = {_place(layer)[1] for own in fits.values() for layer in layers_of(own[0])} - {0}
    panels: dict[str, dict[str, tuple[list[int], stats.Curve]]] = {}
    for side in sorted(sides):
        for network, sessions in fits.items():
            name = network.removesuffix("-untrained")
            layers = [own for own in layers_of(sessions[0]) if _place(own)[1] in (side, 0)]
            panel = panels.setdefault(f"{name}, {side} x {side} places", {})
            panel["trained" if name == network else "untrained"] = (
                [_depth(sessions[0], layer) for layer in layers],
                stats.mean_curve(_of_best(sessions, layers).T),
            )
    return panels


def _of_best(sessions: Sequence[xr.Dataset], layers: Sequence[str]) -> Array:
    """r2 of the ten best neurons a session in each layer: ``[layer, neuron]``."""
    kind = f"sq_{tested(sessions)}"
    return np.stack([of_neurons(sessions, kind, n)[best(sessions, layer=n)] for n in layers])


def layers_of(measured: xr.Dataset) -> list[str]:
    """Layers that were measured, first to last."""
    return [str(name) for name in measured["layer"].values]


def _place(layer: str) -> tuple[str, int]:
    """A layer's map, and the side to which it was averaged: 0 where there are no places."""
    name, _, side = layer.partition("/")
    return name, int(side or 0)


def _depth(measured: xr.Dataset, layer: str) -> int:
    """Number of a layer's map, from 0; the sides of a map have the same."""
    maps = list(dict.fromkeys(_place(name)[0] for name in layers_of(measured)))
    return maps.index(_place(layer)[0])


def effects(
    fits: Mapping[str, Sequence[xr.Dataset]], network: str, goal: float | None = None
) -> dict[str, Array]:
    """What the claims about one network say is above 0, ``[neuron]``, by the id of the claim.

    Parameters
    ----------
    fits
        Network to the results of its sessions, the same sessions for each. With the network's
        untrained twin among them, that is the control of the claims ``learned``.
    goal
        r2 that recorded neurons are held against; None for simulated ones, which are as noisy as
        they were made.
    """
    own, twin = fits[network], fits.get(f"{network}-untrained")
    on, last = tested(own), features.LAST
    first, ranked = best(own), best(own, layer=last)
    chosen_, penultimate = (of_neurons(own, f"sq_{on}", layer) for layer in (None, last))
    found = {"P-13 any": of_neurons(own, f"r2_{on}")[first]}
    if goal is not None:
        found["P-13"] = chosen_[first] - goal
        if on == "fresh":
            found["P-13 all"] = of_neurons(own, "sq_fresh_all")[first] - goal
        found["P-13 penultimate"] = of_neurons(own, f"sq_{on}_one", last)[ranked] - goal
    found["P-13 layer"] = chosen_ - penultimate
    ratio = log_ratios(own)
    found["P-16"] = ratio["fitted"]
    found["P-16 shuffled"] = ratio["fitted"] - ratio["shuffled"]
    if twin is not None:
        found["P-13 learned"] = chosen_ - of_neurons(twin, f"sq_{on}")
        random = of_neurons(twin, "log_ratio_one", last)[ranked]
        found["P-16 learned"] = ratio["fitted"] - random
    return found
