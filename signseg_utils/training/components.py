"""Fit a zoo's linear generator: the principal components of its training images.

``python -m signseg_utils.training.components --zoo tinyimagenet``
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from signseg_utils.generators.spectral import fit_pca
from signseg_utils.refusals import in_words
from signseg_utils.zoos import Zoo, load_zoo


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


@in_words
def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: the linear generator of one zoo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zoo", required=True)
    parser.add_argument("--components", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    with torch.inference_mode():
        print(fit(load_zoo(chosen.zoo), components=chosen.components, seed=chosen.seed))


if __name__ == "__main__":
    main()
