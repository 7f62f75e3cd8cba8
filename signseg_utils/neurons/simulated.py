"""Simulated neurons: what drives and what suppresses them is known, and they answer to any image.

A neuron looks for one coloured shape in its receptive field (rendered as in
``generators.scenes``), may be suppressed by another shape there, and by contrast in the surround.
Its rate is a soft-rectified sum of these; spike counts are Poisson. What an analysis finds can so
be compared with what is true.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn
from torch.nn import functional as F

from signseg_utils.basics.registry import unknown
from signseg_utils.generators.scenes import CLASSES, HUES, Scenes
from signseg_utils.neurons._base import Neurons

WINDOW = 0.8  # radius of the sought shape's window, in radii of the receptive field
SURROUND = 2.0  # outer radius of the suppressive surround, in radii of the receptive field
FAINT = 0.06  # contrast (s.d. of pixels) at which a match is about half as strong
SOFT = 0.05  # drive over which the rectification bends
FULL = 0.2  # contrast of the surround that suppresses by about three quarters


@dataclass(frozen=True)
class Cell:
    """What one simulated neuron is.

    Attributes
    ----------
    x, y, radius : float
        Receptive field: centre and radius as shares of the image's side; it lies in the image.
    excitatory : str
        Class of ``generators.scenes.CLASSES`` that drives the neuron, such as "red star".
    inhibitory : str
        Class that suppresses it at the same place; empty: none.
    inhibition : float
        Drive that a perfect match of the inhibitory class takes away; a perfect match of the
        excitatory one gives 1.
    background : float
        Drive that full contrast in the surround takes away; 0: indifferent to its surround.
    gain : float
        Spikes in one presentation at a drive of 1.
    baseline : float
        Drive without any match.
    """

    x: float
    y: float
    radius: float
    excitatory: str
    inhibitory: str = ""
    inhibition: float = 0.7
    background: float = 0.0
    gain: float = 30.0
    baseline: float = 0.1

    def __post_init__(self) -> None:
        for name in filter(None, (self.excitatory, self.inhibitory)):
            if name not in CLASSES:
                raise ValueError(unknown("class of rendered shapes", name, CLASSES))
        reach = (self.x - self.radius, self.y - self.radius)
        far = (self.x + self.radius, self.y + self.radius)
        if not (self.radius > 0 and min(reach) >= 0 and max(far) <= 1):
            raise ValueError(
                "expected a receptive field inside the image (shares of its side, 0..1), because "
                f"all of it must be seen; got centre ({self.x}, {self.y}), radius {self.radius}"
            )
        if self.gain <= 0 or min(self.inhibition, self.background, self.baseline) < 0:
            raise ValueError(f"expected a positive gain, and no other strength below 0; got {self}")


class Simulated(Neurons):
    """A population of `Cell`; responses are mean spike counts of one presentation.

    Parameters
    ----------
    cells
        Name of each neuron to what it is.
    image_size
        Side in pixels to which images are brought.
    """

    def __init__(self, cells: Mapping[str, Cell], image_size: int = 48) -> None:
        super().__init__(tuple(cells), image_size)
        self.cells = tuple(cells.values())
        self.eyes = nn.ModuleList(_Eye(cell, image_size) for cell in self.cells)

    def raw(self, images: Tensor) -> Tensor:
        return torch.stack([eye(images.float()) for eye in self.eyes], 1)

    def receptive_fields(self, size: int | None = None) -> Tensor:
        """Masks [neuron, size, size] bool: outside of it nothing but contrast has an effect."""
        size = self.image_size if size is None else size
        fields = [_distance(cell, size) <= cell.radius * size for cell in self.cells]
        return torch.stack(fields)

    def preferred(self, key: int | str) -> Tensor:
        """Image [3, size, size] that drives a neuron: its shape in its field, before grey."""
        return self.shapes(key, [self.cells[self.index(key)].excitatory])[0]

    def shapes(self, key: int | str, labels: Sequence[str] = CLASSES) -> Tensor:
        """Images [class, 3, size, size] of shapes where a neuron looks, each before grey."""
        eye = self.eyes[self.index(key)]
        assert isinstance(eye, _Eye)
        images = torch.full((len(labels), 3, self.image_size, self.image_size), 0.5)
        images[:, :, *eye.centre] += torch.stack([template(name, eye.side) for name in labels])
        return images.clamp_(0, 1)

    def truth(self) -> xr.Dataset:
        """What is true of each neuron.

        Returns
        -------
        xarray.Dataset
            ``receptive_field`` [neuron, row, column] bool; ``sign`` [neuron, class] int8: 1 for
            the class that drives, -1 for the one that suppresses, else 0;
            ``background_suppression`` and ``gain`` [neuron].
        """
        sign = np.zeros((len(self), len(CLASSES)), np.int8)
        for row, cell in enumerate(self.cells):
            sign[row, CLASSES.index(cell.excitatory)] = 1
            if cell.inhibitory:
                sign[row, CLASSES.index(cell.inhibitory)] = -1
        return xr.Dataset(
            {
                "receptive_field": (("neuron", "row", "column"), self.receptive_fields().numpy()),
                "sign": (("neuron", "class"), sign),
                "background_suppression": ("neuron", [cell.background for cell in self.cells]),
                "gain": ("neuron", [cell.gain for cell in self.cells]),
            },
            coords={"neuron": list(self.labels), "class": list(CLASSES)},
        )

    def _rows(self, rows: Sequence[int]) -> Self:
        return type(self)({str(row): self.cells[row] for row in rows}, self.image_size)


class _Eye(nn.Module):
    """One cell: images [n, 3, size, size] in 0..1 to mean spike counts [n]."""

    templates: Tensor
    window: Tensor
    places: Tensor
    surround: Tensor

    def __init__(self, cell: Cell, size: int) -> None:
        super().__init__()
        self.cell = cell
        radius = cell.radius * size
        half = int(WINDOW * radius)
        if half < 2:
            raise ValueError(
                f"expected a receptive field of at least {3 / WINDOW:.0f} pixels in radius, "
                f"because shapes must be told apart in it; got {radius:.1f}; use larger images"
            )
        slack = int(radius - half - 0.5)
        row, column = round(cell.y * size - 0.5), round(cell.x * size - 0.5)
        reach = half + slack
        first_row, first_column = max(0, row - reach), max(0, column - reach)
        self.crop = (
            slice(first_row, min(size, row + reach + 1)),
            slice(first_column, min(size, column + reach + 1)),
        )
        self.side = 2 * half + 1
        self.centre = (
            slice(row - half, row + half + 1),
            slice(column - half, column + half + 1),
        )
        offsets = torch.arange(-half, half + 1).float()
        inside = offsets[:, None] ** 2 + offsets**2 <= (half + 0.5) ** 2
        names = [name for name in (cell.excitatory, cell.inhibitory) if name]
        templates = torch.stack([template(name, self.side) * inside for name in names])
        templates = templates - inside * (templates.sum((2, 3)) / inside.sum())[:, :, None, None]
        self.register_buffer("templates", F.normalize(templates.flatten(1)).view_as(templates))
        self.register_buffer("window", inside.float()[None, None])
        # centres of the window that keep it within the receptive field
        rows = torch.arange(first_row + half, self.crop[0].stop - half)
        columns = torch.arange(first_column + half, self.crop[1].stop - half)
        away = (rows[:, None] - row) ** 2 + (columns - column) ** 2
        self.register_buffer("places", away <= slack**2)
        distance = _distance(cell, size)
        around = (distance > radius) & (distance <= SURROUND * radius)
        self.register_buffer("surround", around.float())

    def forward(self, images: Tensor) -> Tensor:
        match = self.matches(images)
        drive = self.cell.baseline + match[:, 0]
        if self.cell.inhibitory:
            drive = drive - self.cell.inhibition * match[:, 1]
        if self.cell.background:
            drive = drive - self.cell.background * (self.contrast(images) / FULL).tanh()
        return self.cell.gain * SOFT * F.softplus(drive / SOFT)

    def matches(self, images: Tensor) -> Tensor:
        """Squared normalised correlation [n, template] at the best place of the field, 0..1."""
        part = images[:, :, *self.crop]
        product = F.conv2d(part, self.templates)
        pixels = self.window.sum()
        window = self.window.expand(3, 1, -1, -1)
        total = F.conv2d(part, window, groups=3)
        square = F.conv2d(part**2, window, groups=3)
        energy = (square - total**2 / pixels).clamp(min=0).sum(1, keepdim=True)
        match = product.clamp(min=0) / (energy + 3 * pixels * FAINT**2).sqrt()
        return match.masked_fill(~self.places, 0).amax((2, 3)) ** 2

    def contrast(self, images: Tensor) -> Tensor:
        """Standard deviation [n] of the pixels around the receptive field, mean over colours."""
        share = self.surround / self.surround.sum().clamp(min=1)
        mean = (images * share).sum((2, 3))
        variance = (images**2 * share).sum((2, 3)) - mean**2
        return variance.clamp(min=0).mean(1).sqrt()


def _distance(cell: Cell, size: int) -> Tensor:
    """Distance [size, size] in pixels of each pixel's centre from that of the field."""
    centres = torch.arange(size) + 0.5
    return torch.hypot(centres[:, None] - cell.y * size, centres[None] - cell.x * size)


def template(label: str, side: int) -> Tensor:
    """A coloured shape [3, side, side] that fills the window, less the grey it stands on."""
    code = preferred_code(label)
    renderer = Scenes(96)
    images, opacity = renderer.render(code[None])
    radius = float(renderer.describe(code[None])["radius"])
    edge = round(48 - 1.12 * radius)
    shape = ((images - 0.5) * opacity[:, None])[:, :, edge : 96 - edge, edge : 96 - edge]
    resized = F.interpolate(
        shape, size=(side, side), mode="bilinear", align_corners=False, antialias=True
    )
    return resized[0]


def preferred_code(label: str) -> Tensor:
    """Code [56] of ``Scenes`` for a large, plain object of a class in the centre, before grey."""
    if label not in CLASSES:
        raise ValueError(unknown("class of rendered shapes", label, CLASSES))
    shape, hue = divmod(CLASSES.index(label), len(HUES))
    slices = Scenes().slices
    code = torch.zeros(Scenes.code_size)
    for name, choice in {"shape": shape, "hue": hue, "texture": 0, "background": 0}.items():
        code[slices[name].start + choice] = 3.0
    code[slices["presence"]] = code[slices["size"]] = 3.0
    code[slices["saturation"]] = -3.0
    return code


def population(count: int, seed: int, image_size: int = 48) -> Simulated:
    """Neurons drawn at random; of every four, one is suppressed by a shape, one by its surround,
    one by both and one by neither.
    """
    if count < 1:
        raise ValueError(f"expected at least one neuron; got {count}")
    rng = np.random.default_rng(seed)
    cells = {}
    for number in range(count):
        radius = rng.uniform(0.24, 0.29)
        x, y = rng.uniform(radius, 1 - radius, size=2)
        excitatory, inhibitory = rng.choice(len(CLASSES), size=2, replace=False)
        cells[f"simulated-{number}"] = Cell(
            x=float(x),
            y=float(y),
            radius=float(radius),
            excitatory=CLASSES[excitatory],
            inhibitory=CLASSES[inhibitory] if number % 4 in (0, 2) else "",
            background=0.3 if number % 4 in (1, 2) else 0.0,
            gain=float(rng.uniform(20, 40)),
        )
    return Simulated(cells, image_size)


def record(
    neurons: Simulated,
    images: Tensor,
    repeats: int = 10,
    seed: int = 0,
    names: Sequence[str] | None = None,
) -> xr.Dataset:
    """Show images to simulated neurons and count spikes.

    Parameters
    ----------
    images
        ``[image, 3, height, width]``, uint8 or floats in 0..1.
    repeats
        Presentations of each image.
    seed
        Of the Poisson noise.
    names
        Of the images; default: their numbers.

    Returns
    -------
    xarray.Dataset
        A recording (``response`` [image, neuron, repeat]; coordinates ``image``, ``neuron``,
        ``path``, ``area``, ``animal``, ``session``), with ``rate`` [image, neuron], the mean that
        the noise scatters around, and the variables of `Simulated.truth`.
    """
    if repeats < 1:
        raise ValueError(f"expected at least one presentation of each image; got {repeats}")
    labels = [f"image{number:04d}" for number in range(len(images))]
    labels = labels if names is None else [str(name) for name in names]
    if len(set(labels)) != len(images):
        raise ValueError(
            f"expected {len(images)} different names, one an image; got {len(set(labels))}"
        )
    with torch.inference_mode():
        rate = neurons.raw(neurons.prepared(images)).double().numpy()
    drawn = np.random.default_rng(seed).poisson(rate[:, :, None], (*rate.shape, repeats))
    words = dict.fromkeys(("area", "animal", "session"), ("neuron", ["simulated"] * len(neurons)))
    found = xr.Dataset(
        {
            "response": (("image", "neuron", "repeat"), drawn.astype(np.float64)),
            "rate": (("image", "neuron"), rate),
        },
        coords={
            "image": labels,
            "neuron": list(neurons.labels),
            "path": ("image", [""] * len(labels)),
            **words,
        },
        attrs={"source": f"simulated neurons, noise seed {seed}", "licence": "BSD-3-Clause"},
    )
    return found.merge(neurons.truth())
