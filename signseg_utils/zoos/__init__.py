"""Zoos: which networks, generators, images and detector belong together."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from signseg_utils import registry, weights
from signseg_utils.networks import Network
from signseg_utils.paths import zoo_folder
from signseg_utils.readout import Readout


class DatasetMissing(FileNotFoundError):
    """The images of a zoo are not on this machine; the message says how to get them."""


@dataclass(frozen=True)
class Images:
    """A set of labelled images.

    ``pixels`` uint8 [image, 3, height, width]; ``labels`` [image], -1 where there is no object;
    ``boxes`` [image, 4] as x0 y0 x1 y1 in pixels, NaN where there is none; ``masks``
    [image, height, width] bool where the object's exact mask is known.
    """

    pixels: Tensor
    labels: Tensor
    boxes: Tensor
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: Any) -> "Images":
        masks = None if self.masks is None else self.masks[index]
        return Images(self.pixels[index], self.labels[index], self.boxes[index], masks)


class Zoo(ABC):
    """One zoo; what it ships lies in ``folder`` as ``<artefact>.safetensors`` and ``.json``."""

    name: str
    image_size: int
    classes: tuple[str, ...]
    default_units: tuple[str, ...]
    network_configs: dict[str, dict[str, Any]]
    generators: tuple[str, ...]

    def __init__(self, folder: Path | None = None):
        self.folder = Path(folder) if folder is not None else zoo_folder(self.name)

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of this zoo's networks."""
        return tuple(self.network_configs)

    @abstractmethod
    def images(self, split: str, limit: int | None = None) -> Images:
        """Images of ``split`` ("train" or "val"), the first ``limit`` of a fixed shuffle.

        Raises
        ------
        DatasetMissing
            If they are not on this machine.
        """

    def path(self, artefact: str) -> Path:
        """Where the weights of one network, generator or the detector lie."""
        return self.folder / f"{artefact}.safetensors"

    def card(self, artefact: str) -> dict[str, Any]:
        """Manifest of one artefact: configuration, seed, scores, seconds, sha256."""
        return weights.read_manifest(self.path(artefact))

    def network(self, name: str) -> Network:
        """Load a trained network, batch norm folded, ready for search on the CPU.

        Raises
        ------
        KeyError
            If the zoo has no network of that name.
        FileNotFoundError, signseg_utils.weights.DamagedWeights
            If its weights are missing or not the ones of its manifest.
        """
        if name not in self.networks:
            raise KeyError(registry.unknown(f"network of zoo {self.name}", name, self.networks))
        tensors, manifest = weights.load(self.path(name))
        readout = Readout(
            tensors.pop("readout.weight"), tensors.pop("readout.bias"), tuple(self.classes)
        )
        backbone = registry.load("networks", manifest["module"])(manifest["config"])
        _load_strictly(backbone, tensors, self.path(name))
        return Network(name, backbone.folded(), readout, manifest)

    def generator(self, name: str) -> nn.Module:
        """Load a generator: codes [image, code] to images [image, 3, height, width] in 0..1."""
        if name not in self.generators:
            raise KeyError(registry.unknown(f"generator of zoo {self.name}", name, self.generators))
        module: nn.Module = registry.load("generators", self.generator_modules[name]).from_folder(
            self.folder, name
        )
        return module.eval().requires_grad_(False)

    generator_modules: dict[str, str]

    def detector(self) -> Any:
        """The object detector trained on this zoo's boxes."""
        from signseg_utils.metrics.objectness import Detector

        return Detector.load(self.folder)


def _load_strictly(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    missing, unexpected = module.load_state_dict(tensors, strict=False)
    if missing or unexpected:
        raise weights.DamagedWeights(
            f"expected the weights in {path} to fit the network of their manifest; "
            f"missing keys: {missing or 'none'}; unexpected keys: {unexpected or 'none'}"
        )


def load_zoo(name: str, folder: Path | None = None) -> Zoo:
    """Zoo ``name`` with its weights in ``folder`` (default: ``data/zoo/<name>``)."""
    zoo: Zoo = registry.load("zoos", name)(folder)
    return zoo


@lru_cache(maxsize=4)
def shuffled(count: int, seed: int = 0) -> Tensor:
    """A fixed permutation of ``count`` items, the same on every machine."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))
