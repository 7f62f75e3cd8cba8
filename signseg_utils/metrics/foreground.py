"""Foreground: how much of the image the object takes, and how bright what lies behind it is.

Where the object lies, the generator's code tells; of images whose generator cannot tell it, the
border stands for what lies behind, since preferred images have their object in the middle.
"""

from typing import Any

import torch
from torch import Tensor

from signseg_utils.metrics import Seen


def background(generator: Any, codes: Tensor, height: int, width: int) -> Tensor:
    """Weight of each pixel in the background: ``[image, height, width]``, sums of 1.

    What the generator's masks of ``codes [image, code]`` leave, else the outermost eighth of the
    image on each side.
    """
    if hasattr(generator, "masks"):
        outside: Tensor = 1 - generator.masks(codes)
    else:
        outside = torch.ones(len(codes), height, width)
        outside[:, height // 8 : height - height // 8, width // 8 : width - width // 8] = 0
    return outside / outside.sum((1, 2), keepdim=True).clamp_min(1e-6)


def PLUGIN(seen: Seen) -> dict[str, Tensor]:
    """``foreground``, ``background`` and ``whiteness``.

    The object's share of the image, NaN where the generator cannot tell it; the mean luminance of
    the background; and its mean of the smallest of the three colour values (1 is white, and nothing
    else is).
    """
    if hasattr(seen.generator, "foreground"):
        share = seen.generator.foreground(seen.codes)
    else:
        share = torch.full((len(seen.codes),), torch.nan)
    behind = background(seen.generator, seen.codes, *seen.images.shape[2:])
    return {
        "foreground": share,
        "background": (seen.luminance() * behind).sum((1, 2)),
        "whiteness": (seen.images.amin(1) * behind).sum((1, 2)),
    }
