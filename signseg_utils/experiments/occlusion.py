"""Occlusion: which pixels feed a unit's positive, and which its negative inputs.

The object in an image is painted over, or as large a part of its background of the same shape.
What each sign's inputs lose then needs neither a generator nor a search (compare Zeiler & Fergus
2014, doi:10.1007/978-3-319-10590-1_53, who slid a grey square over images).

``signseg experiment occlusion --zoo tinyimagenet`` stores the numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.functional import gaussian_blur

from signseg_utils.basics import draws
from signseg_utils.basics.progress import each
from signseg_utils.basics.registry import unknown
from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import Cell, Experiment, Option, State, forget
from signseg_utils.networks import Network
from signseg_utils.zoos import DatasetMissing, Images, Zoo

FILLS = ("mean", "blur", "other")
PLACES = ("intact", "object", "background")


def object_masks(images: Images) -> Tensor:
    """Masks [image, height, width] that cover the objects; empty without object.

    Exact masks are grown by one pixel, because edges are soft and an outline would be left of the
    object; where there are none, boxes stand in.
    """
    if images.masks is not None:
        return F.max_pool2d(images.masks.float(), 3, stride=1, padding=1) > 0
    height, width = images.pixels.shape[-2:]
    x, y = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    x0, y0, x1, y1 = (edge[:, None] for edge in images.boxes.unbind(1))
    columns, lines = (x0 < x) & (x < x1), (y0 < y) & (y < y1)  # NaN holds no pixel
    return lines[:, :, None] & columns[:, None, :]


def displaced(masks: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Each mask moved, whole, to a place in the image where it does not touch itself.

    Parameters
    ----------
    masks
        ``[image, height, width]`` bool.
    seed
        Of the choice among all such places, which are equally likely; it is drawn for each image.

    Returns
    -------
    Tensor, Tensor
        The moved masks, as ``masks``, empty where there is no such place (or no object); and
        whether there is one, ``[image]``.
    """
    moved = torch.zeros_like(masks)
    height, width = masks.shape[1:]
    for number, mask in enumerate(masks):
        lines, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        if len(lines) == 0:
            continue
        down = np.arange(-int(lines[0]), height - int(lines[-1]))
        right = np.arange(-int(columns[0]), width - int(columns[-1]))
        # Pixels that mask and moved mask share, for every move at once: their correlation.
        spectrum = np.fft.rfft2(mask.numpy().astype(float), (2 * height, 2 * width))
        shared = np.fft.irfft2(spectrum.conj() * spectrum, (2 * height, 2 * width))
        free = np.argwhere(shared[np.ix_(down, right)] < 0.5)
        if len(free):
            line, column = free[np.random.default_rng([seed, number]).integers(len(free))]
            moves = (int(down[line]), int(right[column]))
            moved[number] = mask.roll(moves, (0, 1))  # nothing crosses the border
    return moved, moved.flatten(1).any(1)


def occluded(
    pixels: Tensor,
    regions: Tensor,
    fill: str,
    lenders: tuple[Tensor, Tensor] | None = None,
    places: Tensor | None = None,
    seed: int = 0,
    paint: Tensor | None = None,
) -> Tensor:
    """Images with one region each painted over.

    Parameters
    ----------
    pixels
        ``[image, 3, height, width]``, floats in 0..1.
    regions
        ``[image, height, width]`` bool.
    fill
        ``mean``: the image's mean colour; ``blur``: the image, blurred by an eighth of its side;
        ``other``: the same place of another image, drawn among those whose object is not there.
    lenders
        For ``other``: pixels and object masks of the images to draw from.
    places
        Number of each image among the lenders, ``[image]``, since none lends to itself; default:
        the lenders are the images, in the same order.
    seed
        Of the draw.
    paint
        What the fill takes from the images themselves, for callers that cover them more than once.

    Raises
    ------
    ValueError
        For an unknown fill, or ``other`` without lenders; or if an image's region is background in
        no other image.
    """
    if fill not in FILLS:
        raise ValueError(unknown("fill", fill, FILLS))
    if paint is None:
        paint = _own_paint(pixels, fill)
    if paint is None:
        if lenders is None:
            raise ValueError("expected lenders, because 'other' paints with other images; got none")
        own = torch.arange(len(pixels)) if places is None else places
        paint = lenders[0][_lenders(regions, lenders[1], own, seed)]
    return torch.where(regions[:, None], paint, pixels)


def _own_paint(pixels: Tensor, fill: str) -> Tensor | None:
    """The paint of fills that take it from the image itself, whatever its region; else None."""
    if fill == "mean":
        return pixels.mean((2, 3), keepdim=True)
    if fill == "blur":
        sigma = pixels.shape[-1] / 8
        return gaussian_blur(pixels, [2 * int(2 * sigma) + 1] * 2, [sigma] * 2)
    return None


def _lenders(regions: Tensor, masks: Tensor, own: Tensor, seed: int) -> Tensor:
    """For each region the number of another image whose object it does not touch."""
    touched = regions.flatten(1).float() @ masks.flatten(1).float().T > 0.5
    touched.scatter_(1, own[:, None], True)
    if touched.all(1).any():
        raise ValueError(
            "expected for each region another image whose object is elsewhere; there is none for "
            f"{int(touched.all(1).sum())} of {len(regions)}; take more images"
        )
    # Each image draws a random order of its own and takes the first that will do.
    order = draws.Twister(seed).rand(*touched.shape)
    return order.masked_fill(touched, 2).argmin(1)


def drive(weight: Tensor, features: Tensor) -> Tensor:
    """What the inputs of either sign contribute: ``[sign, image, unit]``, positive first.

    ``sum_{w_i > 0} w_i f_i`` and ``sum_{w_i < 0} |w_i| f_i`` of weights [unit, feature] and
    features [image, feature] (paper, section 3).
    """
    signs = torch.stack([weight.clamp(min=0), (-weight).clamp(min=0)])
    return torch.einsum("if,suf->siu", features, signs)


@torch.inference_mode()
def measure_drives(
    network: Network, images: Images, *, fills: Sequence[str] = FILLS, seed: int = 0
) -> xr.Dataset:
    """Mean drive of each unit in images whole, without object, without as much background.

    Images without an object, and those whose object leaves no room for its displaced mask, are
    left out: objects seen here are smaller than on average.

    Returns
    -------
    Dataset
        ``drive`` (sign, fill, place, whose, unit): mean over the unit's ``own`` images, and over
        ``other`` ones that show an object of another class; NaN where there are none. ``images``
        (whose, unit): how many. ``covered``: mean share of the image that an object covers.
    """
    masks = object_masks(images)
    moved, free = displaced(masks, seed)
    kept = free & (images.labels >= 0)
    if not kept.any():
        raise ValueError(
            f"expected images with an object and room beside it; got none of {len(images)}; "
            "take more images"
        )
    everything = images.pixels.float() / 255
    lenders, places = (everything, masks), kept.nonzero()[:, 0]
    pixels, masks, moved, labels = everything[kept], masks[kept], moved[kept], images.labels[kept]
    names = network.readout.labels
    own = labels[:, None] == torch.arange(len(names))
    shares = torch.stack([own, ~own]).double()
    shares = shares / shares.sum(1, keepdim=True)  # no images: NaN
    values = np.empty((2, len(fills), len(PLACES), 2, len(names)))

    def driven(shown: Tensor) -> np.ndarray:
        features = torch.cat([network.backbone(part) for part in shown.split(64)]).double()
        found = drive(network.readout.weight.double(), features)
        return torch.einsum("siu,wiu->swu", found, shares).numpy()

    values[:, :, 0] = driven(pixels)[:, None]  # whole, whatever the fill
    for at, fill in enumerate(each(fills, "fills", fine=True)):
        paint = _own_paint(pixels, fill)
        for place, regions in enumerate(each((masks, moved), "ways to cover", fine=True), 1):
            shown = occluded(pixels, regions, fill, lenders, places, seed, paint)
            values[:, at, place] = driven(shown)
    return xr.Dataset(
        {
            "drive": (("sign", "fill", "place", "whose", "unit"), values),
            "images": (("whose", "unit"), torch.stack([own, ~own]).sum(1).numpy()),
            "covered": masks.float().mean().item(),
        },
        {
            "sign": ["positive", "negative"],
            "fill": list(fills),
            "place": list(PLACES),
            "whose": ["own", "other"],
            "unit": list(names),
        },
    )


def losses(drives: xr.DataArray) -> xr.DataArray:
    """Share of a drive that is lost when the object, or as much background, is painted over.

    ``1 - drive(occluded) / drive(intact)``; below 0 where the drive rises.
    """
    places = list(PLACES[1:])
    return 1 - drives.sel(place=places) / drives.sel(place="intact", drop=True)


def contrast(
    loss: xr.DataArray, first: tuple[str, str], second: tuple[str, str], whose: str = "own"
) -> xr.DataArray:
    """One of `losses`, given as (sign, place), less another: ``(network, fill, unit)``."""
    one, two = (
        loss.sel(sign=sign, place=place, whose=whose, drop=True) for sign, place in (first, second)
    )
    return (one - two).transpose("network", "fill", "unit")


def predictions(loss: xr.DataArray, networks: Sequence[str]) -> dict[str, xr.DataArray]:
    """What claims W-occlusion say, above 0 where they hold: each ``(network, fill, unit)``.

    Parameters
    ----------
    loss
        Of `losses`.
    networks
        Those of ``loss`` to ask; ``*-untrained`` ones only stand beside their trained twins.

    Returns
    -------
    dict
        ``object``: positive drive loses more with the object than with as much background.
        ``context``: negative drive loses more with the background than positive drive does.
        ``negative``: negative drive loses more with the background than with the object;
        ``others``: it does so in images of other classes. ``untrained``, where twins are there:
        the first, less the same before training.
    """
    trained = [name for name in networks if not name.endswith("-untrained")]
    twins = {name: f"{name}-untrained" for name in trained if f"{name}-untrained" in networks}
    plus, minus = ("positive", "background"), ("negative", "background")
    objects = contrast(loss, ("positive", "object"), plus)
    found = {
        "object": objects.sel(network=trained),
        "context": contrast(loss, minus, plus).sel(network=trained),
        "negative": contrast(loss, minus, ("negative", "object")).sel(network=trained),
        "others": contrast(loss, minus, ("negative", "object"), "other").sel(network=trained),
    }
    if twins:
        before = objects.sel(network=list(twins.values())).assign_coords(network=list(twins))
        found["untrained"] = objects.sel(network=list(twins)) - before
    return found


def shares_lost(
    loss: xr.DataArray, networks: Sequence[str]
) -> tuple[dict[str, dict[str, np.ndarray]], list[str]]:
    """`losses` in images of a unit's own class, mean over ways to paint, for a panel of dots.

    Returns
    -------
    dict, list
        Network to "pos., object" and so on to values ``[unit]``; the sign of each such column.
    """
    shown = loss.sel(whose="own").mean("fill")
    columns = [(sign, place) for sign in ("positive", "negative") for place in PLACES[1:]]
    dots = {
        name: {
            f"{sign[:3]}., {place}": shown.sel(network=name, sign=sign, place=place).values
            for sign, place in columns
        }
        for name in networks
    }
    return dots, [sign for sign, _ in columns]


def examples(images: Images, seed: int, count: int = 2) -> tuple[list[list[Tensor]], list[str]]:
    """Images with object or background painted over in each way, for a grid.

    Returns
    -------
    list, list
        Rows of images, first whole, then one for each of `FILLS`; what each row lacks.
    """
    masks = object_masks(images)
    moved, free = displaced(masks, seed)
    pixels, first = images.pixels / 255, free.nonzero()[:count, 0]
    painted = [
        [
            pixels[first],
            *(
                occluded(pixels[first], region[first], fill, (pixels, masks), first)
                for fill in FILLS
            ),
        ]
        for region in (masks, moved)
    ]
    rows = [[part[place] for part in row] for place in range(len(first)) for row in painted]
    return rows, ["object", "background"] * len(first)


@dataclass(frozen=True)
class Occlusion(Experiment):
    """Drives of all units of one network, in its zoo's validation images.

    Attributes
    ----------
    limit
        Images to begin with; 0: all.
    seed
        Of places and of images that lend.
    """

    VERSION: ClassVar[int] = 1
    FOLDER: ClassVar[str] = "occlusion"
    UNIT: ClassVar[str] = "networks"
    WHAT: ClassVar[str] = "stored drives of one network, measured again"
    AGREEMENT: ClassVar[Mapping[str, Agreement]] = {"drive": Agreement(1e-5, 1e-3)}
    MOST_AUDITED: ClassVar[int] = 1

    zoo: str
    network: str
    limit: int = 0
    seed: int = 0

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("zoo", "whose networks and images", "tinyimagenet"),
        Option("networks", "comma separated; default: the standard ones"),
        Option("limit", "validation images; 0: all", limit),
        Option("seed", "of places and of images that lend", seed),
    )

    @property
    def names(self) -> tuple[str, ...]:
        return (self.network,)

    def identity(self, zoo: Zoo) -> dict[str, Any]:
        """What stored drives must agree in."""
        sha256 = zoo.card(self.network)["sha256"]
        about = {"split": "val", "fills": list(FILLS), "version": self.VERSION}
        return {**self.settings, **about, "network_sha256": sha256}

    def compute(
        self,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
        device: str = "cpu",
    ) -> xr.Dataset:
        """As `measure_drives`; DatasetMissing if the zoo's images are not on this machine."""
        images = validation(zoo, self.limit)
        return measure_drives(zoo.network(self.network), images, seed=self.seed)

    def cells(self, zoo: Zoo, stored: xr.Dataset) -> list[Cell]:
        """Ways to paint."""
        try:
            zoo.images("val", 1)
        except DatasetMissing:
            return []
        return [(fill,) for fill in range(len(FILLS))]

    def rescore(self, zoo: Zoo, stored: xr.Dataset, sample: Sequence[Cell]) -> list[Comparison]:
        """Measure all drives under one fill again."""
        images, network = validation(zoo, self.limit), zoo.network(self.network)
        compared = []
        for (fill,) in sample:
            again = measure_drives(network, images, fills=FILLS[fill : fill + 1], seed=self.seed)
            kept = stored["drive"].isel(fill=[fill])
            compared.append(self.compared("drive", kept, again["drive"], FILLS[fill]))
        return compared

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: Zoo) -> list["Occlusion"]:
        """One a network."""
        return plan(zoo.name, given.networks or zoo.networks, given.limit, given.seed)

    @classmethod
    def told(cls, plan: Sequence["Occlusion"], found: Sequence[xr.Dataset], zoo: Zoo) -> str:
        """How many images each network saw."""
        counts = [int(own["images"].sel(whose="own").sum()) for own in found]
        pairs = zip(plan, counts, strict=True)
        return "\n".join(f"{one.network}: {count} images" for one, count in pairs)

    @classmethod
    def joined(cls, plan: Sequence["Occlusion"], found: Sequence[xr.Dataset]) -> xr.Dataset:
        """As `measure_drives`, with dimension ``network``."""
        together = xr.concat([own.drop_attrs() for own in found], dim="network")
        return together.assign_coords(network=[one.network for one in plan])


@lru_cache(maxsize=1)
def validation(zoo: Zoo, limit: int) -> Images:
    """Validation images of an opened zoo, kept for the next network; ``limit`` 0: all."""
    return zoo.images("val", limit or None)


def plan(zoo: str, networks: Sequence[str], limit: int = 0, seed: int = 0) -> list[Occlusion]:
    """One `Occlusion` a network."""
    return [Occlusion(zoo, network, limit, seed) for network in networks]


PLUGIN = Occlusion
