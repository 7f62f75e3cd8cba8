"""Preferred images of single features of a network, and two measures of what they show.

A feature is a readout row with one weight, so its image is searched as that of any unit. Codes
are stored, images are rendered from them again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from signseg_utils import zoos
from signseg_utils.analysis import localize
from signseg_utils.analysis.spectrum import radial_spectrum
from signseg_utils.files.store import Store
from signseg_utils.search.evolution import Search, evolve
from signseg_utils.units.readout import Readout

VERSION = 1  # of the search: raised when the same wish would give other images


@dataclass(frozen=True)
class Wish:
    """Whose preferred images, and how they are searched.

    Attributes
    ----------
    features
        Numbers of features of the penultimate layer.
    """

    zoo: str
    network: str
    generator: str
    features: tuple[int, ...]
    seeds: tuple[int, ...] = (0, 1)
    generations: int = 25
    optimizer: str = "cholesky_cma"

    @property
    def key(self) -> str:
        """Name of its file."""
        text = json.dumps({**asdict(self), "version": VERSION}, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        return f"features-{self.zoo}-{self.network}-{self.generator}-{digest}"

    def expected(self) -> dict[str, Any]:
        """What the provenance of its result must say."""
        zoo = zoos.load_zoo(self.zoo)
        return {
            **{key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()},
            "version": VERSION,
            "network_sha256": zoo.fingerprint(self.network),
            "generator_sha256": zoo.fingerprint(self.generator),
        }


def search(wish: Wish) -> xr.Dataset:
    """Evolve an image for each feature and seed: ``code`` [feature, seed, code], ``activation``."""
    zoo = zoos.load_zoo(wish.zoo)
    backbone = zoo.network(wish.network).backbone
    rows = single(wish.features, zoo.network(wish.network).readout.weight.shape[1])
    bank = rows.rows([n for n in range(len(rows)) for _ in wish.seeds])
    found = evolve(
        bank, backbone, zoo.generator(wish.generator), wish.seeds * len(rows),
        Search(wish.optimizer, wish.generations),
    )  # fmt: skip
    shape = (len(wish.features), len(wish.seeds))
    return xr.Dataset(
        {
            "code": (("feature", "seed", "number"), found.codes.half().reshape(*shape, -1).numpy()),
            "activation": (("feature", "seed"), found.activations.reshape(shape).numpy()),
        },
        {"feature": list(wish.features), "seed": list(wish.seeds)},
    )


def obtain(wish: Wish, shipped: Path, results: str = "", recompute: bool = False) -> xr.Dataset:
    """Stored images of features: shipped ones if they fit, else those in ``results`` or new ones.

    ``results`` is ``runs/features`` by default.
    """
    if not (results or recompute) and Store(shipped).has(wish.key, wish.expected()):
        return Store(shipped).read(wish.key, wish.expected())
    store = Store(Path(results or "runs/features"))
    if recompute or not store.has(wish.key, wish.expected()):
        store.write(wish.key, search(wish), wish.expected())
    return store.read(wish.key, wish.expected())


@torch.inference_mode()
def images(found: xr.Dataset, generator: nn.Module) -> Tensor:
    """The image of each feature that activates it most: ``[feature, 3, height, width]``."""
    best = found.isel(seed=found["activation"].argmax("seed"))
    codes = torch.from_numpy(best["code"].transpose("feature", "number").values).float()
    drawn: Tensor = generator(codes)
    return drawn


def extents(
    pictures: Tensor, backbone: nn.Module, features: tuple[int, ...], seed: int,
    least: float = 0.02, **options: Any,
) -> np.ndarray:
    """Share of its preferred image on which a feature depends, ``[feature]``; NaN: no such place.

    The mask of `signseg_utils.analysis.localize.localise`, 0 being the response that means nothing.
    Features answer without noise and are spread out, so that ``least`` may be small.
    """
    def place(number: int) -> localize.Location:
        return localize.localise(
            lambda shown: backbone(shown)[:, features[number]], pictures[number], seed + number,
            least=least, **options,
        )  # fmt: skip

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
