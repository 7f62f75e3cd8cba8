"""Compact models of V4 neurons (Cowley, Stan, Pillow & Smith, 10.1101/2023.11.22.568315).

Each neuron is a small network of its own: a full 5x5 convolution, then four pairs of a depthwise
5x5 and a pointwise convolution, each followed by batch norm and ReLU, then a linear readout of all
places. Layers 1 and 2 halve the image. They are rebuilt here from the published state dicts, with
batch norm folded into the convolutions.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from signseg_utils.files import checkpoints, paths
from signseg_utils.files.weights import DamagedWeights, MissingWeights
from signseg_utils.neurons._base import Neurons

IMAGE_SIZE = 112
MEAN = (116.222, 109.270, 100.381)  # of RGB in 0..255, subtracted from images
DEPTH, KERNEL, STRIDES = 5, 5, (1, 2, 2, 1, 1)
SIDE = IMAGE_SIZE // 4  # of the maps that the readout sees
EPSILON = 1e-5  # of batch norm
CHUNK = 2  # images in one pass on a CPU: what fits in its cache

State = Mapping[str, Tensor]


class WrongLayout(DamagedWeights):
    """A state dict is not that of a compact model; the message says which entries differ."""


def layout(filters: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the state dict of a model with so many filters in its five layers."""
    if len(filters) != DEPTH:
        raise WrongLayout(f"expected {DEPTH} numbers of filters, one a layer; got {len(filters)}")
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (own, before) in enumerate(zip(filters, (3, *filters), strict=False)):
        name = f"layers.layer{layer}"
        if layer == 0:
            convolution = f"{name}_conv"
            shapes[f"{convolution}.weight"] = (own, 3, KERNEL, KERNEL)
        else:
            convolution = f"{name}_conv_point"
            shapes[f"{name}_conv_depth.weight"] = (before, 1, KERNEL, KERNEL)
            shapes[f"{convolution}.weight"] = (own, before, 1, 1)
        shapes[f"{convolution}.bias"] = (own,)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}_bn.{part}"] = (own,)
        shapes[f"{name}_bn.num_batches_tracked"] = ()
    shapes["layers.Beta.weight"] = (1, SIDE * SIDE * filters[-1])
    shapes["layers.Beta.bias"] = (1,)
    return shapes


def kernels(filters: Sequence[int]) -> int:
    """Convolutional filters of a model, as the source counts them: kernels of 5x5 pixels.

    A depthwise layer has one for each channel that comes in, so layers 1 and 2 have equally many;
    what the readout weighs is not counted. ``filters``: channels that each layer gives on.
    """
    return int(filters[0] + sum(filters[:-1]))


def parameters(filters: Sequence[int], side: int = SIDE) -> int:
    """Numbers that training sets in a model whose readout sees maps of ``side``."""
    shapes = layout(filters)
    running = ("running_mean", "running_var", "num_batches_tracked")
    learned = {name: shape for name, shape in shapes.items() if not name.endswith(running)}
    learned["layers.Beta.weight"] = (1, side * side * filters[-1])
    return sum(math.prod(shape) for shape in learned.values())


def filters_of(state: State) -> tuple[int, ...]:
    """Filters in each layer of a compact model, after checking its state dict whole.

    Raises
    ------
    WrongLayout
        If an entry is missing, is not expected, or has another shape; the message names it.
    """
    names = ["layers.layer0_conv", *(f"layers.layer{n}_conv_point" for n in range(1, DEPTH))]
    heads = [f"{name}.weight" for name in names]
    absent = [name for name in heads if name not in state]
    wrong: list[str] = [f"{name} is missing" for name in absent]
    if not absent:
        filters = tuple(int(state[name].shape[0]) for name in heads)
        expected = layout(filters)
        wrong += [f"{name} is missing" for name in expected if name not in state]
        wrong += [f"{name} is not expected" for name in state if name not in expected]
        wrong += [
            f"{name} has shape {tuple(state[name].shape)}, not {shape}"
            for name, shape in expected.items()
            if name in state and tuple(state[name].shape) != shape
        ]
    if wrong:
        more = f"; and {len(wrong) - 6} more" if len(wrong) > 6 else ""
        raise WrongLayout(
            "expected the state dict of a compact V4 model, because the network is rebuilt from "
            f"it; {'; '.join(wrong[:6])}{more}; take a file of models_torch/ as published"
        )
    return filters


class CompactNeuron(nn.Module):
    """One neuron: images [n, 3, 112, 112] in 0..1 to responses [n], in arbitrary units.

    Parameters
    ----------
    state
        State dict as published; it is checked (``WrongLayout``) and not kept.
    """

    mean: Tensor

    def __init__(self, state: State) -> None:
        super().__init__()
        self.filters = filters_of(state)
        state = {name: value.double() for name, value in state.items()}
        mean = torch.tensor(MEAN) / 255
        self.register_buffer("mean", mean.view(3, 1, 1), persistent=False)
        self.depthwise = nn.ModuleList()
        self.pointwise = nn.ModuleList()
        for layer in range(DEPTH):
            name = f"layers.layer{layer}"
            norm = {part: state[f"{name}_bn.{part}"] for part in ("weight", "bias")}
            scale = norm["weight"] / (state[f"{name}_bn.running_var"] + EPSILON).sqrt()
            shift = norm["bias"] - scale * state[f"{name}_bn.running_mean"]
            convolution = f"{name}_conv" if layer == 0 else f"{name}_conv_point"
            weight = scale[:, None, None, None] * state[f"{convolution}.weight"]
            bias = scale * state[f"{convolution}.bias"] + shift
            if layer == 0:
                self.first = _convolution(weight * 255, bias, padding=KERNEL // 2)
                continue
            depth = state[f"{name}_conv_depth.weight"]
            stride = STRIDES[layer]
            if stride == 2:  # published: one pixel before, three after; a leading zero in the
                depth = F.pad(depth, (1, 0, 1, 0))  # kernel gives the same with two all round
            self.depthwise.append(
                _convolution(depth, None, stride, padding=KERNEL // 2, groups=len(depth))
            )
            self.pointwise.append(_convolution(weight, bias))
        # published: places first, then filters; here: filters first, as convolutions leave them
        beta = state["layers.Beta.weight"].view(SIDE, SIDE, self.filters[-1])
        self.beta = nn.Linear(beta.numel(), 1)
        self.beta.weight = nn.Parameter(beta.permute(2, 0, 1).reshape(1, -1).float())
        self.beta.bias = nn.Parameter(state["layers.Beta.bias"].float())
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.onwards(self.begun(images), 1)

    def begun(self, images: Tensor) -> Tensor:
        """Maps behind layer 1, ``[image, filter, row, column]``."""
        return F.relu_(self.first(images - self.mean))

    def filtered(self, maps: Tensor, layer: int) -> Tensor:
        """What the depthwise kernels of layer 2 to 5 make of the maps before it."""
        passed: Tensor = self.depthwise[layer - 2](maps)
        return passed

    def mixed(self, filtered: Tensor, layer: int) -> Tensor:
        """Maps behind layer 2 to 5, from `filtered`."""
        return F.relu_(self.pointwise[layer - 2](filtered))

    def onwards(self, maps: Tensor, layer: int) -> Tensor:
        """Responses ``[image]`` from the maps behind a layer."""
        for number in range(layer + 1, DEPTH + 1):
            maps = self.mixed(self.filtered(maps, number), number)
        response: Tensor = self.beta(maps.flatten(1))
        return response[:, 0]

    def mixing(self, layer: int) -> nn.Conv2d:
        """The pointwise convolution that mixes what the kernels of layer 2 to 5 have found."""
        conv = self.pointwise[layer - 2]
        assert isinstance(conv, nn.Conv2d)
        return conv

    def kernels(self, layer: int) -> Tensor:
        """Depthwise kernels of layer 2 to 5, ``[filter, 5, 5]``."""
        weight = self.depthwise[layer - 2].weight
        assert isinstance(weight, Tensor)
        return weight[:, 0, -KERNEL:, -KERNEL:]  # those of a stride of 2 begin with zeros


def _convolution(
    weight: Tensor, bias: Tensor | None, stride: int = 1, padding: int = 0, groups: int = 1
) -> nn.Conv2d:
    out, per_group, side, _ = weight.shape
    layer = nn.Conv2d(
        per_group * groups, out, side, stride, padding, groups=groups, bias=bias is not None
    )
    layer.weight = nn.Parameter(weight.float())
    if bias is not None:
        layer.bias = nn.Parameter(bias.float())
    return layer


class CompactNeurons(Neurons):
    """Several compact models as one population; see `Neurons` for what it answers.

    Parameters
    ----------
    states
        Name of each neuron to its state dict.
    chunk
        Images in one pass.
    """

    def __init__(self, states: Mapping[str, State], chunk: int = CHUNK) -> None:
        super().__init__(tuple(states), IMAGE_SIZE)
        self.chunk = _checked(chunk)
        models = []
        for label, state in states.items():
            try:
                models.append(CompactNeuron(state))
            except WrongLayout as error:
                raise WrongLayout(f"neuron {label}: {error}") from error
        self.models = nn.ModuleList(models)

    @classmethod
    def from_files(cls, files: Iterable[Path], chunk: int = CHUNK) -> Self:
        """Read state dicts (``.pt``, tensors only); neurons are named by `label_of`.

        Raises
        ------
        FileNotFoundError, WrongLayout
            If a file is missing, or is no compact model.
        """
        return cls({label_of(file): read(file) for file in map(Path, files)}, chunk)

    def raw(self, images: Tensor) -> Tensor:
        parts = [
            torch.stack([model(part) for model in self.models], 1)
            for part in images.split(self.chunk)
        ]
        return torch.cat(parts) if parts else images.new_empty((0, len(self)))

    def _rows(self, rows: Sequence[int]) -> Self:
        other = type(self).__new__(type(self))
        Neurons.__init__(other, [str(row) for row in range(len(rows))], self.image_size)
        other.chunk = self.chunk
        other.models = nn.ModuleList(self.models[row] for row in rows)
        return other


def _checked(chunk: int) -> int:
    if chunk < 1:
        raise ValueError(f"expected a chunk of at least one image; got {chunk}")
    return chunk


def read(file: Path) -> dict[str, Tensor]:
    """State dict of one compact model; only tensors are read, no code is run.

    Raises
    ------
    FileNotFoundError
        If it is missing; the message says where the models are published.
    signseg_utils.files.weights.DamagedWeights
        If the file is damaged or holds something else.
    """
    if not Path(file).exists():
        raise MissingWeights(
            f"expected a compact model at {file}; it is not there; the models are published at "
            "github.com/cowleygroup/V4_compact_models; set SIGNSEG_DATASETS to the folder that "
            "holds v4/compact/models_torch"
        )
    found = checkpoints.read(Path(file))
    try:
        return checkpoints.state_dict(found, source=str(file))
    except DamagedWeights as error:
        raise WrongLayout(str(error)) from error


def label_of(file: Path) -> str:
    """``compact_model_190923_neuron7.pt`` -> ``190923-7``; other names as they are."""
    match = re.fullmatch(r"compact_model_(\w+)_neuron(\d+)", Path(file).stem)
    return f"{match[1]}-{match[2]}" if match else Path(file).stem


def folder() -> Path:
    """Where the published models lie in the dataset folder."""
    return paths.dataset_folder() / "v4" / "compact" / "models_torch"


def session(name: str, chunk: int = CHUNK) -> CompactNeurons:
    """All compact models of a recording session, in the order of the recording's neurons.

    Raises
    ------
    FileNotFoundError
        If there are none in the dataset folder.
    """
    files = list(folder().glob(f"compact_model_{name}_neuron*.pt"))
    if not files:
        read(folder() / f"compact_model_{name}_neuron0.pt")
    return CompactNeurons.from_files(sorted(files, key=lambda f: int(f.stem.split("neuron")[1])))
