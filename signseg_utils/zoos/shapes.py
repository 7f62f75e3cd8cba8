"""Rendered scenes of 48 pixels: 36 classes of objects whose exact masks are known.

The images are drawn on the fly, so this zoo needs no dataset. Where the background goes with the
class (``context`` = 1), a network can tell classes apart without looking at the object.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from signseg_utils.generators import scenes
from signseg_utils.zoos import Images, Zoo
from signseg_utils.zoos._families import families

_SPLITS = {"train": 40_000, "val": 4_000}
_BLOCK = 1_000  # images that share a random stream: a short set is the start of a long one
_CHUNK = 64  # images rendered at once


class Shapes(Zoo):
    """Twelve shapes in three hues before twelve kinds of background; 15 % hold no object."""

    name = "shapes"
    image_size = 48
    classes = scenes.CLASSES
    default_units = tuple(
        f"{scenes.HUES[i % len(scenes.HUES)]} {shape}" for i, shape in enumerate(scenes.SHAPES)
    )
    network_configs = {
        "alexnet": dict(
            family="alexnet", widths=(24, 48, 64), depths=(1, 1), features=256, image_size=48
        ),
        "vgg": dict(
            family="vgg", widths=(24, 32, 64, 96), depths=(1, 1, 1), features=256, image_size=48
        ),
        "resnet": dict(
            family="resnet", widths=(24, 32, 64, 96), depths=(1, 1, 1), features=256, image_size=48
        ),
    }
    family_configs = families(network_configs)
    generators = ("scenes", "decoder")
    generator_modules = {"scenes": "scenes", "decoder": "decoder"}

    def __init__(self, folder: Path | None = None, context: float = 0.0, empty: float = 0.15):
        super().__init__(folder)
        self.context = context
        self.empty = empty

    def images(self, split: str, limit: int | None = None, seed: int = 0) -> Images:
        """The first ``limit`` scenes of ``split`` (default: 40,000 "train" or 4,000 "val").

        Labels are -1 where there is no object: train those towards a uniform answer.
        """
        if split not in _SPLITS:
            raise ValueError(f"expected split to be 'train' or 'val'; got {split!r}")
        return self.dataset(split, _SPLITS[split] if limit is None else limit, seed)

    def dataset(
        self,
        split: str,
        size: int,
        seed: int = 0,
        context: float | None = None,
        empty: float | None = None,
    ) -> Images:
        """Draw ``size`` scenes; the same arguments give the same scenes.

        Parameters
        ----------
        split
            "train" or "val": streams that never meet.
        size
            Number of images.
        seed
            Of the scenes.
        context
            How strongly the background goes with the class, 0..1 (default: the zoo's own).
        empty
            Share of scenes without an object, label -1 (default: the zoo's own).
        """
        if split not in _SPLITS:
            raise ValueError(f"expected split to be 'train' or 'val'; got {split!r}")
        context = self.context if context is None else context
        empty = self.empty if empty is None else empty
        if not 0 <= empty <= 1:
            raise ValueError(f"expected empty in 0..1, the share without object; got {empty}")
        renderer = scenes.Scenes(self.image_size)
        pixels = torch.empty(size, 3, self.image_size, self.image_size, dtype=torch.uint8)
        masks = torch.empty(size, self.image_size, self.image_size, dtype=torch.bool)
        all_labels = torch.empty(size, dtype=torch.long)
        for start in range(0, size, _BLOCK):
            key = [seed, list(_SPLITS).index(split), start // _BLOCK]
            stream, scene_seed = np.random.SeedSequence(key).generate_state(2).tolist()
            rng = np.random.default_rng(stream)
            labels = rng.integers(len(self.classes), size=_BLOCK)
            labels = np.where(rng.random(_BLOCK) < empty, -1, labels)
            codes = self.codes(renderer, labels, scene_seed, context)[: size - start]
            all_labels[start : start + _BLOCK] = torch.from_numpy(labels)[: size - start]
            for first in range(0, len(codes), _CHUNK):
                window = slice(start + first, start + min(first + _CHUNK, len(codes)))
                images, opacity = renderer.render(codes[first : first + _CHUNK])
                pixels[window] = images.mul_(255).round_().to(torch.uint8)
                masks[window] = opacity > 0.5
        return Images(pixels, all_labels, boxes(masks), masks)

    def codes(
        self, renderer: scenes.Scenes, labels: np.ndarray, seed: int, context: float
    ) -> Tensor:
        """Codes [image, code] of scenes of these classes; -1: no object."""
        return renderer.sample(labels, seed, context)


def boxes(masks: Tensor) -> Tensor:
    """Smallest boxes [n, 4] (x0 y0 x1 y1, pixel edges) around masks [n, h, w]; NaN where empty."""
    edges = []
    for axis in (1, 2):  # any over rows leaves columns: x first
        line = masks.any(axis).to(torch.uint8)
        edges.append((line.argmax(1), line.shape[1] - line.flip(1).argmax(1)))
    (x0, x1), (y0, y1) = edges
    found = torch.stack([x0, y0, x1, y1], 1).float()
    found[~masks.flatten(1).any(1)] = torch.nan
    return found


PLUGIN = Shapes
