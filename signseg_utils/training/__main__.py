"""Train what a zoo ships, in the order in which it builds on each other.

``python -m signseg_utils.training --zoo shapes`` makes networks, generators and detector again,
``--network resnet-linf-2`` one network only; what lies in the zoo's folder is kept unless
``--again`` is given. A training that was cut off goes on where it was.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from signseg_utils import registry
from signseg_utils.metrics.objectness import ARTEFACT
from signseg_utils.refusals import in_words
from signseg_utils.training import components, decoder, detector, networks
from signseg_utils.zoos import Zoo, load_zoo

# Recipes of the shipped decoders and detectors: natural images take more of both.
DECODERS = {
    "shapes": decoder.DecoderRecipe(),
    "tinyimagenet": decoder.DecoderRecipe(width=192, images=100_000),
}
DETECTORS = {
    "shapes": detector.Recipe(steps=640),
    "tinyimagenet": detector.Recipe(steps=4_500, images=40_000),
}


def make(zoo: Zoo, scratch: Path, again: bool = False) -> None:
    """Train every artefact of ``zoo`` that is missing (or all of them)."""

    def wanted(artefact: str) -> bool:
        return again or not zoo.path(artefact).exists()

    for name in zoo.networks:
        if wanted(name):
            print(networks.make(zoo, name, scratch))
    for name in zoo.generators:
        if zoo.generator_modules[name] == "decoder" and wanted(name):
            print(decoder.train(zoo, name, DECODERS[zoo.name], scratch))
        if zoo.generator_modules[name] == "spectral" and wanted(name):
            print(components.fit(zoo, name))
    if wanted(ARTEFACT):
        print(detector.train(zoo, DETECTORS[zoo.name]))
    for names in zoo.families.values():
        for name in filter(wanted, names):
            print(networks.make(zoo, name, scratch))


@in_words
def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: one zoo, or all; one network, or everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zoo", default="all")
    parser.add_argument("--network", help="this one only")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE",
                        help="change the recipe of that network (values as in JSON)")  # fmt: skip
    parser.add_argument("--scratch", type=Path, default=Path("runs"))
    parser.add_argument("--again", action="store_true", help="train what is there, too")
    chosen = parser.parse_args(arguments)
    if chosen.set and not chosen.network:
        parser.error("expected --network with --set, because recipes differ between networks")
    for name in tuple(networks.STANDARD) if chosen.zoo == "all" else (chosen.zoo,):
        if name not in networks.STANDARD:
            known = tuple(networks.STANDARD)
            parser.error(registry.unknown("zoo that this project trains", name, known))
        zoo = load_zoo(name)
        if chosen.network not in (None, *zoo.all_networks):
            known = zoo.all_networks
            parser.error(registry.unknown(f"network of zoo {name}", chosen.network, known))
        if not chosen.network:
            make(zoo, chosen.scratch, chosen.again)
        elif chosen.again or not zoo.path(chosen.network).exists():
            print(networks.make(zoo, chosen.network, chosen.scratch, chosen.set))
        else:
            print(f"{zoo.path(chosen.network)} is there; --again trains it once more")


if __name__ == "__main__":
    main()
