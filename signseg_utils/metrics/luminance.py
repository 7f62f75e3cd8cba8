"""Luminance: how bright an image is on the whole, and how much that varies over its pixels."""

from torch import Tensor

from signseg_utils.metrics import Seen


def PLUGIN(seen: Seen) -> dict[str, Tensor]:
    """``luminance``, the mean over pixels, and ``contrast``, the standard deviation."""
    pixels = seen.luminance()
    return {"luminance": pixels.mean((1, 2)), "contrast": pixels.std((1, 2))}
