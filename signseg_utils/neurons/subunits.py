"""Simulated neurons of a known size: each sums so many rectified filters, its subunits.

A subunit looks for one small coloured pattern around one place; a neuron's rate is a soft-rectified
sum of its subunits, some of which drive it and some of which suppress it. So it is known how many
filters a model of the neuron needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn import functional as F

from signseg_utils.generators import scenes
from signseg_utils.neurons._base import Neurons

SIZE, KERNEL = 32, 5  # pixels: side of images and of a subunit's pattern
NUMBERS = (1, 2, 4, 8)  # of subunits, in turn
IMAGES, REPEATS = 200, 8  # of a recording
GAIN = 10.0  # spikes of one presentation at a drive of about 1
NATURAL = 256  # scenes over which each subunit has mean 0 and standard deviation 1


class Cell(NamedTuple):
    """One neuron: patterns [subunit, 3, row, column], windows and signs of its subunits."""

    patterns: Tensor
    windows: Tensor  # [subunit, row, column], sum 1
    signs: Tensor  # [subunit], 1 or -1
    mean: Tensor  # [subunit], over natural scenes
    spread: Tensor


class Subunits(Neurons):
    """A population of `Cell`; responses are mean spike counts of one presentation."""

    def __init__(self, labels: Sequence[str], cells: Sequence[Cell]) -> None:
        super().__init__(labels, SIZE)
        self.cells = tuple(cells)

    def raw(self, images: Tensor) -> Tensor:
        rates = []
        for cell in self.cells:
            seen = (_pooled(images.float(), cell.patterns, cell.windows) - cell.mean) / cell.spread
            drive = 1 + (seen * cell.signs).sum(1) / len(cell.signs) ** 0.5
            rates.append(GAIN * F.softplus(drive))
        return torch.stack(rates, 1)

    def numbers(self) -> list[int]:
        """How many subunits each neuron has."""
        return [len(cell.signs) for cell in self.cells]

    def needed(self, share: float = 0.9, seed: int = 0) -> list[int]:
        """The fewest subunits, chosen one after the other, that tell a neuron's drive, [neuron].

        Of subunits that overlap, fewer than there are: linear regression from those that are needed
        has an r2 of ``share`` with the drive of all, over rendered scenes.
        """
        images, found = pictures(NATURAL, seed, 3).float() / 255, []
        for cell in self.cells:
            seen = _pooled(images, cell.patterns, cell.windows).double().numpy()
            seen = (seen - seen.mean(0)) / seen.std(0)
            found.append(_needed(seen, seen @ cell.signs.double().numpy(), share))
        return found

    def _rows(self, rows: Sequence[int]) -> Self:
        return type(self)([str(row) for row in rows], [self.cells[row] for row in rows])


def _needed(parts: np.ndarray[Any, Any], whole: np.ndarray[Any, Any], share: float) -> int:
    """How many of the columns of ``parts`` [image, part] tell ``whole`` [image]."""
    chosen: list[int] = []
    reached = 0.0
    while reached < share:
        r2 = {}
        for part in sorted(set(range(parts.shape[1])) - set(chosen)):
            columns = parts[:, [*chosen, part]]
            fitted = columns @ np.linalg.lstsq(columns, whole)[0]
            r2[part] = 1 - ((whole - fitted) ** 2).sum() / (whole**2).sum()
        best = max(r2, key=r2.__getitem__)
        chosen, reached = [*chosen, best], r2[best]
    return len(chosen)


def _pooled(images: Tensor, patterns: Tensor, windows: Tensor) -> Tensor:
    """Rectified matches [image, subunit], summed over the window of each."""
    maps = F.conv2d(images - 0.5, patterns, padding=KERNEL // 2).relu()
    return (maps * windows).sum((2, 3))


def population(count: int, seed: int = 0) -> Subunits:
    """Neurons drawn at random, with 1, 2, 4, 8, 1 ... subunits (`NUMBERS`).

    Raises
    ------
    ValueError
        If none are asked for.
    """
    if count < 1:
        raise ValueError(f"expected at least one neuron; got {count}")
    rng = np.random.default_rng([seed, 2])
    natural = pictures(NATURAL, seed, 3).float() / 255
    across = np.arange(KERNEL) - KERNEL // 2
    bell = np.exp(-(across[:, None] ** 2 + across**2) / 4)
    places = (np.arange(SIZE) + 0.5) / SIZE
    cells = []
    for neuron in range(count):
        number = NUMBERS[neuron % len(NUMBERS)]
        drawn = rng.normal(size=(number, 3, KERNEL, KERNEL)) * bell
        drawn -= bell * (drawn.sum((1, 2, 3)) / (3 * bell.sum()))[:, None, None, None]
        drawn /= np.sqrt((drawn**2).sum((1, 2, 3), keepdims=True))
        row, column = rng.uniform(0.3, 0.7, size=(2, number, 1))
        wide = rng.uniform(0.1, 0.2, size=(number, 1))
        vertical, horizontal = (
            np.exp(-((places - at) ** 2) / (2 * wide**2)) for at in (row, column)
        )
        window = vertical[:, :, None] * horizontal[:, None]
        window /= window.sum((1, 2), keepdims=True)
        signs = np.where(np.arange(number) % 2, -1.0, 1.0)
        patterns, windows, weights = (
            torch.from_numpy(own).float() for own in (drawn, window, signs)
        )
        seen = _pooled(natural, patterns, windows)
        cells.append(Cell(patterns, windows, weights, seen.mean(0), seen.std(0)))
    return Subunits([f"simulated-{neuron}" for neuron in range(count)], cells)


def pictures(count: int, seed: int, stream: int = 0) -> Tensor:
    """Rendered scenes ``[image, 3, SIZE, SIZE]`` uint8, drawn as those of zoo ``shapes`` are."""
    rng = np.random.default_rng([seed, 4, stream])
    labels = rng.integers(len(scenes.CLASSES), size=count)
    renderer = scenes.Scenes(SIZE)
    codes = renderer.sample(labels, int(rng.integers(2**31)), 0.0)
    pieces = [renderer.render(part)[0] for part in codes.split(128)]
    return torch.cat(pieces).mul(255).round().to(torch.uint8)


def read(neurons: int, seed: int = 0) -> xr.Dataset:
    """Spike counts of the population for `IMAGES` scenes, each shown `REPEATS` times.

    A recording (`signseg_utils.neurons.recordings`) with ``pixels``, ``rate`` [image, neuron] and
    ``subunits`` [neuron].
    """
    cells, shown = population(neurons, seed), pictures(IMAGES, seed, 1)
    rate = cells.responses(shown).double().numpy()
    counts = np.random.default_rng([seed, 5]).poisson(rate[..., None], (*rate.shape, REPEATS))
    words = dict.fromkeys(("area", "animal", "session"), ("neuron", ["simulated"] * neurons))
    return xr.Dataset(
        {
            "response": (("image", "neuron", "repeat"), counts.astype(np.float64)),
            "rate": (("image", "neuron"), rate),
            "subunits": ("neuron", cells.numbers()),
            "pixels": (("image", "channel", "row", "column"), shown.numpy()),
        },
        coords={
            "image": [f"image{number:04d}" for number in range(IMAGES)],
            "neuron": list(cells.labels),
            "path": ("image", [""] * IMAGES),
            **words,
        },
        attrs={"source": f"simulated neurons of subunits, seed {seed}", "licence": "BSD-3-Clause"},
    )
