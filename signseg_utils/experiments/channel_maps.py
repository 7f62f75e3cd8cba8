"""Where on an image the channels of a layer are active: in one place or all over, on the object.

Claim F-L2 of the final version (ICLR 2026): channels that project positively are local and
object-like, channels that project negatively dispersed and background-like.

``signseg experiment channel_maps --zoo tinyimagenet`` measures the channels on the
zoo's images and stores the numbers, which a chapter reads, so that it needs no dataset.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor, nn
from torch.nn import functional as F

from signseg_utils import zoos
from signseg_utils.analysis.images import own_images
from signseg_utils.basics.progress import each
from signseg_utils.experiments import base
from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import Cell, Experiment, Option, State, forget
from signseg_utils.units.contributions import by_sign, contributions, maps

IMAGES = 1_000  # of the zoo's held-out images
STRONGEST = 20  # images of each channel
MEASURES = ("spread", "on_object", "activity")
COLUMNS = ("network", "layer", "channel", *MEASURES)


def spread(activity: Tensor) -> Tensor:
    """Share of its map over which a channel is active: ``[..., height, width] -> [...]``.

    The participation ratio ``(sum_x a)^2 / (N sum_x a^2)`` of the magnitudes ``a`` over ``N``
    places: 1 if they are alike everywhere, 1/N if there is one place only, NaN if there is none.
    """
    places = activity.double().abs().flatten(-2)
    return places.sum(-1).square() / (places.shape[-1] * places.square().sum(-1))


def on_object(activity: Tensor, inside: Tensor) -> Tensor:
    """Share of the activity inside the object less the object's share of the image.

    Parameters
    ----------
    activity
        ``[..., height, width]``; magnitudes count.
    inside
        ``[..., h, w]`` in 0..1, brought to the size of the map by averaging over areas.

    Returns
    -------
    Tensor
        ``[...]``: above 0 if the channel prefers the object, below 0 if it prefers the background;
        NaN without activity.
    """
    places = activity.double().abs()
    flat = inside.double().reshape(-1, 1, *inside.shape[-2:])
    small = F.adaptive_avg_pool2d(flat, (places.shape[-2], places.shape[-1]))
    small = small.reshape(*inside.shape[:-2], *places.shape[-2:])
    share = (places * small).sum((-2, -1)) / places.sum((-2, -1))
    return share - small.mean((-2, -1))


def measure(
    backbone: nn.Module, layer: str, pixels: Tensor, inside: Tensor, strongest: int = STRONGEST
) -> dict[str, Tensor]:
    """`spread`, `on_object` and mean activity of each channel of a layer: ``[channel]`` each.

    Parameters
    ----------
    pixels
        ``[image, 3, height, width]`` uint8.
    inside
        ``[image, height, width]``: which pixels belong to the object.
    strongest
        The first two are means over so many images, those where the channel is most active;
        the activity is a mean over all images.

    Raises
    ------
    KeyError
        If the backbone has no such layer.
    """
    parts = [maps(backbone, layer, part.float() / 255) for part in pixels.split(64)]
    activity = torch.cat(parts).abs()  # [image, channel, h, w]
    level = activity.mean((2, 3))
    best = level.topk(min(strongest, len(level)), dim=0).indices  # [place, channel]
    chosen = activity[best, torch.arange(activity.shape[1])]
    return {
        "spread": spread(chosen).mean(0),
        "on_object": on_object(chosen, inside[best]).mean(0),
        "activity": level.double().mean(0),
    }


def regions(images: zoos.Images) -> Tensor:
    """Which pixels belong to the object, ``[image, height, width]`` bool: masks, else boxes."""
    if images.masks is not None:
        return images.masks
    height, width = images.pixels.shape[-2:]
    x0, y0, x1, y1 = (images.boxes[:, k, None, None] for k in range(4))
    x, y = torch.arange(width) + 0.5, torch.arange(height)[:, None] + 0.5
    return (x >= x0) & (x < x1) & (y >= y0) & (y < y1)  # NaN: nowhere


@dataclass(frozen=True)
class ChannelMaps(Experiment):
    """Measures of all channels of one network, over validation images that hold an object.

    Attributes
    ----------
    limit
        Images to begin with.
    """

    KIND: ClassVar[str] = "channels"
    UNIT: ClassVar[str] = "networks"
    WHAT: ClassVar[str] = "stored measures of channels, made again"
    # Shipped numbers have five digits; whose image is the 20th strongest may change with the last.
    AGREEMENT: ClassVar[Mapping[str, Agreement]] = {
        "spread": Agreement(1e-3, 1e-3, cells=20, by=0.1),
        "on_object": Agreement(1e-3, 1e-3, cells=20, by=0.1),
        "activity": Agreement(1e-4, 1e-3),
    }
    MOST_AUDITED: ClassVar[int] = 1
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("zoo", "whose networks and images", None),
        Option("networks", "comma separated; default: those here"),
    )

    zoo: str
    network: str
    limit: int = IMAGES

    @property
    def names(self) -> tuple[str, ...]:
        return (self.network,)

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: zoos.Zoo) -> list["ChannelMaps"]:
        """One a network; default: standard and untrained ones whose weights are here."""
        plain = (*zoo.networks, *zoo.families.get("untrained", ()))
        names = given.networks or [name for name in plain if zoo.path(name).exists()]
        return [ChannelMaps(zoo.name, name) for name in names]

    @classmethod
    def told(cls, plan: Sequence[Any], found: Sequence[xr.Dataset], zoo: zoos.Zoo) -> str:
        """How many channels there are."""
        count = sum(own.sizes["row"] for own in found)
        return f"{count} channels of {len(found)} networks measured"

    def identity(self, zoo: zoos.Zoo) -> dict[str, Any]:
        sha256 = zoo.card(self.network)["sha256"]
        return {**self.settings, "version": self.VERSION, "network_sha256": sha256}

    def compute(
        self,
        zoo: zoos.Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
        device: str = "cpu",
    ) -> xr.Dataset:
        """``spread``, ``on_object``, ``activity`` [row], with ``layer`` and ``channel`` of each."""
        names = zoo.network(self.network).backbone.layer_names
        return self._measured(zoo, [str(name) for name in names])  # type: ignore[union-attr]

    def _measured(self, zoo: zoos.Zoo, layers: Sequence[str]) -> xr.Dataset:
        images, backbone = zoo.images("val", self.limit), zoo.network(self.network).backbone
        images = images[images.labels >= 0]
        inside = regions(images)
        pieces = []
        for layer in each(layers, "layers", fine=True):
            found = measure(backbone, layer, images.pixels, inside)
            count = len(found["spread"])
            where = {"layer": ("row", [layer] * count), "channel": ("row", range(count))}
            values = {name: ("row", values.double().numpy()) for name, values in found.items()}
            pieces.append(xr.Dataset(values, where))
        return xr.concat(pieces, "row")

    def cells(self, zoo: zoos.Zoo, stored: xr.Dataset) -> list[Cell]:
        """Layers, if the images are here."""
        try:
            zoo.images("val", 1)
        except zoos.DatasetMissing:
            return []
        return [(layer,) for layer in range(len(np.unique(stored["layer"])))]

    def rescore(
        self, zoo: zoos.Zoo, stored: xr.Dataset, sample: Sequence[Cell]
    ) -> list[Comparison]:
        """Measure a layer again."""
        layers = list(dict.fromkeys(stored["layer"].values.tolist()))
        compared = []
        for (number,) in sample:
            again = self._measured(zoo, [layers[number]])
            kept = stored.isel(row=stored["layer"].values == layers[number])
            compared += [
                self.compared(name, kept[name], again[name], layers[number]) for name in MEASURES
            ]
        return compared

    @classmethod
    def joined(cls, plan: Sequence[Any], found: Sequence[xr.Dataset]) -> pd.DataFrame:
        """A table, one row a channel: `COLUMNS`."""
        pieces = [
            own[list(MEASURES)]
            .to_dataframe()
            .reset_index(drop=True)
            .assign(network=one.network, layer=own["layer"].values, channel=own["channel"].values)
            for one, own in zip(plan, found, strict=True)
        ]
        empty = pd.DataFrame(columns=list(COLUMNS))
        return pd.concat(pieces, ignore_index=True)[list(COLUMNS)] if pieces else empty


def table(zoo: zoos.Zoo, networks: Sequence[str], limit: int = IMAGES) -> pd.DataFrame:
    """Measures of all layers of networks: stored ones where there are, else made now.

    Returns
    -------
    DataFrame
        ``network``, ``layer``, ``channel``, and the measures of `measure`, over images that hold an
        object. A control network without stored measures is left out if the images are not here,
        and so is any network of a zoo that does not ship.

    Raises
    ------
    zoos.DatasetMissing
        If a standard network of a zoo that ships has no measures and the images are not here.
    """
    plan, found = [], []
    for name in networks:
        one = ChannelMaps(zoo.name, name, limit)
        try:
            found += base.obtain([one], zoo).found
        except zoos.DatasetMissing:
            if zoo.ships and name in zoo.networks:
                raise
            continue
        plan.append(one)
    return ChannelMaps.joined(plan, found)


def sign_gap(
    channels: pd.DataFrame, measure: str, contribution: Tensor, matched: bool = False
) -> np.ndarray:
    """A property of positive- less that of negative-projecting channels, for each unit: ``[unit]``.

    Parameters
    ----------
    channels
        Rows of `table` of one network and one layer.
    measure
        ``spread`` or ``on_object``.
    contribution
        ``[unit, channel]``: the weights of the two means, see
        `signseg_utils.units.contributions.contributions`.
    matched
        Compare channels of equal activity: the property less the line that a regression on the
        logarithm of the activity gives.

    Raises
    ------
    ValueError
        If rows and contributions are of different channels.
    """
    rows = channels.sort_values("channel")
    values, activity = (rows[name].to_numpy(np.float64) for name in (measure, "activity"))
    alive = np.isfinite(values) & (activity > 0)
    values = np.where(alive, values, np.nan)
    if matched:
        level = np.log(np.where(alive, activity, 1.0))
        slope, start = np.polyfit(level[alive], values[alive], 1)
        values = values - slope * level - start
    positive, negative = by_sign(torch.from_numpy(values), contribution)
    return (positive - negative).numpy()


def middle(backbone: Any) -> str:
    """Name of the layer half-way through a backbone."""
    names: Sequence[str] = backbone.layer_names
    return names[len(names) // 2]


def unit_gaps(
    zoo: zoos.Zoo, channels: pd.DataFrame, network: str, units: Sequence[str], images: Tensor
) -> dict[str, np.ndarray]:
    """`sign_gap` of the last and of the middle layer, for units of one network.

    Parameters
    ----------
    channels
        From `table`.
    images
        ``[unit, image, 3, height, width]`` in 0..1, at which contributions are taken.

    Returns
    -------
    dict
        ``[unit]`` each: ``local`` (of the spread) and ``object``; with ``matched`` for channels of
        equal activity, with ``untrained`` less the same in the network's untrained twin; each also
        with ``middle`` for that layer. What the table does not hold is left out.
    """
    found: dict[str, np.ndarray] = {}
    for word in ("", " middle"):
        own, twin = (
            _gaps(zoo, channels, name, word, units, images)
            for name in (network, f"{network}-untrained")
        )
        for kind, values in own.items():
            found[f"{kind}{word}"] = values
            if kind in twin and "matched" not in kind:
                found[f"{kind}{word} untrained"] = values - twin[kind]
    return found


def gaps_by_network(
    zoo: zoos.Zoo,
    searches: Any,
    networks: Sequence[str],
    measured: Sequence[str],
    units: Sequence[str],
) -> dict[str, dict[str, np.ndarray]]:
    """`unit_gaps` of several networks, contributions taken at their units' own preferred images.

    Parameters
    ----------
    searches
        From `signseg_utils.analysis.images.arranged`.
    networks, measured
        Networks whose units are asked, and those whose channels `table` shall hold besides, such
        as their untrained twins.

    Returns
    -------
    dict
        Name of the gap to network to values ``[unit]``.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    channels = table(zoo, measured)
    for name in networks:
        images = own_images(searches, zoo, name, units)
        for kind, values in unit_gaps(zoo, channels, name, units, images).items():
            found.setdefault(kind, {})[name] = values
    return found


def _gaps(
    zoo: zoos.Zoo,
    channels: pd.DataFrame,
    name: str,
    word: str,
    units: Sequence[str],
    images: Tensor,
) -> dict[str, np.ndarray]:
    rows = channels[channels["network"] == name]
    if rows.empty:
        return {}
    network = zoo.network(name)
    names = network.backbone.layer_names
    layer = middle(network.backbone) if word else str(names[-1])  # type: ignore[index]
    rows = rows[rows["layer"] == layer]
    shares = contributions(network.backbone, layer, network.readout.rows(units), images)
    return {
        f"{kind} matched" if matched else kind: sign_gap(rows, measure, shares, matched)
        for kind, measure in (("local", "spread"), ("object", "on_object"))
        for matched in (False, True)
    }


PLUGIN = ChannelMaps
