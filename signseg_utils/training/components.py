"""Fit a zoo's linear generator: the principal components of its training images."""

import time
from pathlib import Path

from signseg_utils.generators.spectral import fit_pca
from signseg_utils.zoos import Zoo


def fit(zoo: Zoo, name: str = "pca", components: int = 256, seed: int = 0) -> Path:
    """Fit, measure on held-out images, and put the generator into the zoo's folder."""
    began = time.perf_counter()
    generator = fit_pca(zoo.images("train").pixels, components, seed=seed)
    held_out = zoo.images("val", 1000).pixels.float() / 255
    error = (generator(generator.encode(held_out)) - held_out).pow(2).sum()
    variance = (held_out - generator.mean).pow(2).sum()
    scores = {"variance_explained": float(1 - error / variance), "n": len(held_out)}
    seconds = round(time.perf_counter() - began, 1)
    manifest = {"zoo": zoo.name, "seed": seed, "scores": scores, "seconds": seconds}
    generator.save(zoo.folder, name, manifest)
    return zoo.path(name)
