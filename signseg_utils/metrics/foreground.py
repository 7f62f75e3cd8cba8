"""Foreground: what of an image lies inside the mask of its object.

Masks come from a generator that knows where it drew the object, or from a dataset. Masks and
images: ``[n, height, width]`` and ``[n, 3, height, width]``, values 0..1.
"""

from __future__ import annotations

import torch
from torch import Tensor


def pixel_share(masks: Tensor) -> Tensor:
    """Share of the image that the object covers: ``[n]``."""
    _check(masks)
    return masks.float().mean((1, 2))


def contrast_share(images: Tensor, masks: Tensor) -> Tensor:
    """Share of an image's contrast energy inside the mask: ``[n]``.

    Contrast energy is the squared deviation of a pixel from the image's mean colour. NaN for an
    image of one colour. If contrast lay evenly, this would be `pixel_share`.
    """
    _check(masks, images)
    deviation = images.double() - images.double().mean((2, 3), keepdim=True)
    energy = deviation.square().sum(1)
    return ((energy * masks).sum((1, 2)) / energy.sum((1, 2))).to(images.dtype)


def change_inside_and_outside(
    control: Tensor, changed: Tensor, masks: Tensor
) -> tuple[Tensor, Tensor]:
    """Root mean square change of pixels inside and outside the control's mask: two ``[n]``.

    NaN where the mask is empty, or covers everything.
    """
    _check(masks, control)
    _check(masks, changed)
    square = (control.double() - changed.double()).square().mean(1)
    inside = (square * masks).sum((1, 2)) / masks.double().sum((1, 2))
    outside = (square * (1 - masks)).sum((1, 2)) / (1 - masks.double()).sum((1, 2))
    return inside.sqrt().to(control.dtype), outside.sqrt().to(control.dtype)


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of two sets of masks: ``[n]``; 1 where both are empty."""
    _check(a)
    _check(b)
    if a.shape != b.shape:
        raise ValueError(f"expected masks of one shape; got {tuple(a.shape)} and {tuple(b.shape)}")
    both = torch.minimum(a, b).sum((1, 2))
    either = torch.maximum(a, b).sum((1, 2))
    return torch.where(either > 0, both / either.clamp_min(1e-12), torch.ones_like(both))


def _check(masks: Tensor, images: Tensor | None = None) -> None:
    if masks.ndim != 3:
        raise ValueError(f"expected masks [n, height, width]; got {tuple(masks.shape)}")
    if masks.numel() and (masks.min() < 0 or masks.max() > 1):
        raise ValueError(
            f"expected masks in 0..1; got {masks.min().item()} to {masks.max().item()}"
        )
    if images is not None:
        wanted = (masks.shape[0], *masks.shape[1:])
        if images.ndim != 4 or (images.shape[0], *images.shape[2:]) != wanted:
            raise ValueError(
                f"expected images [n, 3, height, width] that fit masks {tuple(masks.shape)}; "
                f"got {tuple(images.shape)}"
            )


PLUGIN = pixel_share
