"""Look at a sweep's images: render the stored codes again and measure what they hold.

Of searches nothing but codes is stored, of ascents the pictures they end with; every measure here
is made anew from the images themselves.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn
from torch.nn.functional import interpolate

from signseg_utils import zoos
from signseg_utils.analysis.across_networks import design
from signseg_utils.analysis.similarity import across_searches, ensemble_features
from signseg_utils.basics import draws, registry
from signseg_utils.basics.progress import each
from signseg_utils.files import images as files
from signseg_utils.metrics import Seen

# What tells the images of one unit from those of the others.
PIECE = ("network", "generator", "unit")


def arranged(found: xr.Dataset) -> xr.Dataset:
    """A collected sweep with dimensions (network, generator, unit) in place of ``shard``.

    The order of names is that of the sweep's plan. Joined ascents
    (`signseg_utils.experiments.ascents`) have these dimensions, but for that of a single generator.
    """
    if "shard" not in found.dims:
        return found if "generator" in found.dims else found.expand_dims("generator")
    orders = {name: list(dict.fromkeys(found[name].values.tolist())) for name in PIECE}
    plain = found.drop_vars(["zoo", "key", "code_size"], errors="ignore")
    return plain.set_index(shard=PIECE).unstack("shard").reindex(orders)


@torch.inference_mode()
def rendered(generator: Any, codes: np.ndarray | xr.DataArray, batch: int = 64) -> Tensor:
    """Images [..., 3, height, width] in 0..1 of stored codes [..., code], padding cut off."""
    values = torch.from_numpy(np.asarray(codes, dtype=np.float32))
    flat = values.flatten(0, -2)[:, : generator.code_size]
    images = torch.cat([generator(part) for part in flat.split(batch)])
    return images.unflatten(0, values.shape[:-1])


def random_codes(generators: Mapping[str, Any], count: int, seed: int) -> dict[str, Tensor]:
    """Standard normal codes ``[image, code]`` of each generator, as long as real images have."""
    return {
        name: draws.normal((count, generator.code_size), seed)
        for name, generator in generators.items()
    }


def said_by_codes(
    generator: Any, codes: Tensor, classes: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Class that each code of the renderer names, and its object's opacity, in words."""
    said = generator.describe(codes)
    labels = 3 * said["shape"].argmax(1) + said["hue"].argmax(1)
    opacity = [f"opacity {100 * each:.0f} %" for each in said["opacity"]]
    return [classes[label] for label in labels], opacity


@torch.inference_mode()
def scenes_through(generator: Any, count: int, seed: int) -> list[Tensor]:
    """Scenes of zoo ``shapes`` at a generator's size, and what is left after it encoded them."""
    shapes: Any = zoos.load_zoo("shapes")
    scenes = shapes.images("val", count, seed).pixels / 255
    scenes = interpolate(scenes, generator.image_size, mode="bilinear")
    return [scenes, generator(generator.encode(scenes))]


def panel(
    searches: xr.Dataset,
    zoo: zoos.Zoo,
    network: str,
    generator: str,
    units: Sequence[str],
    alphas: Sequence[float],
) -> tuple[Tensor, list[tuple[str, float]]]:
    """Images [unit, condition, 3, height, width] for a panel, and (sign, alpha) of each condition.

    Of `arranged` searches or ascents: intact, and either sign at the strengths ``alphas``; of the
    seeds the one with the highest activation.
    """
    told = ~searches["sign"].str.startswith("random") & searches["alpha"].isin([0, *alphas])
    chosen = searches.sel(network=network, generator=generator, unit=list(units))
    chosen = chosen.isel(condition=np.flatnonzero(told))
    best = chosen.isel(seed=chosen["activation"].argmax("seed"))
    conditions = zip(best["sign"].values.tolist(), best["alpha"].values.tolist(), strict=True)
    if "picture" in best:
        return all_decoded(best, "unit", "condition"), list(conditions)
    codes = best["codes"].transpose("unit", "condition", "code")
    return rendered(zoo.generator(generator), codes), list(conditions)


def decoded(one: xr.Dataset) -> Tensor:
    """The stored picture of one run, uint8 [3, height, width]: its ``picture`` and ``length``."""
    content = one["picture"].values[: int(one["length"])].tobytes()
    return files.decode(content, "a stored picture")


def pictures(found: xr.Dataset, network: str) -> tuple[Tensor, list[tuple[str, float]]]:
    """Stored pictures [unit, condition, 3, height, width] of a network, uint8, for a panel.

    Of joined ascents (`signseg_utils.experiments.ascents`): of the seeds the one with the highest
    activation; also (sign, alpha) of each condition.
    """
    kept = found.sel(network=network)
    best = kept.isel(seed=kept["activation"].argmax("seed"))
    conditions = zip(best["sign"].values.tolist(), best["alpha"].values.tolist(), strict=True)
    return all_decoded(best, "unit", "condition"), list(conditions)


def all_decoded(found: xr.Dataset, *along: str) -> Tensor:
    """Stored pictures [..., 3, height, width], uint8, by the dimensions that are named."""
    shape = tuple(found.sizes[name] for name in along)
    places = (dict(zip(along, place, strict=True)) for place in np.ndindex(shape))
    pixels = torch.stack([decoded(found.isel(place)) for place in places])
    return pixels.unflatten(0, shape)


def panel_of_networks(
    searches: xr.Dataset,
    zoo: zoos.Zoo,
    networks: Mapping[str, str],
    generator: str,
    units: Sequence[str],
    alphas: Sequence[float],
) -> tuple[Tensor, list[tuple[str, float]], list[str]]:
    """A `panel` of several networks, one below the other, and a label for each row.

    ``networks``: name to the word for it in the labels, such as ``dog, ReLU``.
    """
    pieces = [panel(searches, zoo, name, generator, units, alphas) for name in networks]
    labels = [f"{unit}, {word}" for word in networks.values() for unit in units]
    return torch.cat([images for images, _ in pieces]), pieces[0][1], labels


def through(generator: str) -> str:
    """How images came about, for a caption: ``through the generator <em>decoder</em>``."""
    if generator == registry.PIXELS:
        return "climbed to pixel by pixel"
    return f"through the generator <em>{generator}</em>"


@torch.inference_mode()
def own_images(searches: xr.Dataset, zoo: zoos.Zoo, network: str, units: Sequence[str]) -> Tensor:
    """Preferred images [unit, image, 3, height, width] of a network's intact units.

    Of `arranged` searches, over all generators and seeds.
    """
    intact = searches["codes"].isel(condition=0).sel(network=network, unit=list(units))
    return torch.cat(
        [
            rendered(zoo.generator(str(name)), intact.sel(generator=name).transpose("unit", ...))
            for name in intact["generator"].values
        ],
        dim=1,
    )


@torch.inference_mode()
def measure(
    found: xr.Dataset,
    zoo: zoos.Zoo,
    judges: Sequence[str],
    *,
    detector: Any = None,
    centred_on: Sequence[str] | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Measure every image of a collected sweep, or of ascents.

    Parameters
    ----------
    found
        From `signseg_utils.experiments.sweep.collect` or ``run``, or joined ascents; condition 0 is
        the intact unit.
    judges
        Networks of ``zoo`` whose features say how alike images are; the first one's maps also
        give the perceptual distance, unless the zoo has the real LPIPS.
    detector
        Anything with ``objectness(images)``; default: the zoo's own.
    centred_on
        Networks of the sweep whose control images give the mean feature that is subtracted;
        default: all. Unrelated images have a centred similarity of about 0 only if the mean is
        that of images of their kind: leave out networks that ask for noise.

    Returns
    -------
    Dataset
        ``similarity``, ``centred_similarity`` (network, unit, condition, judge): mean over pairs
        of a control and an ablated image of different seeds of the cosine between their features,
        over seeds and generators (`signseg_utils.analysis.similarity.across_searches`); centred:
        less the mean feature of control images. Of condition 0 it is the level of the control
        images among themselves. NaN of a single seed.
        What each metric of `signseg_utils.metrics` says (network, generator, unit, condition,
        seed): ``objectness``; ``change``, the mean perceptual distance to the control images of
        other seeds; ``luminance`` and ``contrast``; ``foreground``, ``background`` and
        ``whiteness``; ``recognition`` and ``recognition_rank`` of the unit's class by the other
        judges.
    """
    networks = {name: zoos.kept(zoo, name) for name in judges}
    backbones = {name: network.backbone for name, network in networks.items()}
    eye = zoo.perceptual(judges[0])
    detector = detector or zoo.detector()
    metrics = [registry.load("metrics", name) for name in registry.names("metrics")]
    every = pieces(found)
    rows: list[dict[str, np.ndarray]] = []
    seen: list[Mapping[str, Tensor]] = []
    makers: dict[str, Any] = {}  # generators, each loaded once
    for piece in each(every, "units", "look at images", speaks=progress):
        images, codes, maker = made(piece, zoo, makers)
        flat = images.flatten(0, 1)
        features = ensemble_features(flat, backbones)
        seen.append({name: f.unflatten(0, images.shape[:2]) for name, f in features.items()})
        places = torch.arange(images.shape[1]).repeat(len(images))
        others = [name for name in judges if name != str(piece["network"].values)]
        answers = {name: networks[name].readout.responses(features[name]) for name in others}
        labels = torch.full((len(flat),), _class_number(zoo, str(piece["unit"].values)))
        looked_at = Seen(flat, images[0], places, codes, maker, detector, eye, answers, labels)
        values = {k: v for metric in metrics for k, v in metric(looked_at).items()}
        rows.append({k: v.unflatten(0, images.shape[:2]).numpy() for k, v in values.items()})
    along = ("shard", "condition", "seed")
    runs = {name: found[name] for name in ("condition", "sign", "alpha", "seed")}
    stacked = {name: (along, np.stack([row[name] for row in rows])) for name in rows[0]}
    images_seen = arranged(xr.Dataset(stacked, {**runs, **named(every)}))
    return xr.merge([images_seen, _similarities(every, seen, judges, centred_on)], compat="equals")


def pieces(found: xr.Dataset) -> list[xr.Dataset]:
    """Each unit of a network through one generator, of a collected sweep or of ascents."""
    if "shard" in found.dims:
        return [found.isel(shard=place) for place in range(found.sizes["shard"])]
    whole = arranged(found)
    names = itertools.product(*(whole[name].values for name in PIECE))
    return [whole.sel(dict(zip(PIECE, name, strict=True))) for name in names]


def named(every: Sequence[xr.Dataset]) -> dict[str, tuple[str, list[str]]]:
    """Coordinates along ``shard`` of what was measured of `pieces`, for `arranged`."""
    return {name: ("shard", [str(piece[name].values) for piece in every]) for name in PIECE}


def made(
    piece: xr.Dataset, zoo: zoos.Zoo, makers: dict[str, Any]
) -> tuple[Tensor, Tensor, nn.Module | None]:
    """Images [condition, seed, 3, height, width], codes [image, code], and the generator of both.

    Of a search the codes are rendered; ``makers`` keeps generators that were loaded. Of an ascent
    the pictures are stored and nothing else: no code, no generator.
    """
    if "picture" in piece:
        images = all_decoded(piece, "condition", "seed") / 255
        return images, torch.zeros(images.shape[0] * images.shape[1], 0), None
    name = str(piece["generator"].values)
    if name not in makers:
        makers[name] = zoo.generator(name)
    generator = makers[name]
    codes = torch.from_numpy(piece["codes"].values.astype(np.float32)).flatten(0, -2)
    return rendered(generator, piece["codes"]), codes[:, : generator.code_size], generator


def _class_number(zoo: zoos.Zoo, unit: str) -> int:
    """Number of the class that a unit is named after; -1 for other units."""
    return zoo.classes.index(unit) if unit in zoo.classes else -1


def by_unit(seen: xr.Dataset, strict_judges: Sequence[str] | None = None) -> xr.Dataset:
    """What `measure` found, one value a unit and condition: (network, unit, condition).

    Measures of single images are averaged over seeds and generators. ``similarity`` is averaged
    over the judging networks; ``strict_similarity`` is the centred one, as ``strict_judges`` see
    it: by default the networks of another design than the unit's own. Of condition 0 both are
    the level of the intact unit's images among themselves.
    """
    single = [name for name, values in seen.items() if "seed" in values.dims]
    centred = seen["centred_similarity"]
    if strict_judges is None:
        own = seen["network"].copy(data=[design(str(name)) for name in seen["network"].values])
        centred = centred.where(own != seen["judge"])
    else:
        centred = centred.sel(judge=list(strict_judges))
    return (
        seen[single]
        .mean(["seed", "generator"])
        .assign(
            similarity=seen["similarity"].mean("judge"),
            strict_similarity=centred.mean("judge"),
        )
    )


def beyond_seeds(seen: xr.Dataset, strict_judges: Sequence[str] | None = None) -> xr.DataArray:
    """What ablation does to similarity beyond what another seed does: (network, unit, condition).

    Mean cosine between ablated and intact images less that of intact images among themselves, over
    the same pairs of searches: 0 where ablation does no more than another search, below 0 where it
    does. With ``strict_judges`` features are centred, and only these networks judge.
    """
    values = seen["similarity"]
    if strict_judges is not None:
        values = seen["centred_similarity"].sel(judge=list(strict_judges))
    mean = values.mean("judge")
    return mean - mean.isel(condition=0, drop=True)


def side_by_side(
    sweeps: Mapping[str, xr.Dataset], zoo: zoos.Zoo, judges: Sequence[str]
) -> xr.Dataset:
    """`measure` of several sweeps of one network, under names of their own along ``network``."""
    seen = [measure(found, zoo, judges, progress=False) for found in sweeps.values()]
    return xr.concat(seen, "network").assign_coords(network=list(sweeps))


def _similarities(
    every: Sequence[xr.Dataset],
    seen: Sequence[Mapping[str, Tensor]],
    judges: Sequence[str],
    centred_on: Sequence[str] | None,
) -> xr.Dataset:
    names = [(str(piece["network"].values), str(piece["unit"].values)) for piece in every]
    networks, units = (list(dict.fromkeys(column)) for column in zip(*names, strict=True))
    shape = (len(networks), len(units), every[0].sizes["condition"], len(judges))
    raw, centred = np.full(shape, np.nan), np.full(shape, np.nan)
    for place, judge in enumerate(judges):
        of_kind = [
            f[judge][0]
            for f, name in zip(seen, names, strict=True)
            if centred_on is None or name[0] in centred_on
        ]
        centre = torch.cat(of_kind).mean(0)
        for network, unit in dict.fromkeys(names):
            at = (networks.index(network), units.index(unit))
            mine = [i for i, name in enumerate(names) if name == (network, unit)]
            images = torch.stack([seen[i][judge] for i in mine], dim=2)  # over all generators
            raw[(*at, slice(None), place)] = across_searches(images[:1], images)
            centred[(*at, slice(None), place)] = across_searches(images[:1], images, centre)
    dims = ("network", "unit", "condition", "judge")
    return xr.Dataset(
        {"similarity": (dims, raw), "centred_similarity": (dims, centred)},
        {"network": networks, "unit": units, "judge": list(judges)},
    )
