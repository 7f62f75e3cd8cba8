"""What compact models of neurons share, and which sign of their mixing weights carries them.

In silico: models are compared with models, and nobody is shown an image. A `Consolidation` is one
population of `signseg_utils.neurons.circuits`, all its models shown the same images of a recording.
The result holds numbers about models, no weight and no image. ``signseg experiment consolidation
--recording v4`` computes what the store does not hold yet, model by model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn import functional as F

from signseg_utils.analysis import shared_filters as shared
from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import Cell, Option, State, forget
from signseg_utils.experiments.recorded import base as studies
from signseg_utils.neurons import circuits, recordings
from signseg_utils.neurons.circuits import LAYERS, MIXING
from signseg_utils.neurons.compact import CHUNK, IMAGE_SIZE, SIDE, CompactNeuron
from signseg_utils.neurons.pictures import pictures
from signseg_utils.units.ablation import Ablation, ablated_mask
from signseg_utils.zoos import Zoo

__all__ = ["AMONG", "CONDITIONS", "GAUGES", "PARTS", "Consolidation", "plan"]

PARTS = (*(str(layer) for layer in MIXING), "readout")  # what has weights that mix
AMONG = ("all", "session")  # pairs of models: all, or those of one session
GAUGES = ("passed on", "raw")  # weights as filters pass them on, and as the files have them
CONDITIONS: Mapping[str, tuple[str, Ablation]] = {
    "positive": ("passed on", Ablation("positive", 0.5)),
    "negative": ("passed on", Ablation("negative", 0.5)),
    "random of positive": ("passed on", Ablation("random_magnitude", 0.5)),
    "random of negative": ("passed on", Ablation("random_magnitude", 0.5, reference="negative")),
    "positive full": ("passed on", Ablation("positive", 1.0)),
    "negative full": ("passed on", Ablation("negative", 1.0)),
    "positive raw": ("raw", Ablation("positive", 0.5)),
    "negative raw": ("raw", Ablation("negative", 0.5)),
}
NULL_DRAWS = 5
SESSION = {"v4": "190923", "simulated": "simulated"}  # whose images are shown
FITTED = {"v4": 600, "simulated": 0}  # first images of a session, which models were fitted to


@dataclass(frozen=True)
class Consolidation(studies.Recorded):
    """One population of models; ``network`` is not used.

    Attributes
    ----------
    population
        One of `signseg_utils.neurons.circuits.POPULATIONS`; of recorded neurons empty.
    images
        Natural images whose activity is compared.
    shown
        The first of them, to which ablated models are shown.
    randomised
        Models, evenly chosen, that are compared with their like of random weights.
    seed
        Of random kernels, weights and signs.
    """

    KIND: ClassVar[str] = "consolidation"
    VERSION: ClassVar[int] = 2
    WHAT: ClassVar[str] = "stored numbers of models, measured again"
    OTHERWISE: ClassVar[Agreement] = studies.NUMBERS
    SAYS: ClassVar[int] = 2
    MOST_AUDITED: ClassVar[int] = 2

    network: str = ""
    population: str = ""
    images: int = 120
    shown: int = 40
    randomised: int = 22
    seed: int = 0

    OPTIONS: ClassVar[tuple[Option, ...]] = (studies.OPTIONS[0], studies.OPTIONS[2])

    @property
    def names(self) -> tuple[str, ...]:
        return (*super().names, self.population)

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: Zoo) -> list[Consolidation]:
        return plan(given.recording, given.zoo)

    def measured(
        self,
        session: xr.Dataset,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
    ) -> xr.Dataset:
        """The result.

        ``filters`` [part, model]: depthwise kernels of a layer, and filters that the readout pools.
        ``kernels`` [among, layer, model], mean similarity of a model's kernels with those of
        others, and ``chance`` [null, among, layer, model], the same of random kernels. ``cka``
        [among, map, model], the same of activity; ``control`` [weights, map, chosen], of the
        randomised models among themselves with their own and with random weights; ``next_cka``
        [map, model], with the next model alone. ``one_sided`` and ``tossed`` [gauge, part,
        model], see `shared_filters.one_sided`; ``lean`` [part, model], sum of a kernel over the sum
        of its magnitudes, mean size. ``kept`` [condition, part, model], correlation of the ablated
        with the intact response, 0 where the ablated one never differs.
        """
        names = circuits.names(self.recording, self.population)
        shown = natural(self.recording, session, self.images)
        chosen = chosen_of(len(names), self.randomised)

        def of_model(number: int) -> dict[str, Tensor]:
            own = circuits.model(self.recording, names[number])
            found = {"grams": grams(own, shown), **_numbers(self, own, number, shown)}
            if number in chosen:
                other = circuits.redrawn(own, shown[:CALIBRATED], self.seed, number)
                found["random"] = grams(other, shown)
            return found

        state = studies.neuron_by_neuron(len(names), state, save, of_model)
        groups = [circuits.session_of(name) for name in names]
        every = np.stack([state[f"{n}.grams"].numpy() for n in range(len(names))], 1)
        pairs = np.stack([shared.alignment(own) for own in every])
        own = np.stack([shared.alignment(part[chosen]) for part in every])
        random = np.stack([state[f"{n}.random"].numpy() for n in chosen], 1)
        redrawn = np.stack([shared.alignment(part) for part in random])
        beside = np.arange(len(names)), np.roll(np.arange(len(names)), -1)
        found = xr.Dataset(
            coords={
                "model": list(names),
                "chosen": [names[n] for n in chosen],
                "part": list(PARTS),
                "map": list(LAYERS),
                "layer": list(MIXING),
                "among": list(AMONG),
                "null": list(shared.NULLS),
                "gauge": list(GAUGES),
                "weights": ["own", "random"],
                "condition": list(CONDITIONS),
            }
        )
        found["cka"] = (("among", "map", "model"), _among(pairs, groups))
        found["next_cka"] = (("map", "model"), pairs[:, *beside])
        control = [[shared.of_each(part) for part in parts] for parts in (own, redrawn)]
        found["control"] = (("weights", "map", "chosen"), np.stack(control))
        for name, values in _of_kernels(self, names).items():
            dims = ("null", "among", "layer", "model")[-values.ndim :]
            found[name] = (dims, values)
        for name, dims in NUMBERS.items():
            stacked = torch.stack([state[f"{n}.{name}"] for n in range(len(names))], -1)
            found[name] = ((*dims, "model"), stacked.numpy())
        return found.astype(np.float32)

    def cells(self, zoo: Zoo, stored: xr.Dataset) -> list[Cell]:
        """Models, if they and the images are here."""
        try:
            there = circuits.names(self.recording, self.population)
        except FileNotFoundError:
            return []
        same = list(there) == stored["model"].values.tolist() and self.here()
        return [(n,) for n in range(len(there))] if same else []

    def rescore(self, zoo: Zoo, stored: xr.Dataset, sample: Sequence[Cell]) -> list[Comparison]:
        """Measure some models again, and their activity against that of the next."""
        names = stored["model"].values.tolist()
        shown = natural(self.recording, self.recorded(), self.images)
        held = []
        for (number,) in sample:
            kept = stored.isel(model=number)
            own, beside = (
                circuits.model(self.recording, name)
                for name in (names[number], names[(number + 1) % len(names)])
            )
            again = {name: one.numpy() for name, one in _numbers(self, own, number, shown).items()}
            product = grams(own, shown) * grams(beside, shown)
            again["next_cka"] = product.sum((1, 2)).numpy()
            held += [
                self.compared(name, kept[name], one, names[number]) for name, one in again.items()
            ]
        for name, values in _of_kernels(self, names, nulls=()).items():
            held.append(self.compared(name, stored[name], values))
        return held


CALIBRATED = 8  # images that redrawn models are brought to scale with
NUMBERS: Mapping[str, tuple[str, ...]] = {
    "filters": ("part",),
    "one_sided": ("gauge", "part"),
    "tossed": ("gauge", "part"),
    "lean": ("part",),
    "kept": ("condition", "part"),
}


def plan(recording: str, zoo: str, **settings: Any) -> list[Consolidation]:
    """One population of recorded neurons' models; of simulated ones that which shares and not."""
    populations = ("shared", "unshared") if recording == "simulated" else ("",)
    circuits.names(recording, populations[0])  # or it says why there are none
    session = SESSION[recording]
    return [
        Consolidation(recording, session, zoo, population=own, **settings) for own in populations
    ]


def natural(recording: str, session: xr.Dataset, count: int) -> Tensor:
    """The first images that no model was fitted to, ``[image, 3, 112, 112]`` in 0..1.

    RecordingError if the session has too few.
    """
    first = FITTED[recording]
    if session.sizes["image"] < first + count:
        raise recordings.RecordingError(
            f"expected {first + count} images in session {SESSION[recording]}, because models were "
            f"fitted to the first {first}; got {session.sizes['image']}; ask for fewer with images="
        )
    return pictures(session.isel(image=slice(first, first + count)), IMAGE_SIZE).float() / 255


def chosen_of(count: int, most: int) -> list[int]:
    """So many models at most, evenly chosen."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


# ---------------------------------------------------------------- activity and kernels


@torch.inference_mode()
def grams(own: CompactNeuron, shown: Tensor) -> Tensor:
    """`shared_filters.gram` of each layer, ``[map, image, image]``.

    Maps of layers 1 and 2 are averaged to the places of the later ones, so that all layers have as
    many.
    """
    pieces: list[list[Tensor]] = [[] for _ in LAYERS]
    for part in shown.split(CHUNK):
        maps = own.begun(part)
        for layer in LAYERS:
            if layer > 1:
                maps = own.mixed(own.filtered(maps, layer), layer)
            pieces[layer - 1].append(F.adaptive_avg_pool2d(maps, SIDE).flatten(1))
    found = [shared.gram(torch.cat(parts).numpy()) for parts in pieces]
    return torch.from_numpy(np.stack(found)).float()


def _among(pairs: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """``[among, layer, model]`` of pairs ``[layer, model, model]``."""
    whole = [shared.of_each(own) for own in pairs]
    return np.stack([whole, [shared.of_each(own, groups) for own in pairs]])


def _of_kernels(
    study: Consolidation, names: Sequence[str], nulls: Sequence[str] = shared.NULLS
) -> dict[str, np.ndarray]:
    """``kernels`` [among, layer, model] and, if asked for, ``chance`` [null, ...]."""
    groups = [circuits.session_of(name) for name in names]
    models = [circuits.model(study.recording, name) for name in names]
    real, chance = [], []
    for layer in MIXING:
        kernels = [own.kernels(layer).double().numpy() for own in models]
        real.append(shared.closest(kernels))
        chance.append([_chance(kernels, null, study.seed, layer) for null in nulls])
    found = {"kernels": _among(np.stack(real), groups)}
    if nulls:
        by_null = np.stack(chance, 1)  # [null, layer, model, model]
        found["chance"] = np.stack([_among(own, groups) for own in by_null])
    return found


def _chance(kernels: Sequence[np.ndarray], null: str, seed: int, layer: int) -> np.ndarray:
    first = 100 * (1 + shared.NULLS.index(null)) + 10 * layer
    drawn = [shared.random_kernels(kernels, null, seed, first + n) for n in range(NULL_DRAWS)]
    return np.mean([shared.closest(own) for own in drawn], axis=0)


# ---------------------------------------------------------------- signs of one model


class Part(NamedTuple):
    """What mixes: weights [row, input], and the same as filters pass them on."""

    weight: Tensor
    passed: Tensor
    lean: float
    filtered: Tensor


@torch.inference_mode()
def _numbers(
    study: Consolidation, own: CompactNeuron, number: int, shown: Tensor
) -> dict[str, Tensor]:
    """`NUMBERS` of one model, without their dimension ``model``."""
    mixing = parts(own, shown[: study.shown])
    intact = own.onwards(own.mixed(mixing["2"].filtered, 2), 2)
    sided, kept = [], []
    for place, (name, part) in enumerate(mixing.items()):
        own_gauges = (part.passed, part.weight)
        stream = 10_000 + 10 * number + place
        sided.append([shared.one_sided(w.double().numpy(), study.seed, stream) for w in own_gauges])
        kept.append(
            [
                _correlation(without(own, name, part, *condition), intact)
                for condition in CONDITIONS.values()
            ]
        )
    both = torch.tensor(sided).permute(2, 1, 0)  # [own or tossed, gauge, part]
    counts = [part.weight.shape[1] for name, part in mixing.items() if name != "readout"]
    return {
        "filters": torch.tensor([*counts, own.filters[-1]]),
        "one_sided": both[0],
        "tossed": both[1],
        "lean": torch.tensor([part.lean for part in mixing.values()]),
        "kept": torch.tensor(kept).T,
    }


def parts(own: CompactNeuron, shown: Tensor) -> dict[str, Part]:
    """What mixes in each layer, and what it mixes.

    The sign of a depthwise kernel and that of the weights that mix it can be exchanged, and so can
    their sizes, without any change to the model. As a filter passes them on: a weight times the
    root mean square of what the filter makes of images, with the sign of its mean.
    """
    maps = torch.cat([own.begun(part) for part in shown.split(CHUNK)])
    found = {}
    for layer in MIXING:
        filtered = torch.cat([own.filtered(part, layer) for part in maps.split(CHUNK)])
        size = filtered.square().mean((0, 2, 3)).sqrt() * filtered.mean((0, 2, 3)).sign()
        kernels = own.kernels(layer).flatten(1)
        lean = (kernels.sum(1).abs() / kernels.abs().sum(1).clamp_min(1e-12)).mean()
        weight = own.mixing(layer).weight[:, :, 0, 0]
        found[str(layer)] = Part(weight, weight * size, float(lean), filtered)
        maps = own.mixed(filtered, layer)
    weight = own.beta.weight
    size = maps.square().mean(0).sqrt().flatten()
    found["readout"] = Part(weight, weight * size, 1.0, maps)
    return found


def without(own: CompactNeuron, name: str, part: Part, gauge: str, ablation: Ablation) -> Tensor:
    """Responses ``[image]`` with some weights of one part gone."""
    judged = part.passed if gauge == "passed on" else part.weight
    labels = [f"{name} {row}" for row in range(len(judged))]
    weight = part.weight.masked_fill(ablated_mask(judged, ablation, labels), 0)
    if name == "readout":
        return F.linear(part.filtered.flatten(1), weight, own.beta.bias)[:, 0]
    layer = int(name)
    bias = own.mixing(layer).bias
    maps = F.conv2d(part.filtered, weight[..., None, None], bias).relu_()
    return own.onwards(maps, layer)


def _correlation(ablated: Tensor, intact: Tensor) -> float:
    """Pearson's; 0 where the ablated response never differs."""
    one, two = (values.double() - values.double().mean() for values in (ablated, intact))
    length = float(one.norm() * two.norm())
    still = float(one.norm()) <= 1e-6 * float(two.norm())
    return 0.0 if still or length == 0 else float(one @ two) / length


PLUGIN = Consolidation
