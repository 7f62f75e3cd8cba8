"""Images on their way to a neuron: luminance and contrast, held or as they are, and files.

Neurons follow luminance and contrast. Where the question is what an image shows, each image is
given the same mean luminance and the same RMS contrast before it is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from signseg_utils.basics.progress import each

REC_709 = (0.2126, 0.7152, 0.0722)
ROUNDS = 20  # clipping to 0..1 moves both measures, so they are set again
STEEPEST = 20.0  # contrast of a uniform image cannot be raised; nor its noise to a picture


def luminance_and_contrast(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean luminance, and RMS contrast (its standard deviation over pixels), of each image.

    Parameters
    ----------
    images
        ``[..., 3, height, width]`` in 0..1. Luminance is Rec. 709's sum of the values as they are.

    Returns
    -------
    Tensor, Tensor
        ``[...]`` each, in 0..1.
    """
    weight = torch.tensor(REC_709, dtype=images.dtype, device=images.device)
    light = torch.einsum("...chw,c->...hw", images, weight).flatten(-2)
    return light.mean(-1), light.std(-1, correction=0)


def held(images: Tensor, luminance: float, contrast: float) -> Tensor:
    """Images that all have this mean luminance and this RMS contrast.

    All colours of all pixels are scaled about the mean luminance and moved together, which keeps
    the picture, then clipped to 0..1, and again until both measures hold. An image without
    structure keeps less contrast than asked: no pixel is scaled more than twenty-fold.

    Parameters
    ----------
    images
        ``[..., 3, height, width]`` in 0..1.
    luminance, contrast
        As `luminance_and_contrast` gives them.

    Raises
    ------
    ValueError
        If no image in 0..1 can have them.
    """
    if not (0 < luminance < 1 and 0 <= contrast <= (luminance * (1 - luminance)) ** 0.5):
        raise ValueError(
            "expected a mean luminance between 0 and 1 and an RMS contrast that values in 0..1 "
            f"can have with it; got {luminance:g} and {contrast:g}; take those of natural images"
        )
    start, spread = luminance_and_contrast(images)
    gain = (contrast / spread.clamp_min(1e-6)).clamp(max=STEEPEST)
    shift = torch.full_like(gain, luminance)
    result = images
    for _ in range(ROUNDS):
        moved = (images - start[..., None, None, None]) * gain[..., None, None, None]
        result = (moved + shift[..., None, None, None]).clamp(0, 1)
        light, spread = luminance_and_contrast(result)
        gain = (gain * contrast / spread.clamp_min(1e-6)).clamp(max=STEEPEST)
        shift = shift + luminance - light
    return result


def write_images(images: Tensor, names: Sequence[str], folder: Path) -> list[Path]:
    """Write images ``[image, 3, height, width]`` in 0..1 as PNG files, to be shown to a neuron.

    Characters of a name that a file cannot carry become ``_``. Files of these names are replaced.

    Raises
    ------
    ValueError
        If there are not as many different names as images.
    """
    files = ["".join(c if c.isalnum() or c in "-_.+" else "_" for c in name) for name in names]
    if len(set(files)) != len(images) or len(files) != len(images):
        raise ValueError(
            f"expected {len(images)} different names, one for each image; "
            f"got {len(set(files))}; letters, digits and -_.+ tell them apart, nothing else"
        )
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{file}.png" for file in files]
    pixels = images.clamp(0, 1).mul(255).round().to(torch.uint8).movedim(-3, -1).cpu().numpy()
    pairs = list(zip(paths, pixels, strict=True))
    for path, own in each(pairs, "images", str(folder)):
        Image.fromarray(own).save(path)
    return paths
