"""What the filters of a network answer to a category of images, at both ends of their responses.

``signseg experiment negative_selectivity --zoo tinyimagenet`` measures the filters on the zoo's
held-out images and stores the numbers, which a chapter reads, so that it needs no dataset.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr

from signseg_utils import zoos
from signseg_utils.analysis import selective_filters, selectivity
from signseg_utils.basics import draws
from signseg_utils.basics.refusals import UnknownName
from signseg_utils.basics.registry import unknown
from signseg_utils.experiments import base
from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import Cell, Experiment, Option, State, forget
from signseg_utils.generators import scenes
from signseg_utils.networks import Network

IMAGES = 5_000  # of the zoo's held-out images, at most
LAYERS = 8  # of a network, at most, spread evenly
STEP = 2**-13  # between stored numbers
DRAWN = 2**-7  # the same of a curve, which is looked at
SHUFFLES = 2  # categories of shuffled labels
UNTRAINED = "-untrained"  # ends the name of an untrained twin

# Superordinate categories: names of classes, or their numbers. The first is the one that the paper
# asks for; in shapes, where nothing is superordinate but a shape in three hues, it is any.
_IMAGENET: Mapping[str, Sequence[int]] = {
    "dogs": range(151, 269),  # 118 breeds
    "cats": range(281, 294),
    "birds": (*range(7, 25), *range(80, 101), *range(127, 147)),
    "vehicles": (
        *(407, 436, 468, 511, 555, 569, 609, 627, 654, 656, 661, 675, 717, 734, 751, 779, 817),
        *(864, 866, 867, 874),
    ),
}
_TINYIMAGENET: Mapping[str, Sequence[str]] = {
    "dogs": (
        *("Chihuahua", "Yorkshire terrier", "golden retriever", "Labrador retriever"),
        *("German shepherd", "standard poodle"),
    ),
    "cats": ("tabby", "Persian cat", "Egyptian cat", "cougar", "lion"),
    "birds": ("goose", "black stork", "king penguin", "albatross"),
    "vehicles": (
        *("convertible", "go-kart", "limousine", "moving van", "police van", "school bus"),
        *("sports car", "tractor", "trolleybus"),
    ),
}
_SHAPES: Mapping[str, Sequence[str]] = {
    f"{shape}es" if shape == "cross" else f"{shape}s": [f"{hue} {shape}" for hue in scenes.HUES]
    for shape in scenes.SHAPES
}
CATEGORIES: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "efficientnet": _IMAGENET,
    "imagenet": _IMAGENET,
    "shapes": _SHAPES,
    "tinyimagenet": _TINYIMAGENET,
}


def categories(zoo: zoos.Zoo) -> dict[str, tuple[int, ...]]:
    """Superordinate categories of a zoo's classes: name to the numbers of the classes.

    Raises
    ------
    UnknownName
        If none are known of this zoo.
    """
    if zoo.name not in CATEGORIES:
        raise UnknownName(unknown("zoo with superordinate categories", zoo.name, list(CATEGORIES)))
    return {
        name: tuple(zoo.classes.index(own) if isinstance(own, str) else own for own in members)
        for name, members in CATEGORIES[zoo.name].items()
    }


def measure(
    network: Network, images: zoos.Images, classes: Mapping[str, Sequence[int]], layers: int
) -> xr.Dataset:
    """Measures of the filters of a network, over images.

    Parameters
    ----------
    classes
        Category to the numbers of its classes. The first is also asked with shuffled labels.
    layers
        At most so many, spread evenly.

    Returns
    -------
    Dataset
        Of each filter, a ``row`` with ``layer``, ``depth`` (0 the first layer, 1 the last) and
        ``filter``: the three indices ``paper``, ``readme`` and ``notebook``, and ``top`` and
        ``bottom``, counts of the category's images at either ``end``, for each ``category`` and
        the shuffled ones; `selectivity.tuning` and ``curve``; and for filters of the last layer
        ``centred`` and ``raw``, mean weights of the output units of each category. ``members``
        counts a category's images, ``images`` all.
    """
    chosen = {name: np.isin(images.labels, list(own)) for name, own in classes.items()}
    first = next(iter(chosen.values()))
    for number in range(SHUFFLES):
        order = draws.order(len(first), seed=number).numpy()
        chosen[f"{selective_filters.SHUFFLED} {number}"] = first[order]
    contrast = selectivity.contrast(images.pixels)
    seen = selectivity.responses(network.backbone, images.pixels, layers)
    weights = selectivity.category_weights(network.readout.weight.double().numpy(), classes)
    pieces = []
    for place, (layer, own) in enumerate(seen.items()):
        piece = _measured(own, chosen, contrast)
        last = place == len(seen) - 1 and piece.sizes["row"] == network.readout.weight.shape[1]
        for gauge, values in weights.items():
            there = np.full((len(chosen), piece.sizes["row"]), np.nan)
            there[: len(classes)] = values if last else np.nan
            piece[gauge] = ("category", "row"), there
        count = piece.sizes["row"]
        where = {"layer": [layer] * count, "filter": range(count)}
        where["depth"] = [place / max(len(seen) - 1, 1)] * count
        pieces.append(piece.assign_coords({name: ("row", own) for name, own in where.items()}))
    found = xr.concat(pieces, "row")
    members = [int(own.sum()) for own in chosen.values()]
    return found.assign(members=("category", members), images=len(images))


def _measured(
    own: Mapping[str, np.ndarray], chosen: Mapping[str, np.ndarray], contrast: np.ndarray
) -> xr.Dataset:
    """Measures of the filters of one layer."""
    ends = {name: (own[top], own[bottom]) for name, (top, bottom) in selectivity.ENDS.items()}
    for name in ("mean", "minima"):
        top, bottom = (selectivity.without(values, contrast) for values in ends[name])
        ends[f"{name} contrast"] = top, bottom
    indices: dict[str, list[np.ndarray]] = {"paper": [], "readme": [], "notebook": []}
    counts = []
    for where in chosen.values():
        indices["paper"].append(selectivity.paper_index(own["mean"], where))
        indices["readme"].append(selectivity.readme_index(own["mean"], where))
        indices["notebook"].append(
            selectivity.notebook_index(own["rectified"], own["largest"], where)
        )
        counts.append([selectivity.at_ends(*end, where) for end in ends.values()])
    top, bottom = np.moveaxis(_stored(counts), 2, 0)
    along = ("category", "end", "row")
    values: dict[str, Any] = {"top": (along, top), "bottom": (along, bottom)}
    values |= {name: (("category", "row"), _stored(found)) for name, found in indices.items()}
    tuning = selectivity.tuning(own["mean"])
    values |= {name: ("row", _stored(found)) for name, found in tuning.items()}
    values["curve"] = ("row", "level"), _stored(selectivity.curves(own["mean"]), DRAWN)
    named = {"category": list(chosen), "end": list(ends), "level": list(selectivity.LEVELS)}
    return xr.Dataset(values, named)


def _stored(values: Any, step: float = STEP) -> np.ndarray:
    """Multiples of a power of two: what is finer says nothing, and does not compress."""
    return (np.round(np.asarray(values) / step) * step).astype(np.float32)


@dataclass(frozen=True)
class NegativeSelectivity(Experiment):
    """`measure` of one network, over held-out images of its zoo.

    Attributes
    ----------
    images
        At most; the first of a fixed shuffle.
    layers
        At most, spread evenly over the network.
    """

    KIND: ClassVar[str] = "negative_selectivity"
    UNIT: ClassVar[str] = "networks"
    WHAT: ClassVar[str] = "stored measures of filters, made again"
    # Images that answer all but alike may change places at the border of an end.
    AGREEMENT: ClassVar[Mapping[str, Agreement]] = {
        **dict.fromkeys(("top", "bottom"), Agreement(1e-3, cells=20, by=2)),
        **dict.fromkeys(("members", "images"), Agreement()),
        "curve": Agreement(1.5 * DRAWN, 1e-3, cells=5, by=0.1),
    }
    # What is stored has steps; where few responses lie above 0, one more or less moves a distance.
    OTHERWISE: ClassVar[Agreement] = Agreement(1e-3, 1e-3, cells=5, by=0.1)
    MOST_AUDITED: ClassVar[int] = 1
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("zoo", "whose networks and images", None),
        Option("networks", "comma separated; default: standard and untrained ones"),
        Option("images", "held-out images, at most", IMAGES),
    )

    zoo: str
    network: str
    images: int = IMAGES
    layers: int = LAYERS

    @property
    def names(self) -> tuple[str, ...]:
        return (self.network,)

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: zoos.Zoo) -> list["NegativeSelectivity"]:
        """One a network."""
        names = given.networks or (*zoo.networks, *zoo.families.get("untrained", ()))
        return [cls(zoo.name, name, int(given.images)) for name in names]

    @classmethod
    def told(cls, plan: Sequence[Any], found: Sequence[xr.Dataset], zoo: zoos.Zoo) -> str:
        """How many filters were measured."""
        count = sum(own.sizes["row"] for own in found)
        return f"{count} filters of {len(found)} networks measured"

    def opened(self, zoo: zoos.Zoo, folder: Any) -> zoos.Zoo:
        """A page of one zoo may show networks of another."""
        return zoo if zoo.name == self.zoo else zoos.load_zoo(self.zoo)

    def identity(self, zoo: zoos.Zoo) -> dict[str, Any]:
        weights = zoo.fingerprint(self.network)
        return {**self.settings, "version": self.VERSION, "network_sha256": weights}

    def compute(
        self,
        zoo: zoos.Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
        device: str = "cpu",
    ) -> xr.Dataset:
        """See `measure`; DatasetMissing if the images are not on this machine."""
        images = zoo.images("val", self.images)
        with torch.inference_mode():
            return measure(zoo.network(self.network), images, categories(zoo), self.layers)

    def cells(self, zoo: zoos.Zoo, stored: xr.Dataset) -> list[Cell]:
        """All at once, if images and weights are here."""
        try:
            zoo.images("val", 1)
            zoo.path(self.network)
        except (zoos.DatasetMissing, ImportError):  # weights may come with a package
            return []
        return [()]

    def rescore(
        self, zoo: zoos.Zoo, stored: xr.Dataset, sample: Sequence[Cell]
    ) -> list[Comparison]:
        """Measure all filters again."""
        again = self.compute(zoo)
        return [self.compared(str(name), stored[name], again[name]) for name in again]

    @classmethod
    def joined(cls, plan: Sequence[Any], found: Sequence[xr.Dataset]) -> dict[str, xr.Dataset]:
        """Network to its measures."""
        return {one.network: own for one, own in zip(plan, found, strict=True)}


# ---------------------------------------------------------------- what a chapter asks for


def plan(
    zoo: zoos.Zoo, networks: Sequence[str] = (), images: int = IMAGES
) -> list[NegativeSelectivity]:
    """Networks, by default the standard ones, and the untrained twins that the zoo has of them."""
    names = list(networks or zoo.networks)
    twins = [name + UNTRAINED for name in names if name + UNTRAINED in zoo.known_networks]
    return [NegativeSelectivity(zoo.name, name, images) for name in (*names, *twins)]


def parted(found: Mapping[str, xr.Dataset]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measures of trained networks, and those of their untrained twins under the same names."""
    own = {name: of for name, of in found.items() if not name.endswith(UNTRAINED)}
    twins = {name: found[name + UNTRAINED] for name in own if name + UNTRAINED in found}
    return own, twins


def beside(name: str, images: int = IMAGES) -> dict[str, xr.Dataset]:
    """Stored measures of the trained networks of another zoo; none if its name is empty.

    Raises
    ------
    zoos.DatasetMissing
        If they are not stored and the images are not here.
    """
    if not name:
        return {}
    zoo = zoos.load_zoo(name)
    asked = [NegativeSelectivity(zoo.name, network, images) for network in zoo.networks]
    return NegativeSelectivity.joined(asked, base.obtain(asked, zoo).found)


def main_category(zoo: zoos.Zoo, name: str = "") -> str:
    """A category of the zoo, by default the one that is told first.

    Raises
    ------
    UnknownName
        If the zoo has none of this name.
    """
    known = categories(zoo)
    if name and name not in known:
        raise UnknownName(unknown(f"category of zoo {zoo.name}", name, list(known)))
    return name or next(iter(known))


PLUGIN = NegativeSelectivity
