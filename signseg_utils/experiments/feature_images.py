"""Preferred images of single features of a network, and two measures of what they show.

A feature is a readout row with one weight, so its image is searched as that of any unit. Codes
are stored, images are rendered from them again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from signseg_utils.analysis import localize, stats
from signseg_utils.analysis.spectrum import radial_spectrum
from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import Cell, Experiment, State, forget
from signseg_utils.experiments.sweep.shards import ACTIVATION, cost
from signseg_utils.search.evolution import Search, evolve, rescore
from signseg_utils.units.readout import Readout
from signseg_utils.zoos import Zoo


@dataclass(frozen=True)
class FeatureImages(Experiment):
    """Preferred images of features, and how they are searched.

    Attributes
    ----------
    features
        Numbers of features of the penultimate layer.
    """

    KIND: ClassVar[str] = "features"
    UNIT: ClassVar[str] = "sets of features"
    AGREEMENT: ClassVar[Mapping[str, Agreement]] = {"activation": ACTIVATION}

    zoo: str
    network: str
    generator: str
    features: tuple[int, ...]
    seeds: tuple[int, ...] = (0, 1)
    generations: int = 25
    optimizer: str = "cholesky_cma"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.zoo, self.network, self.generator)

    def identity(self, zoo: Zoo) -> dict[str, Any]:
        return {
            **self.settings,
            "version": self.VERSION,
            "network_sha256": zoo.fingerprint(self.network),
            "generator_sha256": zoo.fingerprint(self.generator),
        }

    def compute(
        self,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
        device: str = "cpu",
    ) -> xr.Dataset:
        """An image for each feature and seed: ``code`` [feature, seed, number], ``activation``."""
        network = zoo.network(self.network)
        rows = single(self.features, network.readout.weight.shape[1])
        found = evolve(
            rows.rows([n for n in range(len(rows)) for _ in self.seeds]),
            network.backbone,
            zoo.generator(self.generator),
            self.seeds * len(rows),
            Search(self.optimizer, self.generations),
            device=device,
            resume=state,
            checkpoint=save,
            checkpoint_every=1,
        )
        shape = (len(self.features), len(self.seeds))
        codes = found.codes.half().reshape(*shape, -1).numpy()
        return xr.Dataset(
            {
                "code": (("feature", "seed", "number"), codes),
                "activation": (("feature", "seed"), found.activations.reshape(shape).numpy()),
            },
            {"feature": list(self.features), "seed": list(self.seeds)},
            {"cost": cost(found)},
        )

    def cells(self, zoo: Zoo, stored: xr.Dataset) -> list[Cell]:
        """Searches (feature, seed)."""
        return list(np.ndindex(stored["activation"].shape))

    def rescore(self, zoo: Zoo, stored: xr.Dataset, sample: Sequence[Cell]) -> list[Comparison]:
        """Render stored codes, score them again."""
        network, generator = zoo.network(self.network), zoo.generator(self.generator)
        rows = single(self.features, network.readout.weight.shape[1])
        codes = np.stack([stored["code"].values[cell] for cell in sample]).astype(np.float32)
        again = rescore(
            rows.rows([feature for feature, _ in sample]),
            network.backbone,
            generator,
            torch.from_numpy(codes),
        )
        kept = [stored["activation"].values[cell] for cell in sample]
        return [self.compared("activation", kept, again.tolist())]


@torch.inference_mode()
def images(found: xr.Dataset, generator: nn.Module) -> Tensor:
    """The image of each feature that activates it most: ``[feature, 3, height, width]``."""
    best = found.isel(seed=found["activation"].argmax("seed"))
    codes = torch.from_numpy(best["code"].transpose("feature", "number").values).float()
    drawn: Tensor = generator(codes)
    return drawn


def extents(
    pictures: Tensor,
    backbone: nn.Module,
    features: tuple[int, ...],
    seed: int,
    least: float = 0.02,
    **options: Any,
) -> np.ndarray:
    """Share of its preferred image on which a feature depends, ``[feature]``; NaN: no such place.

    The mask of `signseg_utils.analysis.localize.localise`, 0 being the response that means nothing.
    Features answer without noise and are spread out, so that ``least`` may be small.
    """

    def place(number: int) -> localize.Location:
        return localize.localise(
            lambda shown: backbone(shown)[:, features[number]],
            pictures[number],
            seed + number,
            least=least,
            **options,
        )

    places = [place(number) for number in range(len(features))]
    found = [own.share if own.found else np.nan for own in places]
    return np.array(found)


def octaves(pictures: Tensor) -> np.ndarray:
    """How fine images are, ``[image]``: log2 of the mean spatial frequency of their luminance.

    The mean, in cycles per image, weighs frequencies by their share of the variance.
    """
    spectrum = radial_spectrum(pictures, window=True)
    energy = (spectrum.power * spectrum.count)[:, 1:]
    mean = (energy * spectrum.frequency[1:]).sum(1) / energy.sum(1)
    return mean.log2().numpy()


def by_sign(values: np.ndarray) -> dict[str, np.ndarray]:
    """Values ``[feature]`` of as many positive features as negative ones after them, by sign.

    The order is that of `signseg_utils.analysis.neuron_signs.extremes`; features
    without a value (NaN) are left out.
    """
    halves = dict(zip(("positive", "negative"), np.split(values, 2), strict=True))
    return {sign: own[np.isfinite(own)] for sign, own in halves.items()}


def means(groups: Mapping[str, np.ndarray]) -> dict[str, stats.Estimate]:
    """Mean of each group ``[feature]`` with its 95 % interval over features."""
    return {name: stats.mean(values) for name, values in groups.items()}


def grid(pictures: Tensor, across: int = 8) -> tuple[list[Tensor], list[str]]:
    """Rows of images and what stands beside them, for `plots.image_grid`.

    ``pictures [feature, ...]`` are those of positive features, then of as many negative ones; a
    row holds ``across`` of one sign.
    """
    rows, labels = [], []
    for sign, half in zip(("positive", "negative"), pictures.chunk(2), strict=True):
        parts = half.split(across)
        rows += parts
        labels += [f"{sign} in most"] * len(parts)
    return rows, labels


def single(features: tuple[int, ...], count: int) -> Readout:
    """Rows that each read one of ``count`` features.

    Raises
    ------
    IndexError
        If there is no such feature.
    """
    if features and not 0 <= min(features) <= max(features) < count:
        raise IndexError(f"expected features below {count}; got {min(features)} to {max(features)}")
    weight = torch.zeros(len(features), count)
    weight[torch.arange(len(features)), list(features)] = 1.0
    return Readout(weight, torch.zeros(len(features)), tuple(f"feature {n}" for n in features))


PLUGIN = FeatureImages
