"""Look at a sweep's images: render the stored codes again and measure what they hold.

Nothing but codes is stored, so every measure here is made anew from the images themselves.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from signseg_utils import zoos
from signseg_utils.metrics.lpips import Perceptual
from signseg_utils.metrics.similarity import cosine_similarity, ensemble_features, within_similarity

LUMINANCE = (0.2126, 0.7152, 0.0722)  # Rec. 709


def arranged(found: xr.Dataset) -> xr.Dataset:
    """A collected sweep with dimensions (network, generator, unit) in place of ``shard``.

    The order of names is that of the sweep's plan.
    """
    names = ["network", "generator", "unit"]
    orders = {name: list(dict.fromkeys(found[name].values.tolist())) for name in names}
    plain = found.drop_vars(["zoo", "key", "code_size"])
    return plain.set_index(shard=names).unstack("shard").reindex(orders)


@torch.inference_mode()
def rendered(generator: Any, codes: np.ndarray | xr.DataArray, batch: int = 64) -> Tensor:
    """Images [..., 3, height, width] in 0..1 of stored codes [..., code], padding cut off."""
    values = torch.from_numpy(np.asarray(codes, dtype=np.float32))
    flat = values.flatten(0, -2)[:, : generator.code_size]
    images = torch.cat([generator(part) for part in flat.split(batch)])
    return images.unflatten(0, values.shape[:-1])


@torch.inference_mode()
def measure(
    found: xr.Dataset,
    zoo: zoos.Zoo,
    judges: Sequence[str],
    *,
    detector: Any = None,
    progress: bool = True,
) -> xr.Dataset:
    """Measure every image of a collected sweep.

    Parameters
    ----------
    found
        From `signseg_utils.sweep.collect` or ``run``; condition 0 is the intact unit.
    judges
        Networks of ``zoo`` whose features say how alike images are; the first one's maps also
        give the perceptual distance.
    detector
        Anything with ``objectness(images)``; default: the zoo's own.

    Returns
    -------
    Dataset
        ``similarity``, ``centred_similarity`` (network, unit, condition, judge): mean over all
        pairs of a control and an ablated image of the cosine between their features, over seeds
        and generators; centred: less the mean feature of all control images.
        ``within`` (network, unit, judge): the same among the control images.
        ``objectness``, ``change``, ``luminance``, ``contrast`` (network, generator, unit,
        condition, seed): confidence of the zoo's detector; unweighted perceptual distance to the
        control image of the same seed; mean and s.d. of luminance. ``foreground``: the object's
        share of the image where the generator's code tells it, else NaN.
    """
    backbones = {name: zoo.network(name).backbone for name in judges}
    eye = Perceptual.unweighted(backbones[judges[0]], name=judges[0])
    detector = detector or zoo.detector()
    generators = {name: zoo.generator(name) for name in dict.fromkeys(found["generator"].values)}
    rows: list[dict[str, np.ndarray]] = []
    seen: list[Mapping[str, Tensor]] = []
    for shard in tqdm(range(found.sizes["shard"]), desc="look at images", disable=not progress):
        piece = found.isel(shard=shard)
        generator = generators[str(piece["generator"].values)]
        images = rendered(generator, piece["codes"])
        flat = images.flatten(0, 1)
        features = ensemble_features(flat, backbones)
        seen.append({name: f.unflatten(0, images.shape[:2]) for name, f in features.items()})
        control = images[:1].expand_as(images).flatten(0, 1)
        pairs = zip(flat.split(64), control.split(64), strict=True)
        change = torch.cat([eye.distance(a, b).values for a, b in pairs])
        luminance = torch.einsum("nchw,c->nhw", flat, torch.tensor(LUMINANCE)).flatten(1)
        values = {
            "objectness": detector.objectness(flat),
            "change": change,
            "luminance": luminance.mean(1),
            "contrast": luminance.std(1),
            "foreground": _foreground(generator, piece["codes"]),
        }
        rows.append({k: v.unflatten(0, images.shape[:2]).numpy() for k, v in values.items()})
    along = ("shard", "condition", "seed")
    kept = (*found["shard"].coords, "condition", "sign", "alpha", "seed")
    coords = {name: found[name] for name in kept}
    stacked = {name: (along, np.stack([row[name] for row in rows])) for name in rows[0]}
    images_seen = arranged(xr.Dataset(stacked, coords))
    return xr.merge([images_seen, _similarities(found, seen, judges)], compat="equals")


def _foreground(generator: Any, codes: xr.DataArray) -> Tensor:
    values = torch.from_numpy(codes.values.astype(np.float32)).flatten(0, -2)
    if not hasattr(generator, "foreground"):
        return torch.full((len(values),), torch.nan)
    share: Tensor = generator.foreground(values[:, : generator.code_size])
    return share


def _similarities(
    found: xr.Dataset, seen: Sequence[Mapping[str, Tensor]], judges: Sequence[str]
) -> xr.Dataset:
    names = list(zip(found["network"].values.tolist(), found["unit"].values.tolist(), strict=True))
    networks, units = (list(dict.fromkeys(column)) for column in zip(*names, strict=True))
    shape = (len(networks), len(units), found.sizes["condition"], len(judges))
    raw, centred = np.full(shape, np.nan), np.full(shape, np.nan)
    within = np.full((shape[0], shape[1], shape[3]), np.nan)
    for place, judge in enumerate(judges):
        centre = torch.cat([features[judge][0] for features in seen]).mean(0)
        for network, unit in dict.fromkeys(names):
            at = (networks.index(network), units.index(unit))
            mine = [i for i, name in enumerate(names) if name == (network, unit)]
            images = torch.cat([seen[i][judge] for i in mine], dim=1)  # over all generators
            raw[(*at, slice(None), place)] = cosine_similarity(images[:1], images)
            centred[(*at, slice(None), place)] = cosine_similarity(images[:1], images, centre)
            within[(*at, place)] = within_similarity(images[0]) if images.shape[1] > 1 else np.nan
    dims = ("network", "unit", "condition", "judge")
    return xr.Dataset(
        {
            "similarity": (dims, raw),
            "centred_similarity": (dims, centred),
            "within": (("network", "unit", "judge"), within),
        },
        {"network": networks, "unit": units, "judge": list(judges)},
    )
