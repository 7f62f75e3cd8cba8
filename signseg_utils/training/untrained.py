"""Networks that were never trained: a seed, and the batch-norm statistics of the zoo's images."""

import time
from pathlib import Path

import torch
from torch import nn

from signseg_utils.files import weights
from signseg_utils.networks import Classifier, initial
from signseg_utils.training.classifier import Recipe, ship
from signseg_utils.zoos import Images, Zoo


@torch.no_grad()
def calibrate(model: Classifier, images: Images) -> None:
    """Give each batch norm the mean statistics of batches of 100 images.

    With the initial ones (mean 0, variance 1) a signal all but dies out on its way through random
    layers; a training's first step does not use those, but the statistics of its batch.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    model.train()
    for pixels in images.pixels.split(100):
        model(pixels.float() / 255)
    model.eval()


def make(zoo: Zoo, name: str, recipe: Recipe) -> Path:
    """Put an untrained network into the zoo's folder: statistics only, a few kilobytes.

    The weights are drawn from the recipe's seed again whenever the network is loaded; their
    digest in the manifest tells whether they are still the same.
    """
    began = time.perf_counter()
    model = initial(zoo.architectures, zoo.config(name), len(zoo.classes), recipe.seed)
    drawn = weights.digest(model.shipped())
    calibrate(model, zoo.images(zoo.calibrating, 1000))
    made = {"drawn_sha256": drawn, "epochs_seen": 0}
    seconds = time.perf_counter() - began
    return ship(zoo, name, model, recipe, seconds, made, lambda key: ".running_" in key)
