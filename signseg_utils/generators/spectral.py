"""Linear generators: images as weighted sums of whitened components.

Either the components are real Fourier waves with the 1/f amplitudes of natural images and
decorrelated colours, and nothing is trained [1]_ [2]_; or they are the principal components of
given images. A code of independent standard normals then has the second-order statistics of
natural images; its norm is capped, so that an optimiser cannot buy activation with contrast.

.. [1] Field 1987, "Relations between the statistics of natural images and the response
   properties of cortical cells", 10.1364/JOSAA.4.002379
.. [2] Olah, Mordvintsev & Schubert 2017, "Feature visualization", 10.23915/distill.00007
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from signseg_utils.basics import draws
from signseg_utils.files import weights
from signseg_utils.generators import COLOURS


class Spectral(nn.Module):
    """Generator ``code [n, component] -> image [n, 3, size, size]`` in 0..1.

    Parameters
    ----------
    mean
        Mean image [3, size, size].
    basis
        Components [component, 3, size, size], each scaled to its standard deviation over images.
    norm_cap
        Longest code in units of sqrt(component), the length of a typical whitened code; longer
        codes are shortened to it.
    """

    initial_sigma = 0.7
    mean: Tensor
    basis: Tensor

    def __init__(self, mean: Tensor, basis: Tensor, norm_cap: float = 1.0) -> None:
        super().__init__()
        if basis.ndim != 4 or basis.shape[1:] != mean.shape:
            raise ValueError(
                "expected basis [component, 3, size, size] and mean [3, size, size]; got "
                f"{tuple(basis.shape)} and {tuple(mean.shape)}"
            )
        self.code_size = basis.shape[0]
        self.image_size = basis.shape[-1]
        self.norm_cap = norm_cap
        self.register_buffer("mean", mean.float())
        self.register_buffer("basis", basis.float())

    @classmethod
    def pink(cls, image_size: int = 64, components: int = 300, norm_cap: float = 1.0) -> Self:
        """The lowest ``components`` Fourier waves in three decorrelated colours; untrained."""
        basis = _pink_basis(image_size, components)
        return cls(torch.full((3, image_size, image_size), 0.5), basis, norm_cap)

    @classmethod
    def from_folder(cls, folder: Path, name: str) -> Self:
        """Load what ``save`` wrote; the name "pink" needs no file.

        Raises
        ------
        FileNotFoundError, signseg_utils.files.weights.DamagedWeights
            If the components are missing or not the ones of their manifest.
        """
        if name == "pink":
            return cls.pink()
        tensors, manifest = weights.load(Path(folder) / f"{name}.safetensors")
        return cls(tensors["mean"], tensors["basis"], manifest["config"]["norm_cap"])

    def save(self, folder: Path, name: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Write ``<name>.safetensors`` (half precision) and ``<name>.json`` to ``folder``."""
        config = {"components": self.code_size, "norm_cap": self.norm_cap}
        complete = {
            "name": name,
            "kind": "generator",
            "module": "spectral",
            "dtype": "float16",
            **manifest,
            "config": {**config, "image_size": self.image_size, **manifest.get("config", {})},
        }
        tensors = {"mean": self.mean.half(), "basis": self.basis.half()}
        return weights.save(Path(folder) / f"{name}.safetensors", tensors, complete)

    def initial_codes(self, seeds: Sequence[int]) -> Tensor:
        """Starting codes [seed, code] of small norm: faint images around the mean."""
        rows = [np.random.default_rng(seed).normal(0, 0.3, self.code_size) for seed in seeds]
        return torch.from_numpy(np.stack(rows)).float()

    def capped(self, codes: Tensor) -> Tensor:
        """Codes with their norm at most ``norm_cap`` sqrt(component)."""
        longest = self.norm_cap * math.sqrt(self.code_size)
        return codes * (longest / codes.norm(dim=1, keepdim=True).clamp(min=longest))

    def forward(self, codes: Tensor) -> Tensor:
        """Images [n, 3, h, w] in 0..1 of ``codes`` [n, code], in the dtype of the components."""
        if codes.ndim != 2 or codes.shape[1] != self.code_size:
            raise ValueError(
                f"expected codes [n, {self.code_size}], one row an image; got {tuple(codes.shape)}"
            )
        capped = self.capped(codes.float()).to(self.basis.dtype)
        images = torch.addmm(self.mean.flatten(), capped, self.basis.flatten(1)).clamp_(0, 1)
        return images.view(-1, *self.mean.shape)

    def encode(self, images: Tensor) -> Tensor:
        """Whitened codes [n, code] of images [n, 3, h, w] in 0..1: the nearest before clamping."""
        flat = self.basis.flatten(1)
        centred = (images - self.mean).flatten(1)
        return torch.linalg.solve(flat @ flat.T, (centred @ flat.T).T).T


PLUGIN = Spectral


def fit_pca(
    images: Tensor, components: int, norm_cap: float = 1.0, seed: int = 0, chunk: int = 1000
) -> Spectral:
    """Principal components of images, by randomised subspace iteration.

    Halko, Martinsson & Tropp 2011, algorithm 4.4, 10.1137/090771806.

    Parameters
    ----------
    images
        [n, 3, size, size]: uint8 in 0..255, or floats in 0..1; read ``chunk`` at a time.
    components
        How many to keep.
    norm_cap
        See ``Spectral``.
    seed
        Of the random start.
    """
    flat = images.flatten(1)
    size = flat.shape[1]
    if components > min(len(images), size):
        raise ValueError(
            f"expected at most {min(len(images), size)} components, as many as images or pixel "
            f"values; got {components}; pass more images or fewer components"
        )
    mean = torch.stack([_unit(part).sum(0) for part in flat.split(chunk)]).sum(0) / len(flat)
    width = min(components + 20, len(images), size)
    found = torch.linalg.qr(draws.Twister(seed).randn(size, width))[0]
    for _ in range(4):
        covered = torch.zeros_like(found)
        for part in flat.split(chunk):
            centred = _unit(part) - mean
            covered += centred.T @ (centred @ found)
        found, triangle = torch.linalg.qr(covered / len(flat))
    # The last R factor holds the covariance within the subspace: Q R = C Q_before.
    turn, values, _ = torch.linalg.svd(triangle)
    directions = (found @ turn[:, :components]) * values[:components].sqrt()
    largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
    directions = directions * largest.sign()  # the largest value is positive
    shape = (components, *images.shape[1:])
    return Spectral(mean.view(images.shape[1:]), directions.T.reshape(shape), norm_cap)


def _unit(pixels: Tensor) -> Tensor:
    """Pixels as floats in 0..1."""
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()


def _pink_basis(size: int, components: int) -> Tensor:
    """Fourier waves of the lowest frequencies [component, 3, size, size], amplitude 1/f.

    Each spatial wave comes in three decorrelated colours. The basis is scaled so that codes of
    independent standard normals give pixels of standard deviation 0.22.
    """
    per_colour = math.ceil(components / 3)
    axis = np.arange(size) / size
    y, x = np.meshgrid(axis, axis, indexing="ij")
    reach = range(-size // 2 + 1, size // 2)
    pairs = [(u, v) for u in reach for v in reach if v > 0 or (v == 0 and u > 0)]
    pairs.sort(key=lambda pair: (math.hypot(*pair), pair))
    if 2 * len(pairs) + 1 < per_colour:
        raise ValueError(
            f"expected at most {3 * (2 * len(pairs) + 1)} components at {size} pixels; "
            f"got {components}"
        )
    waves = [np.ones_like(x)]
    for u, v in pairs[: per_colour // 2 + 1]:
        phase = 2 * math.pi * (u * x + v * y)
        amplitude = math.sqrt(2) / math.hypot(u, v)
        waves += [amplitude * np.cos(phase), amplitude * np.sin(phase)]
    spatial = np.stack(waves[:per_colour])
    basis = np.einsum("whx,kc->wkchx", spatial, np.array(COLOURS)).reshape(-1, 3, size, size)
    basis = basis[:components]
    return torch.from_numpy(basis * 0.22 / math.sqrt((basis**2).sum(0).mean())).float()
