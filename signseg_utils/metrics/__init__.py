"""Measures of images, one file each, found by name.

A metric is a module of this folder that defines ``PLUGIN``: a function that takes what was `Seen`
and returns its measures, name to values ``[image]``. Each image is measured by itself or beside its
controls, never with the others of its batch. `signseg_utils.analysis.images.measure` looks every
metric up and gives what it says of each image of a sweep, so that a file put here is all that a new
measure takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

LUMINANCE = (0.2126, 0.7152, 0.0722)  # of red, green and blue; ITU-R Rec. BT.709


@dataclass(frozen=True, eq=False)
class Seen:
    """Images of a sweep, and what it takes to measure them.

    Attributes
    ----------
    images
        ``[image, 3, height, width]`` in 0..1.
    controls
        ``[seed, 3, height, width]``: the preferred images of the intact unit, one a seed.
    seeds
        ``[image]``: place among ``controls`` of the one from the same seed. The two searches share
        their start and their noise, so these two images are alike for that reason alone: compare
        an image with the controls of other seeds.
    codes
        ``[image, code]``, of ``images``.
    generator
        That made the images of the codes. One that knows its object has
        ``masks(codes) [image, height, width]`` and ``foreground(codes) [image]``.
    detector
        Of any object: ``objectness(images) [image]``.
    perceptual
        A distance between images: ``pairs(controls, images).values [control, image]``.
    answers
        Logits ``[image, class]`` of networks that took no part in the search, by name.
    labels
        ``[image]``, number of the class whose unit was searched for; -1 where it is none.
    """

    images: Tensor
    controls: Tensor
    seeds: Tensor
    codes: Tensor
    generator: Any
    detector: Any
    perceptual: Any
    answers: Mapping[str, Tensor] = field(default_factory=dict)
    labels: Tensor | None = None

    def luminance(self) -> Tensor:
        """Luminance of each pixel of ``images``: ``[image, height, width]``, 0..1."""
        return torch.einsum("nchw,c->nhw", self.images, torch.tensor(LUMINANCE))
