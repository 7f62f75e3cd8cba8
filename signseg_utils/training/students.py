"""Small models of neurons that learn from a large one, and lose filters until it shows.

Each student is a network of five layers as the compact models of V4 neurons have them
(`signseg_utils.neurons.compact`), smaller in all: images of 32 pixels, few channels, and the image
is halved by the first two layers. Students of several neurons learn side by side, each by itself.

Source: Cowley et al., doi:10.1101/2023.11.22.568315.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from signseg_utils.basics import draws
from signseg_utils.neurons.compact import DEPTH, KERNEL
from signseg_utils.training import loop

SIZE = 32  # pixels of an image's side
STRIDES = (2, 2, 1, 1, 1)
SIDE = SIZE // 4  # of the maps that the readout sees
SHRINK = 0.7  # of the channels of a layer, so many are left after one try
CHUNK = 256  # images asked at once


class Lessons(NamedTuple):
    """Images [image, 3, SIZE, SIZE] uint8, and what the teacher answers [image, neuron]."""

    images: Tensor
    answers: Tensor


@dataclass(frozen=True)
class Course:
    """How long and how fast students learn: at first, and after each try to prune."""

    epochs: int = 5
    retrained: int = 40  # steps
    batch: int = 32
    learning_rate: float = 0.01
    seed: int = 0


class Students(nn.Module):
    """One student a neuron: images [n, 3, SIZE, SIZE] in 0..1 to responses [n, neuron].

    Parameters
    ----------
    neurons
        How many.
    channels
        Of each layer, before any is pruned.

    Attributes
    ----------
    kept
        Which channels are left, [neuron, layer, channel], 1 or 0.
    """

    kept: Tensor

    def __init__(self, neurons: int, channels: int) -> None:
        super().__init__()
        self.neurons, self.channels = neurons, channels
        every = neurons * channels
        self.first = nn.Conv2d(3, every, KERNEL, STRIDES[0], KERNEL // 2, bias=False)
        self.depthwise = nn.ModuleList(
            nn.Conv2d(every, every, KERNEL, stride, KERNEL // 2, groups=every, bias=False)
            for stride in STRIDES[1:]
        )
        self.pointwise = nn.ModuleList(
            nn.Conv2d(every, every, 1, groups=neurons, bias=False) for _ in STRIDES[1:]
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(every) for _ in STRIDES)
        self.beta = nn.Parameter(torch.zeros(neurons, channels, SIDE, SIDE))
        self.bias = nn.Parameter(torch.zeros(neurons))
        self.register_buffer("kept", torch.ones(neurons, DEPTH, channels))

    def forward(self, images: Tensor) -> Tensor:
        own = self.layers(images)[-1].unflatten(1, (self.neurons, self.channels))
        return torch.einsum("nkcij,kcij->nk", own, self.beta) + self.bias

    def layers(self, images: Tensor) -> list[Tensor]:
        """Rectified maps [n, neuron * channel, row, column] of each layer."""
        before = self.first(images - 0.5)
        found: list[Tensor] = []
        for layer, norm in enumerate(self.norms):
            if layer:
                before = self.pointwise[layer - 1](self.depthwise[layer - 1](found[-1]))
            mask = self.kept[:, layer].reshape(-1, 1, 1)
            found.append(F.relu(norm(before)) * mask)
        return found

    @property
    def widths(self) -> Tensor:
        """Channels left, [layer, neuron] int64."""
        return self.kept.sum(2).T.long()

    @torch.no_grad()
    def asked(self, images: Tensor) -> Tensor:
        """Responses [image, neuron] to images of pixels."""
        self.eval()
        return torch.cat([self(_seen(part)) for part in images.split(CHUNK)])

    @torch.no_grad()
    def worth(self, layer: int, images: Tensor) -> Tensor:
        """How much each channel of a layer counts, [neuron, channel]: variance x squared weights.

        The weights are those by which what comes after reads it, batch norm folded in.
        """
        self.eval()
        variance = self.layers(_seen(images))[layer].transpose(0, 1).flatten(1).var(1)
        shape = (self.neurons, self.channels)
        if layer == DEPTH - 1:
            return variance.view(shape) * self.beta.square().sum((2, 3))
        norm, mix, look = self.norms[layer + 1], self.pointwise[layer], self.depthwise[layer]
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None
        assert isinstance(mix, nn.Conv2d) and isinstance(look, nn.Conv2d)
        scale = (norm.weight.square() / (norm.running_var + norm.eps)).view(shape)
        scale = scale * self.kept[:, layer + 1]
        mixed = mix.weight.view(*shape, self.channels).square()
        reading = torch.einsum("no,noc->nc", scale, mixed)
        kernels = look.weight.square().sum((1, 2, 3)).view(shape)
        return variance.view(shape) * kernels * reading

    @torch.no_grad()
    def narrow(self, layer: int, width: int, images: Tensor) -> None:
        """Leave the ``width`` channels of a layer that count most."""
        worth = self.worth(layer, images).masked_fill(self.kept[:, layer] == 0, -1.0)
        best = worth.argsort(dim=1, descending=True, stable=True)[:, :width]
        mask = torch.zeros(self.neurons, self.channels).scatter(1, best, 1.0)
        self.kept[:, layer] *= mask

    @torch.no_grad()
    def take(self, other: Students, which: Tensor) -> None:
        """Become what ``other`` is for some neurons, ``which`` [neuron] bool."""
        theirs = other.state_dict()
        for name, own in self.state_dict().items():
            if own.ndim:
                rows = which.repeat_interleave(len(own) // self.neurons)
                own[rows] = theirs[name][rows]

    @torch.no_grad()
    def packed(self) -> Tensor:
        """All numbers as one row, float16, 0 where a channel was pruned; see `unpacked`."""
        dead = {f"kept.{layer}": self.kept[:, layer].reshape(-1) for layer in range(DEPTH)}
        pieces = []
        for name, own in self._stored():
            place = name.split(".")[1] if "." in name else ""
            if name.startswith("first"):
                own = own * dead["kept.0"].view(-1, 1, 1, 1)
            elif name.startswith("depthwise"):
                own = own * dead[f"kept.{place}"].view(-1, 1, 1, 1)
            elif name.startswith("pointwise"):
                own = own * dead[f"kept.{int(place) + 1}"].view(-1, 1, 1, 1)
            elif name.startswith("norms"):
                own = own * dead[f"kept.{place}"]
            elif name == "beta":
                own = own * self.kept[:, -1, :, None, None]
            pieces.append(own.flatten())
        return torch.cat(pieces).half()

    @classmethod
    def unpacked(cls, row: Tensor, neurons: int, channels: int) -> Students:
        """Students of numbers that `packed` gave.

        Raises
        ------
        ValueError
            If they are of other numbers of neurons or channels.
        """
        made = draws.made(lambda: cls(neurons, channels), 0)
        sizes = [own.numel() for _, own in made._stored()]
        if len(row) != sum(sizes):
            raise ValueError(
                f"expected {sum(sizes)} numbers of {neurons} students of {channels} channels; got "
                f"{len(row)}; give the numbers that they were stored with"
            )
        for (_, own), part in zip(made._stored(), row.float().split(sizes), strict=True):
            own.copy_(part.view_as(own))
        return made.eval()

    def _stored(self) -> list[tuple[str, Tensor]]:
        return [(name, own) for name, own in self.state_dict().items() if own.ndim]


def _seen(images: Tensor) -> Tensor:
    return (images.float() / 255).to(memory_format=torch.channels_last)


def new(neurons: int, channels: int, seed: int) -> Students:
    """Students that have learnt nothing."""
    return draws.made(lambda: Students(neurons, channels), seed)


def small(widths: Tensor, channels: int, seed: int) -> Students:
    """Students that have learnt nothing, with so many channels ``widths`` [layer, neuron]."""
    made = new(widths.shape[1], channels, seed)
    made.kept.copy_(torch.arange(channels) < widths.T[:, :, None])
    return made


def agreement(students: Students, lessons: Lessons) -> Tensor:
    """Squared correlation [neuron] of students with their teacher; 0 where one is constant."""
    own = students.asked(lessons.images).double()
    own, true = own - own.mean(0), lessons.answers.double() - lessons.answers.double().mean(0)
    scale = own.square().sum(0) * true.square().sum(0)
    found = (own * true).sum(0).square() / scale.clamp_min(1e-12)
    return torch.where(scale > 1e-12, found, 0.0)


def distil(
    students: Students, lessons: Lessons, course: Course, steps: int | None = None, shift: int = 0
) -> None:
    """Let students learn their teacher's answers, by squared error.

    Parameters
    ----------
    steps
        How many; default: the course's epochs over all images.
    shift
        Image to begin with, where there are fewer steps than images.

    Raises
    ------
    ValueError
        If there are too few images for one step.
    """
    if len(lessons.images) < course.batch:
        raise ValueError(
            f"expected at least {course.batch} images to learn from, those of one step; got "
            f"{len(lessons.images)}; give more"
        )
    count = len(lessons.images) if steps is None else steps * course.batch
    recipe = loop.Recipe(
        epochs=course.epochs if steps is None else 1,
        batch=course.batch,
        learning_rate=course.learning_rate,
        weight_decay=0.0,
        seed=course.seed + shift,
        optimizer="adamw",
    )

    def objective(chosen: Tensor, epoch: int, generator: draws.Twister) -> Tensor:
        rows = (chosen + shift) % len(lessons.images)
        found = students(_seen(lessons.images[rows]))
        return (found - lessons.answers[rows]).square().mean(0).sum()

    with tempfile.TemporaryDirectory() as folder:
        loop.run(students, objective, count, recipe, Path(folder) / "students.safetensors", {})


def ladder(channels: int, floor: int) -> list[int]:
    """Channels to try, one after the other: 16 -> 11, 7, 4, 3 with a floor of 3."""
    found = [channels]
    while found[-1] > floor:
        found.append(max(floor, int(found[-1] * SHRINK)))
    return found[1:]


def prune(
    students: Students,
    lessons: Lessons,
    held: Lessons,
    course: Course,
    order: Sequence[int],
    floor: int,
    keep: float,
) -> Students:
    """Students without the channels that they can do without.

    Layer by layer in the given order, the channels that count least are taken out in steps of
    `SHRINK`, and the student learns on for a while; it stays so while its agreement with the
    teacher for images ``held`` back is ``keep`` times what it was before any pruning.

    Parameters
    ----------
    order
        Layers, counted from 0.
    floor
        Channels that each layer keeps at least.
    """
    now = copy.deepcopy(students)
    least = keep * agreement(now, held)
    few, shift = lessons.images[:CHUNK], 0
    for layer in order:
        alive = torch.ones(now.neurons, dtype=torch.bool)
        for width in ladder(now.channels, floor):
            tried = copy.deepcopy(now)
            tried.narrow(layer, width, few)
            shift += course.retrained * course.batch
            distil(tried, lessons, course, course.retrained, shift)
            alive &= agreement(tried, held) >= least
            now.take(tried, alive)
            if not alive.any():
                break
    return now
