"""The same units under the same conditions, their images found in several ways.

A way is what moves, and in what: *evolution, decoder*, *gradient, decoder*, *gradient, pixels*.
What all ways have in common is what a finding may rest on.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from signseg_utils import zoos
from signseg_utils.analysis import by_sign, images, stats
from signseg_utils.basics import registry

PIXELS = "gradient, pixels"
MEASURES = ("activation", "recognition", "objectness")


def named(kind: str, generator: str) -> str:
    """A way, of *evolution* or *gradient* through a generator; without one over pixels."""
    return f"{kind}, {generator or registry.PIXELS}"


def in_order(generators: Sequence[str]) -> list[str]:
    """All ways: of each generator evolution and gradient, and the gradient over pixels last."""
    pairs = [named(kind, name) for name in generators for kind in ("evolution", "gradient")]
    return [*pairs, PIXELS]


def evolved(searches: xr.Dataset, zoo: zoos.Zoo, alphas: Sequence[float]) -> xr.Dataset:
    """`MEASURES` (way, network, unit, condition) of evolved images, means over seeds.

    ``searches`` is a collected sweep; of its conditions the intact unit and either sign at the
    strengths ``alphas`` are kept. Each generator is a way. Recognition is that by the zoo's other
    networks.
    """
    signs, strengths = searches["sign"].values, searches["alpha"].values
    kept = np.isin(signs, ("none", "positive", "negative")) & np.isin(strengths, (0, *alphas))
    few = searches.isel(condition=np.flatnonzero(kept))
    seen = images.measure(few, zoo, zoo.networks, progress=False)
    found = seen[["recognition", "objectness"]].assign(
        activation=images.arranged(few)["activation"]
    )
    mean = found.mean("seed").rename(generator="way")
    names = [named("evolution", name) for name in mean["way"].values.tolist()]
    return mean.assign_coords(way=names)


@torch.inference_mode()
def climbed(found: xr.Dataset, zoo: zoos.Zoo, generator: str) -> xr.Dataset:
    """The same of joined ascents (`signseg_utils.experiments.ascents`) through one generator.

    ``generator`` is empty where the gradient went to the pixels.
    """
    detector: Any = zoo.detector()
    runs = ("network", "unit", "condition", "seed")
    pictures = images.all_decoded(found, *runs)
    objects = detector.objectness(pictures.flatten(0, 3)).unflatten(0, pictures.shape[:4])
    own = xr.Dataset(
        {
            "activation": found["activation"],
            "recognition": found["recognition"].mean("witness"),
            "objectness": (runs, objects.double().numpy()),
        }
    )
    mean = own.mean("seed").drop_vars("generator", errors="ignore")  # the way tells it
    return mean.expand_dims(way=[named("gradient", generator)])


def through_generators(values: xr.DataArray, kind: str) -> xr.DataArray:
    """Mean over the ways of one ``kind``, *evolution* or *gradient*, that go through generators."""
    names = [name for name in values["way"].values.tolist() if name.startswith(f"{kind}, ")]
    return values.sel(way=[name for name in names if name != PIXELS]).mean("way")


def units_alike(first: xr.DataArray, second: xr.DataArray) -> dict[str, stats.Estimate]:
    """Spearman's rho over units of two measures (network, unit), for each network."""
    return {
        name: stats.spearman(first.sel(network=name), second.sel(network=name))
        for name in first["network"].values.tolist()
    }


def by_way(values: xr.DataArray, signs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Curves of each way, for `signseg_utils.plots.curve_panels`: over units, means of networks.

    ``values`` (way, network, unit, condition).
    """
    mean = values.mean("network").rename(way="network")
    return by_sign.curves(mean, signs)


def panel(
    searches: xr.Dataset,
    ascents: Mapping[str, xr.Dataset],
    zoo: zoos.Zoo,
    network: str,
    unit: str,
    alphas: Sequence[float],
) -> tuple[dict[str, Tensor], list[tuple[str, float]]]:
    """Images of one unit, way to [condition, 3, height, width], and (sign, alpha) of conditions.

    ``searches`` are `signseg_utils.analysis.images.arranged`; ``ascents`` by generator.
    """
    rows: dict[str, Tensor] = {}
    for name in searches["generator"].values.tolist():
        own, conditions = images.panel(searches, zoo, network, name, [unit], alphas)
        rows[named("evolution", name)] = own[0]
    for name, found in ascents.items():
        own, conditions = images.pictures(found.sel(unit=[unit]), network)
        rows[named("gradient", name)] = own[0]
    return rows, conditions
