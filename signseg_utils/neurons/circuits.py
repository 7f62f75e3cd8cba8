"""Compact models to be taken apart: the published ones, and simulated ones with known circuits.

The recording ``v4`` has the published models of both its modelled sessions. For ``simulated`` there
are populations made here, of the same architecture but smaller:

- ``shared``: early layers (filters of layers 1 to 3, and what layer 2 mixes) are one circuit in all
  models but for a little noise and the order of filters; late layers are each model's own, and mix
  with weights mostly of one sign.
- ``unshared``: all is each model's own.
- ``dots``: the models of ``unshared`` and one that detects dots (`dot_detector`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from signseg_utils.basics import draws
from signseg_utils.basics.refusals import UnknownName
from signseg_utils.basics.registry import unknown
from signseg_utils.generators import scenes
from signseg_utils.neurons import causal, compact
from signseg_utils.neurons.compact import CompactNeuron
from signseg_utils.neurons.recordings import RecordingError

POPULATIONS = ("shared", "unshared", "dots")
LAYERS = (1, 2, 3, 4, 5)
MIXING = LAYERS[1:]  # those with depthwise kernels and a mixing matrix

COUNT = 12  # simulated models
FILTERS = (10, 12, 3, 5, 3)
NOISE = 0.15  # of shared weights in one model, beside their size
ONE_SIGN = 0.9  # share of late mixing weights that are positive
BLUR = 0.7  # of simulated kernels, places


def names(recording: str, population: str = "shared") -> tuple[str, ...]:
    """Names of all models.

    Raises
    ------
    KeyError
        If there is no such population.
    signseg_utils.neurons.recordings.RecordingError
        If nobody made models of the recording's neurons.
    """
    if recording == "v4":
        return causal.models(recording)
    if recording != "simulated":
        raise RecordingError(
            f"expected recording v4 or simulated, because models must be there to be taken apart; "
            f"got {recording!r}; nobody published compact models of its neurons"
        )
    if population not in POPULATIONS:
        raise UnknownName(unknown("population of models", population, POPULATIONS))
    own = tuple(f"{population}-{number}" for number in range(COUNT))
    return (DOTS, *own[:-1]) if population == "dots" else own


def model(recording: str, name: str) -> CompactNeuron:
    """One of the models; FileNotFoundError if it is not on this machine."""
    if recording == "simulated":
        return copy.deepcopy(_simulated(name))
    session, _, number = name.partition("-")
    file = compact.folder() / f"compact_model_{session}_neuron{number}.pt"
    return CompactNeuron(compact.read(file))


def session_of(name: str) -> str:
    """The session whose neuron was modelled, or the simulated population."""
    return name.partition("-")[0]


# ---------------------------------------------------------------- other weights


class Level(NamedTuple):
    """Mean and standard deviation ``[filter]`` of what enters each filter's rectifier."""

    mean: Tensor
    spread: Tensor


@torch.inference_mode()
def levels(own: CompactNeuron, images: Tensor) -> list[Level]:
    """`Level` of each layer over images ``[image, 3, 112, 112]`` in 0..1 and places."""
    found, before = [], own.first(images - own.mean)
    for layer in LAYERS:
        flat = before.transpose(0, 1).flatten(1)
        found.append(Level(flat.mean(1), flat.std(1, correction=0)))
        if layer < LAYERS[-1]:
            before = own.pointwise[layer - 1](own.filtered(before.relu(), layer + 1))
    return found


@torch.inference_mode()
def calibrate(own: CompactNeuron, images: Tensor, wanted: Sequence[Level]) -> None:
    """Scale and shift each filter until it has the mean and spread that are wanted, layer by layer.

    A filter that never differs stays as it is, but for its mean.
    """
    maps = images - own.mean
    for layer, want in zip(LAYERS, wanted, strict=True):
        if layer == 1:
            conv, passed = own.first, maps
        else:
            conv, passed = own.mixing(layer), own.filtered(maps, layer)
        flat = conv(passed).transpose(0, 1).flatten(1)
        mean, spread = flat.mean(1), flat.std(1, correction=0)
        scale = torch.where(spread > 1e-9, want.spread / spread.clamp_min(1e-9), 1.0)
        conv.weight.mul_(scale[:, None, None, None])
        bias = _bias(conv)
        bias.copy_((bias - mean) * scale + want.mean)
        maps = conv(passed).relu()


def redrawn(own: CompactNeuron, images: Tensor, seed: int, stream: int) -> CompactNeuron:
    """A copy whose weights, but for the readout's, are drawn anew from a normal distribution.

    Each filter is then brought to the mean and spread that it had over ``images``.
    """
    other = copy.deepcopy(own)
    rng = draws.philox(seed, stream)
    for conv in (other.first, *other.depthwise, *other.pointwise):
        weight = conv.weight
        assert isinstance(weight, Tensor)
        weight.data.copy_(torch.from_numpy(rng.standard_normal(tuple(weight.shape))))
    calibrate(other, images, levels(own, images))
    return other


# ---------------------------------------------------------------- simulated models


@lru_cache(maxsize=1)
def scenery(count: int = 12) -> Tensor:
    """Rendered scenes ``[image, 3, 112, 112]`` that simulated models are brought to scale with."""
    renderer = scenes.Scenes(compact.IMAGE_SIZE)
    labels = 3 * np.arange(count) % len(scenes.CLASSES)
    return renderer.render(renderer.sample(labels, 11, 0.0))[0]


@lru_cache(maxsize=4 * COUNT)
def _simulated(name: str) -> CompactNeuron:
    if name == DOTS:
        return dot_detector()
    population, _, number = name.partition("-")
    if population not in POPULATIONS or not number.isdecimal():
        raise UnknownName(unknown("simulated model", name, names("simulated")))
    return _with_early(int(number), population == "shared")


def _with_early(number: int, shared: bool) -> CompactNeuron:
    """A model whose early layers are those of all models, or its own."""
    rng = draws.philox(5, number)
    common = draws.philox(6) if shared else rng
    first, second = (_smooth(common, count) for count in (3 * FILTERS[0], FILTERS[0]))
    third, mixing = _smooth(common, FILTERS[1]), common.standard_normal((FILTERS[1], FILTERS[0]))
    own = CompactNeuron(_blank(FILTERS))
    one, two = rng.permutation(FILTERS[0]), rng.permutation(FILTERS[1])
    _put(own.first, _noisy(rng, first.reshape(FILTERS[0], 3, 5, 5))[one])
    _put(own.depthwise[0], _noisy(rng, second)[one, None])
    _put(own.pointwise[0], _noisy(rng, mixing)[two][:, one, None, None])
    _put(own.depthwise[1], _noisy(rng, third)[two, None])
    for layer in (3, 4, 5):
        out, into = FILTERS[layer - 1], FILTERS[layer - 2]
        weight = np.abs(rng.standard_normal((out, into)))
        sign = np.where(rng.random((out, into)) < ONE_SIGN, 1, -1)
        if layer > 3:
            _put(own.depthwise[layer - 2], _smooth(rng, into)[:, None])
        lean = own.kernels(layer).sum((1, 2)).sign().numpy()  # signs as filters pass them on
        _put(own.pointwise[layer - 2], (weight * sign * lean)[..., None, None])
    y, x = rng.uniform(8, 20, 2)
    _put_window(own, rng.uniform(0.2, 1, FILTERS[-1]), (y, x), 3.0)
    unit = [Level(torch.zeros(count), torch.ones(count)) for count in FILTERS]
    calibrate(own, scenery(), unit)
    return own


def _smooth(rng: np.random.Generator, count: int) -> np.ndarray:
    """Kernels ``[filter, 5, 5]``: white noise, blurred."""
    wide = rng.standard_normal((count, 11, 11))
    return ndimage.gaussian_filter(wide, (0, BLUR, BLUR))[:, 3:8, 3:8]


def _noisy(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    return values + NOISE * values.std() * rng.standard_normal(values.shape)


def _blank(filters: Sequence[int]) -> dict[str, Tensor]:
    """A state dict without any effect: weights 0, batch norm the identity."""
    state = {name: torch.zeros(shape) for name, shape in compact.layout(filters).items()}
    for name in state:
        if name.endswith(("bn.weight", "running_var")):
            state[name] += 1
    return state


def _put(conv: torch.nn.Module, values: np.ndarray) -> None:
    weight = conv.weight
    assert isinstance(weight, Tensor)
    side = values.shape[-1]
    weight.data.zero_()
    weight.data[..., -side:, -side:] = torch.from_numpy(values).float()


def _bias(conv: torch.nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias.data


def _put_window(
    own: CompactNeuron, weight: np.ndarray, centre: Sequence[float], width: float
) -> None:
    """A readout that pools maps over a round window; centre and width in places of the maps."""
    places = np.arange(compact.SIDE)
    y, x = (np.exp(-((places - middle) ** 2) / (2 * width**2)) for middle in centre)
    window = np.outer(y, x) / np.outer(y, x).sum()
    own.beta.weight.data.copy_(torch.from_numpy(np.kron(weight, window.ravel())[None]).float())
    own.beta.bias.data.zero_()


# ---------------------------------------------------------------- a detector of dots

DOTS = "planted-dots"
EXCITING, INHIBITING = (0, 1, 2, 3), (4, 5)  # filters of its layer 3
RADIUS = 5.0  # of the bright dots that it detects, pixels


def dot_detector() -> CompactNeuron:
    """A model that answers to bright dots of one size.

    Layer 1 finds the four sides of something bright, and brightness. Layer 2 makes four corners of
    them, where nothing is dark. Filters of layer 3 (`EXCITING`) move each corner inwards, so that
    the four of a dot of `RADIUS` meet in one place; those that find brightness around it
    (`INHIBITING`) hold back what is larger. Of two further ones, one leads nowhere, and one makes
    it answer a little to edges. Layers 4 and 5 pass on, and the readout pools over a wide window.
    """
    own = CompactNeuron(_blank((6, 8, 3, 3, 3)))
    step = np.array([-1.0, -1.0, 0.0, 1.0, 1.0]) / 30
    down, across = np.repeat(step[:, None], 5, 1), np.repeat(step[None], 5, 0)
    centre = np.zeros((5, 5))
    centre[2, 2] = 1
    grey = np.stack([down, -down, across, -across, centre / 3, -centre / 3])
    _put(own.first, np.repeat(grey[:, None], 3, 1))  # top, bottom, left, right; bright, dark
    box = np.zeros((5, 5))
    box[1:4, 1:4] = 1 / 9
    _put(own.depthwise[0], np.repeat(box[None, None], 6, 0))
    corners = np.zeros((8, 6))
    for row, sides in enumerate([(0, 2), (0, 3), (1, 2), (1, 3)]):
        corners[row, list(sides)] = 1
    corners[:4, 5] = -3  # of something dark there are none
    corners[[4, 5], 4] = 1
    corners[6, 5] = corners[7, 0] = corners[7, 1] = 1
    _put(own.pointwise[0], corners[..., None, None])
    _bias(own.mixing(2))[:4] = -0.18
    places = np.arange(5) - 2
    y, x = np.meshgrid(places, places, indexing="ij")
    inwards = [np.exp(-((y - dy) ** 2 + (x - dx) ** 2)) for dy in (-2, 2) for dx in (-2, 2)]
    inwards = [kernel / kernel.sum() for kernel in inwards]
    far = [np.where((np.abs(y) == 2) & (x == 2 * side), 0.5, 0) for side in (-1, 1)]
    _put(own.depthwise[1], np.stack([*inwards, *far, centre, centre])[:, None])
    joined = np.zeros((3, 8))
    joined[0] = [1, 1, 1, 1, -0.6, -0.6, 0, 0]
    joined[1, 6], joined[2, 7] = 1, 1
    _put(own.pointwise[1], joined[..., None, None])
    _bias(own.mixing(3))[0] = -0.06
    for layer in (4, 5):
        _put(own.depthwise[layer - 2], np.repeat(centre[None, None], 3, 0))
        _put(own.pointwise[layer - 2], np.eye(3)[..., None, None])
    _put_window(own, np.array([1.0, 0.0, 0.003]), (14, 13), 4.0)
    return own
