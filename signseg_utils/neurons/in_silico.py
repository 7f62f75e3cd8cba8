"""The recording ``simulated``: simulated neurons watch rendered scenes, so it needs no dataset."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import xarray as xr

from signseg_utils.generators import scenes
from signseg_utils.neurons import simulated

IMAGES, NEURONS, REPEATS, SIZE = 640, 24, 8, 48


def read(images: int = IMAGES, neurons: int = NEURONS, seed: int = 0) -> xr.Dataset:
    """Spike counts of simulated neurons for rendered scenes, with the images' pixels.

    The scenes are drawn as those of zoo ``shapes`` are: 36 classes, 15 % without an object.

    Parameters
    ----------
    images, neurons
        How many; each image is shown `REPEATS` times.
    seed
        Of scenes, neurons and spikes.
    """
    return _read(images, neurons, seed).copy(deep=True)


def population(neurons: int = NEURONS, seed: int = 0) -> simulated.Simulated:
    """The neurons that `read` records, which answer to any image."""
    return simulated.population(neurons, seed, SIZE)


def truth(neurons: int = NEURONS, seed: int = 0) -> xr.Dataset:
    """What is true of the neurons of `read` (`signseg_utils.neurons.simulated.Simulated.truth`)."""
    return population(neurons, seed).truth()


@lru_cache(maxsize=1)
def _read(images: int, neurons: int, seed: int) -> xr.Dataset:
    rng = np.random.default_rng([seed, 1])
    labels = rng.integers(len(scenes.CLASSES), size=images)
    labels = np.where(rng.random(images) < 0.15, -1, labels)
    renderer = scenes.Scenes(SIZE)
    codes = renderer.sample(labels, int(rng.integers(2**31)), 0.0)
    pieces = [renderer.render(part)[0] for part in codes.split(64)]
    pixels = torch.cat(pieces).mul(255).round().to(torch.uint8)
    found = simulated.record(population(neurons, seed), pixels, REPEATS, seed)
    found["pixels"] = (("image", "channel", "row", "column"), pixels.numpy())
    return found
