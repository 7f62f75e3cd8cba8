"""Train what a zoo ships, in the order in which it builds on each other.

``python -m signseg_utils.training --zoo shapes`` makes networks, generators and detector again;
what lies in the zoo's folder is kept unless ``--again`` is given.
"""

import argparse
from pathlib import Path

from signseg_utils import registry
from signseg_utils.metrics.objectness import ARTEFACT
from signseg_utils.training import classifier, components, decoder, detector
from signseg_utils.zoos import Zoo, load_zoo

# Epochs of the shipped networks: the deeper, the longer.
EPOCHS = {
    "shapes": {"alexnet": 8, "vgg": 8, "resnet": 8},
    "tinyimagenet": {"alexnet": 9, "vgg": 12, "resnet": 12},
}

# Recipes of the shipped decoders and detectors: natural images take more of both.
DECODERS = {
    "shapes": decoder.DecoderRecipe(),
    "tinyimagenet": decoder.DecoderRecipe(width=192, images=100_000),
}
DETECTORS = {
    "shapes": detector.Recipe(steps=640),
    "tinyimagenet": detector.Recipe(steps=1_900, images=30_000),
}


def make(zoo: Zoo, scratch: Path, again: bool = False) -> None:
    """Train every artefact of ``zoo`` that is missing (or all of them)."""

    def wanted(artefact: str) -> bool:
        return again or not zoo.path(artefact).exists()

    for name in zoo.networks:
        if wanted(name):
            small = min(48, zoo.image_size)
            recipe = classifier.Recipe(epochs=EPOCHS[zoo.name][name], small_size=small)
            print(classifier.train(zoo, name, recipe, scratch))
    for name in zoo.generators:
        if zoo.generator_modules[name] == "decoder" and wanted(name):
            print(decoder.train(zoo, name, DECODERS[zoo.name], scratch))
        if zoo.generator_modules[name] == "spectral" and wanted(name):
            print(components.fit(zoo, name))
    if wanted(ARTEFACT):
        print(detector.train(zoo, DETECTORS[zoo.name]))


def main() -> None:
    """Command line: one zoo, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zoo", default="all")
    parser.add_argument("--scratch", type=Path, default=Path("runs"))
    parser.add_argument("--again", action="store_true", help="train what is there, too")
    chosen = parser.parse_args()
    names = tuple(EPOCHS) if chosen.zoo == "all" else (chosen.zoo,)
    for name in names:
        if name not in EPOCHS:
            parser.error(registry.unknown("zoo that this project trains", name, tuple(EPOCHS)))
        make(load_zoo(name), chosen.scratch, chosen.again)


if __name__ == "__main__":
    main()
