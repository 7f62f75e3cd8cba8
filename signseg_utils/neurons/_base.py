"""What all neurons that answer to images share: a population behaves like a bank of units."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from signseg_utils.basics.refusals import UnknownName
from signseg_utils.basics.registry import unknown
from signseg_utils.units.readout import Readout


class Neurons(nn.Module, ABC):
    """A population that maps images of any size to one response a neuron.

    It is a backbone whose features are responses. With its `readout`, which passes each of them
    on, the closed loop (``evolution.evolve``) searches images for neurons as it does for units.

    Parameters
    ----------
    labels
        One name for each neuron, all different.
    image_size
        Side in pixels to which images are brought before the neurons see them.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, labels: Sequence[str], image_size: int) -> None:
        super().__init__()
        self.labels = tuple(str(label) for label in labels)
        if not self.labels or len(set(self.labels)) < len(self.labels):
            raise ValueError(
                "expected at least one neuron and a name of its own for each, because results are "
                f"kept by name; got {list(self.labels)}"
            )
        self.image_size = image_size
        self.register_buffer("centre", torch.zeros(len(self.labels)))
        self.register_buffer("spread", torch.ones(len(self.labels)))

    @abstractmethod
    def raw(self, images: Tensor) -> Tensor:
        """Responses [image, neuron] in the neurons' own units to images of their own size."""

    @abstractmethod
    def _rows(self, rows: Sequence[int]) -> Self:
        """A copy that holds the neurons ``rows``; labels, centre and spread are set later."""

    def __len__(self) -> int:
        return len(self.labels)

    def index(self, key: int | str) -> int:
        """Number of a neuron, by its name or number.

        Raises
        ------
        KeyError, IndexError
            If there is no such neuron.
        """
        if isinstance(key, str):
            if key not in self.labels:
                raise UnknownName(unknown("name of a neuron", key, self.labels))
            return self.labels.index(key)
        return range(len(self))[key]

    def pick(self, keys: Sequence[int | str]) -> Self:
        """These neurons, in this order, with their statistics; errors as in `index`."""
        rows = [self.index(key) for key in keys]
        picked = self._rows(rows)
        picked.labels = tuple(self.labels[row] for row in rows)
        picked.centre, picked.spread = self.centre[rows].clone(), self.spread[rows].clone()
        return picked

    def standardised(self, centre: Tensor, spread: Tensor) -> Self:
        """A copy whose responses are (own response - centre) / spread, as z-scores.

        Parameters
        ----------
        centre, spread
            ``[neuron]``: mean and standard deviation over natural images, as ``statistics`` gives.

        Raises
        ------
        ValueError
            For other shapes, NaN, or a spread that is not positive.
        """
        shape = (len(self),)
        for name, values in (("centre", centre), ("spread", spread)):
            if tuple(values.shape) != shape or not torch.isfinite(values).all():
                raise ValueError(
                    f"expected {name} of shape {shape}, finite, one value a neuron; "
                    f"got {tuple(values.shape)}: {values}"
                )
        silent = [self.labels[row] for row in (spread <= 0).nonzero().flatten().tolist()]
        if silent:
            raise ValueError(
                "expected a positive spread, because responses are divided by it; got none for "
                f"{', '.join(silent)}; drop neurons that answer alike to all images, or use more "
                "images"
            )
        other = copy.deepcopy(self)
        other.centre, other.spread = centre.to(self.centre), spread.to(self.spread)
        return other

    @torch.inference_mode()
    def statistics(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [neuron] of own responses to ``images`` [n, 3, h, w]."""
        own = self.raw(self.prepared(images)).double()
        if len(own) < 2:
            raise ValueError(f"expected at least two images for a spread; got {len(own)}")
        return own.mean(0).float(), own.std(0, correction=0).float()

    def prepared(self, images: Tensor) -> Tensor:
        """Images as the neurons see them: floats in 0..1, of ``image_size`` (bilinear).

        Raises
        ------
        ValueError
            For other shapes, or values clearly outside 0..1.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"expected images [n, 3, height, width] in 0..1; got {tuple(images.shape)}; "
                "use image[None] for one"
            )
        if images.dtype == torch.uint8:
            images = images.float() / 255
        if images.numel() and not (images.min() >= -0.01 and images.max() <= 1.01):
            raise ValueError(
                "expected images in 0..1; got values from "
                f"{images.min().item():.3g} to {images.max().item():.3g}; divide by 255 images "
                "that are in 0..255, and look for NaN"
            )
        if images.shape[2:] != (self.image_size, self.image_size):
            images = nn.functional.interpolate(
                images,
                size=(self.image_size,) * 2,
                mode="bilinear",
                align_corners=False,
                antialias=True,
            )
        return images

    def forward(self, images: Tensor) -> Tensor:
        """Responses [image, neuron] to images [image, 3, h, w] in 0..1, standardised if asked."""
        own = self.raw(self.prepared(images))
        return (own - self.centre) / self.spread

    @torch.inference_mode()
    def responses(self, images: Tensor) -> Tensor:
        """As calling it, without gradients: ``[image, 3, h, w] -> [image, neuron]``."""
        answers: Tensor = self(images)
        return answers

    def readout(self) -> Readout:
        """Rows that pass each neuron's response on: what the closed loop maximises."""
        return Readout(torch.eye(len(self)), torch.zeros(len(self)), self.labels)
