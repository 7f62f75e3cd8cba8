"""A zoo that is learned in a few steps, with a network of each family; and trainings cut off."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch

from signseg_utils.training import loop
from signseg_utils.zoos import Images
from signseg_utils.zoos.shapes import Shapes

ALEXNET = dict(family="alexnet", widths=(8, 8, 8), depths=(1, 1), features=16, image_size=32)


class TwoColours(Shapes):
    """Red or blue images, or neither, under noise."""

    name = "twocolours"
    classes = ("red", "blue")
    image_size = 32
    network_configs = {"alexnet": ALEXNET}
    family_configs = {
        "robust": {"alexnet-linf-40": ALEXNET, "alexnet-linf-0": ALEXNET},
        "activations": {"alexnet-matched": ALEXNET},
        "selfsupervised": {"alexnet-simsiam": ALEXNET},
        "untrained": {"alexnet-untrained": ALEXNET},
    }

    def images(self, split, limit=None, seed=0):
        generator = torch.Generator().manual_seed(int(split == "val"))
        labels = torch.randint(-1, 2, (160,), generator=generator)
        pixels = torch.randint(0, 90, (160, 3, 32, 32), generator=generator)
        pixels[labels == 0, 0] += 140
        pixels[labels == 1, 2] += 140
        images = Images(pixels.to(torch.uint8), labels, torch.zeros(160, 4))
        return images if limit is None else images[:limit]


@contextmanager
def interrupt_after(epochs: int) -> Iterator[None]:
    """Cut trainings off when the checkpoint of that epoch has been written."""
    write = loop._checkpoint

    def killed(path, model, optimizer, epoch, *rest):
        write(path, model, optimizer, epoch, *rest)
        if epoch == epochs:
            raise KeyboardInterrupt

    with patch.object(loop, "_checkpoint", killed):
        yield
