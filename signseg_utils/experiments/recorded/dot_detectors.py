"""Which compact models of neurons detect dots, and what their filters have to do with it.

In silico: dots are shown to models. A `DotDetectors` asks all models of a recording how they answer
to dots of many sizes, beside natural images, and takes those apart that detect dots by a rule
(`detecting`): each filter alone, layer 3 filter by filter, and its mixing weights by sign. The
result holds numbers about models, no weight and no image. ``signseg experiment dot_detectors
--recording v4`` computes what the store does not hold yet.

Source: Cowley et al., doi:10.1101/2023.11.22.568315, Fig. 4; how dots were made and invariance was
measured is not public, so it was stated beforehand here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn import functional as F

from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import Cell, Option, State, forget
from signseg_utils.experiments.recorded import base as studies
from signseg_utils.experiments.recorded import consolidation
from signseg_utils.neurons import circuits
from signseg_utils.neurons.circuits import LAYERS
from signseg_utils.neurons.compact import CHUNK, IMAGE_SIZE, SIDE, CompactNeuron
from signseg_utils.neurons.recordings import RecordingError
from signseg_utils.neurons.spots import FORMS, POLARITIES, blank, spots
from signseg_utils.units.ablation import Ablation
from signseg_utils.zoos import Zoo

__all__ = ["RADII", "DotDetectors", "detecting", "invariance", "plan"]

RADII = (2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0, 18.0, 22.0, 28.0)  # pixels
REACH = 7  # places that a dot is moved from the centre at most, so that the largest stays inside
CONSOLIDATING = 3  # the layer that is taken apart filter by filter (source, Fig. 4e)
SIGNS: Mapping[str, Ablation] = {
    "positive": Ablation("positive", 0.5),
    "negative": Ablation("negative", 0.5),
}
FIRST = 3.5  # middle of the first place of the maps of layer 3, pixels: two strides of 2
LEAST = 0.5  # a detector answers to the largest dot with less than this share of its peak

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class DotDetectors(studies.Recorded):
    """All models of a recording; ``network`` is not used.

    Attributes
    ----------
    images
        Natural images that responses to dots are told beside.
    shown
        The first of them, over which weights are told as filters pass them on.
    detailed
        Detectors, at most, that are taken apart.
    """

    KIND: ClassVar[str] = "dot_detectors"
    VERSION: ClassVar[int] = 1
    WHAT: ClassVar[str] = "stored numbers of models, measured again"
    OTHERWISE: ClassVar[Agreement] = studies.NUMBERS
    SAYS: ClassVar[int] = 2
    MOST_AUDITED: ClassVar[int] = 2

    network: str = ""
    images: int = 100
    shown: int = 40
    detailed: int = 6

    OPTIONS: ClassVar[tuple[Option, ...]] = (studies.OPTIONS[0], studies.OPTIONS[2])

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: Zoo) -> list[DotDetectors]:
        return plan(given.recording, given.zoo)

    def measured(
        self,
        session: xr.Dataset,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
    ) -> xr.Dataset:
        """The result; responses in standard deviations over natural images, from their mean.

        Of all models: ``tuning`` [polarity, radius, model] at the ``place`` [axis, model], in
        pixels, where the best dot drives most; ``blank`` [model], without a dot; ``natural99``
        [model], 99th percentile over natural images. Of detectors, see `taken_apart`.
        """
        names = circuits.names(self.recording, "dots")
        shown = consolidation.natural(self.recording, session, self.images)

        def of_model(number: int) -> dict[str, Tensor]:
            found = answers(circuits.model(self.recording, names[number]), shown)
            if found["natural_spread"] <= 0:
                raise RecordingError(
                    "expected responses to natural images that differ, because responses to dots "
                    f"are told in their standard deviations; got none of model {names[number]}; "
                    "show more images with images="
                )
            return found

        state = studies.neuron_by_neuron(len(names), state, save, of_model)
        found = xr.Dataset(
            coords={
                "model": list(names),
                "polarity": list(POLARITIES),
                "radius": list(RADII),
                "axis": ["y", "x"],
                "form": list(FORMS),
                "sign": list(SIGNS),
            }
        )
        for name, dims in ANSWERS.items():
            stacked = torch.stack([state[f"{n}.{name}"] for n in range(len(names))], -1)
            found[name] = ((*dims, "model"), stacked.numpy())
        parts = [
            taken_apart(self, found.sel(model=name), shown)
            for name in detecting(found)[: self.detailed]
        ]
        over = [part.drop_dims("filter") for part in parts]
        each = [part[[n for n in part if "filter" in part[n].dims]] for part in parts]
        found = found.merge(xr.concat(over, "detector"))
        found = found.merge(xr.concat(each, "filter", combine_attrs="drop"))
        return found.astype(np.float32)

    def cells(self, zoo: Zoo, stored: xr.Dataset) -> list[Cell]:
        """Models, if they and the images are here; the strongest detector first."""
        try:
            there = circuits.names(self.recording, "dots")
        except FileNotFoundError:
            return []
        same = list(there) == stored["model"].values.tolist() and self.here()
        return [(n,) for n in range(len(there))] if same else []

    def rescore(self, zoo: Zoo, stored: xr.Dataset, sample: Sequence[Cell]) -> list[Comparison]:
        """Show dots to some models again, and take the strongest detector apart again."""
        shown = consolidation.natural(self.recording, self.recorded(), self.images)
        held = []
        for (number,) in sample:
            kept = stored.isel(model=number)
            name = str(kept["model"].values)
            again = answers(circuits.model(self.recording, name), shown)
            held += [self.compared(n, kept[n], one.numpy(), name) for n, one in again.items()]
        first = str(stored["detector"].values[0])
        apart = taken_apart(self, stored.sel(model=first), shown)
        own = stored.isel(filter=np.flatnonzero(stored["of"].values == first))
        for variable, values in apart.data_vars.items():
            alone = own[variable].sel({} if "filter" in values.dims else {"detector": [first]})
            held.append(self.compared(str(variable), alone, values, first))
        return held


ANSWERS: Mapping[str, tuple[str, ...]] = {
    "tuning": ("polarity", "radius"),
    "blank": (),
    "natural99": (),
    "natural_mean": (),
    "natural_spread": (),
    "place": ("axis",),
}


def plan(recording: str, zoo: str, **settings: Any) -> list[DotDetectors]:
    """The models of a recording; RecordingError if it has none."""
    circuits.names(recording, "dots")
    return [DotDetectors(recording, consolidation.SESSION[recording], zoo, **settings)]


# ---------------------------------------------------------------- which detect dots


def ratio(found: xr.Dataset) -> xr.DataArray:
    """Response to the best dot over the 99th percentile of natural images, ``[model]``."""
    return found["tuning"].max(("polarity", "radius")) / found["natural99"]


def tuned(found: xr.Dataset) -> xr.DataArray:
    """Whether the largest dot drives a model less than `LEAST` of what the best does, ``[model]``.

    Both from the mean response to natural images.
    """
    peak = found["tuning"].max(("polarity", "radius"))
    own = found["tuning"].isel(polarity=best_polarity(found))
    return own.isel(radius=-1) < LEAST * peak


def best_polarity(found: xr.Dataset) -> xr.DataArray:
    """Number of the polarity of the best dot, ``[model]``."""
    return found["tuning"].max("radius").argmax(dim="polarity")


def detecting(found: xr.Dataset) -> list[str]:
    """Names of the dot detectors, the strongest first; if there is none, of the nearest model.

    A detector is `tuned`, and its best dot drives it more than the 99th percentile of natural
    images. The nearest: the highest ratio of those that are tuned, else of all.
    """
    strength, fits = ratio(found).values, tuned(found).values
    order = np.argsort(-strength, kind="stable")
    names = found["model"].values
    some = [str(names[n]) for n in order if fits[n] and strength[n] > 1]
    nearest = [str(names[n]) for n in order if fits[n]] or [str(names[order[0]])]
    return some or nearest[:1]


@torch.inference_mode()
def answers(own: CompactNeuron, shown: Tensor) -> dict[str, Tensor]:
    """`ANSWERS` of one model, without their dimension ``model``."""
    natural = torch.cat([own(part) for part in shown.split(CHUNK)]).double()
    mean, spread = natural.mean(), natural.std(correction=0)
    place = preferred_place(own)
    tuning = torch.stack([responses(own, spots(RADII, place, name)) for name in POLARITIES])
    top = (natural.quantile(0.99) - mean) / spread
    return {
        "tuning": (tuning - mean) / spread,
        "blank": (responses(own, blank())[0] - mean) / spread,
        "natural99": top,
        "natural_mean": mean,
        "natural_spread": spread,
        "place": torch.tensor(place),
    }


@torch.inference_mode()
def responses(own: CompactNeuron, images: Tensor) -> Tensor:
    """``[image]``, float64."""
    return torch.cat([own(part) for part in images.split(CHUNK)]).double()


@torch.inference_mode()
def preferred_place(own: CompactNeuron) -> tuple[float, float]:
    """Where the best dot of all sizes, dark and light, drives a model most: y and x in pixels.

    A dot moved by four pixels moves the last maps by one place. So each dot is shown once, in the
    middle, and what it adds to the maps is weighed by the readout at each place; near the edge of
    the image this is not exact, which does not matter to a choice.
    """
    middle = (IMAGE_SIZE / 2, IMAGE_SIZE / 2)
    dots = torch.cat([spots(RADII, middle, polarity) for polarity in POLARITIES])
    added = torch.cat([_last(own, part) for part in dots.split(CHUNK)]) - _last(own, blank())
    weight = own.beta.weight.view(1, -1, SIDE, SIDE)
    drive = F.conv2d(weight, added, padding=REACH)[0].amax(0)  # [place, place], best dot
    row, column = divmod(int(drive.argmax()), drive.shape[1])
    step = IMAGE_SIZE / SIDE
    return middle[0] + step * (row - REACH), middle[1] + step * (column - REACH)


def _last(own: CompactNeuron, images: Tensor) -> Tensor:
    maps = own.begun(images)
    for layer in LAYERS[1:]:
        maps = own.mixed(own.filtered(maps, layer), layer)
    return maps


# ---------------------------------------------------------------- taking one apart


def invariance(ablated: Tensor, intact: Tensor) -> Tensor:
    """Dot-size invariance ``[...]`` of responses ``[..., radius]``: 1 - sd(ablated)/sd(intact).

    0: unchanged, 1: all sizes alike; below 0 where sizes differ more than before.
    """
    spread = intact.std(-1, correction=0)
    return 1 - ablated.std(-1, correction=0) / spread.clamp_min(1e-12)


def half_without(own: CompactNeuron, shown: Tensor, filtered: Tensor) -> list[Tensor]:
    """Responses ``[radius]`` to dots with half of one sign of the mixing weights gone, a sign each.

    What counts as half is weighed on ``shown`` images; ``filtered`` are the dots' own maps.
    """
    layer = str(CONSOLIDATING)
    on_dots = consolidation.parts(own, shown)[layer]._replace(filtered=filtered)
    return [
        consolidation.without(own, layer, on_dots, "passed on", ablation)
        for ablation in SIGNS.values()
    ]


@torch.inference_mode()
def taken_apart(study: DotDetectors, about: xr.Dataset, shown: Tensor) -> xr.Dataset:
    """What each filter of one model, ``about``, does to its responses to dots.

    Over ``filter``: ``of`` (the model), ``layer``, ``number``; ``dsi``, `invariance` without it,
    and ``effect`` [radius, filter], intact less ablated response; of the consolidating layer also
    ``step``, when a cumulative ablation takes it, ``change``, see `changed`, then, and ``y``
    and ``x``, pixels from the middle of the largest dot to the centre of mass of what the filter
    adds before the most important filter of the next layer; NaN elsewhere. Over ``detector``:
    ``signed`` [sign, radius], responses with half of one sign of its mixing weights gone;
    ``forms`` [form, radius].
    """
    name = str(about["model"].values)
    own = circuits.model(study.recording, name)
    scale = float(about["natural_mean"]), float(about["natural_spread"])
    place = float(about["place"][0]), float(about["place"][1])
    polarity = POLARITIES[int(best_polarity(about))]
    dots = spots(RADII, place, polarity)

    def told(values: Tensor) -> Tensor:
        return (values.double() - scale[0]) / scale[1]

    passed = passed_through(own, dots)
    intact = told(own.onwards(own.mixed(passed[2], 2), 2))
    without = [one_by_one(own, passed, layer) for layer in LAYERS]
    responses_without = [told(one) for of_layer in without for one in of_layer]
    rows = {
        "layer": np.repeat(LAYERS, [len(of_layer) for of_layer in without]),
        "number": np.concatenate([np.arange(len(of_layer)) for of_layer in without]),
        "dsi": np.array([float(invariance(values, intact)) for values in responses_without]),
    }
    effect = np.stack([(intact - values).numpy() for values in responses_without], 1)
    layers, count = rows["layer"], len(rows["layer"])
    mine = np.flatnonzero(layers == CONSOLIDATING)
    after = layers == CONSOLIDATING + 1
    important = int(np.where(after, rows["dsi"], -np.inf).argmax() - np.flatnonzero(after)[0])
    columns = {name: np.full(count, np.nan) for name in ("step", "change", "y", "x")}
    order, change = cumulatively(own, passed[CONSOLIDATING], intact, told)
    columns["step"][mine[order]] = np.arange(len(order))
    columns["change"][mine[order]] = change
    y, x = centres(own, passed[CONSOLIDATING][-1:], important, place)
    columns["y"][mine], columns["x"][mine] = y, x
    signed = [
        told(values) for values in half_without(own, shown[: study.shown], passed[CONSOLIDATING])
    ]
    forms = [told(responses(own, spots(RADII, place, polarity, form))) for form in FORMS]
    return xr.Dataset(
        {
            **{key: ("filter", values) for key, values in (rows | columns).items()},
            "effect": (("radius", "filter"), effect),
            "signed": (("sign", "radius", "detector"), torch.stack(signed)[..., None].numpy()),
            "forms": (("form", "radius", "detector"), torch.stack(forms)[..., None].numpy()),
        },
        {
            "of": ("filter", [name] * count),
            "detector": [name],
            "sign": list(SIGNS),
            "radius": list(RADII),
            "form": list(FORMS),
        },
    )


@torch.inference_mode()
def passed_through(own: CompactNeuron, images: Tensor) -> dict[int, Tensor]:
    """What the depthwise kernels of layers 2 to 5 make of images, by layer."""
    maps, found = own.begun(images), {}
    for layer in LAYERS[1:]:
        found[layer] = own.filtered(maps, layer)
        maps = own.mixed(found[layer], layer)
    return found


def one_by_one(own: CompactNeuron, passed: Mapping[int, Tensor], layer: int) -> list[Tensor]:
    """Responses ``[image]`` without each filter of a layer in turn, its kernel at 0.

    ``passed``: `passed_through` of the images.
    """
    at = max(layer, 2)
    still = torch.zeros_like(passed[at][:1])
    if layer == 1:  # of a filter of layer 1 the bias stays, as a map that is alike everywhere
        bias = own.first.bias
        assert isinstance(bias, Tensor)
        flat = bias.relu()[None, :, None, None].expand(1, -1, IMAGE_SIZE, IMAGE_SIZE)
        still = own.filtered(flat.contiguous(), 2)
    found = []
    for number in range(passed[at].shape[1]):
        changed = passed[at].clone()
        changed[:, number] = still[:, number]
        found.append(own.onwards(own.mixed(changed, at), at))
    return found


def changed(ablated: Tensor, intact: Tensor) -> Tensor:
    """How far responses ``[..., radius]`` differ from the intact ones, ``[...]``.

    Root mean square over radii, beside the standard deviation of the intact ones. Where a filter
    that holds back is gone, sizes differ more than before and `invariance` falls below 0, but this
    rises.
    """
    spread = intact.std(-1, correction=0).clamp_min(1e-12)
    return (ablated - intact).square().mean(-1).sqrt() / spread


def cumulatively(
    own: CompactNeuron, passed: Tensor, intact: Tensor, told: Callable[[Tensor], Tensor]
) -> tuple[list[int], list[float]]:
    """Filters of the consolidating layer, each time the one whose loss changes responses least.

    Returns
    -------
    order, change
        Numbers of filters, and `changed` once each is gone.
    """
    conv = own.mixing(CONSOLIDATING)
    before, weight = conv(passed), conv.weight
    left, order, change = list(range(passed.shape[1])), [], []
    while left:
        adds = torch.stack([weight[:, n].view(1, -1, 1, 1) * passed[:, n : n + 1] for n in left])
        maps = (before[None] - adds).relu().flatten(0, 1)
        ablated = told(own.onwards(maps, CONSOLIDATING)).unflatten(0, (len(left), -1))
        found = changed(ablated, intact)
        least = int(found.argmin())
        before = before - adds[least]
        order.append(left.pop(least))
        change.append(float(found[least]))
    return order, change


def centres(
    own: CompactNeuron, passed: Tensor, important: int, middle: tuple[float, float]
) -> tuple[Array, Array]:
    """Where each filter adds to one map, ``[filter]`` y and x in pixels from ``middle``.

    Centre of mass of what it adds for an image, beyond what it adds without a spot, times the sign
    of its sum. NaN where it adds nothing.
    """
    weight = own.mixing(CONSOLIDATING).weight[important, :, 0, 0].view(-1, 1, 1)
    without = passed_through(own, blank())[CONSOLIDATING]
    adds = (weight * (passed[0] - without[0])).double()
    adds = (adds * adds.sum((1, 2), keepdim=True).sign()).clamp_min(0)
    total = adds.sum((1, 2)).numpy()
    step = IMAGE_SIZE / adds.shape[-1]
    at = (FIRST + torch.arange(adds.shape[-1]).double() * step).numpy()
    rows, columns = adds.sum(2).numpy() @ at, adds.sum(1).numpy() @ at
    with np.errstate(invalid="ignore", divide="ignore"):
        return rows / total - middle[0], columns / total - middle[1]


PLUGIN = DotDetectors
