"""``signseg train``: make the weights that a zoo ships again."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from signseg_utils import registry
from signseg_utils.training import networks, zoo
from signseg_utils.zoos import load_zoo


def main(words: Sequence[str]) -> int:
    """Train everything of a zoo that is missing, or one artefact of it."""
    parser = argparse.ArgumentParser(
        prog="signseg train",
        description="Train networks, generators and the detector of a zoo, in the order in which "
        "they build on each other. What is there is kept; a training that was cut off goes on.",
    )
    parser.add_argument("--zoo", default="all", help="zoo, or all that are trained here")
    parser.add_argument("--only", metavar="NAME", help="one network, generator or the detector")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE",
        help="change the recipe of that one (values as in JSON)",
    )  # fmt: skip
    parser.add_argument("--folder", type=Path, help="of the weights (data/zoo/<zoo>)")
    parser.add_argument("--scratch", type=Path, default=Path("runs"), help="of checkpoints")
    parser.add_argument("--again", action="store_true", help="train what is there, too")
    given = parser.parse_args(words)
    if given.set and not given.only:
        parser.error("expected --only with --set, because recipes differ between artefacts")
    known = tuple(networks.STANDARD)
    for name in known if given.zoo == "all" else (given.zoo,):
        if name not in known:
            parser.error(registry.unknown("zoo that this project trains", name, known))
        opened = load_zoo(name, given.folder)
        for artefact in (given.only,) if given.only else zoo.artefacts(opened):
            there = opened.path(artefact).exists()
            if there and not given.again:
                print(f"{opened.path(artefact)} is there; --again trains it once more")
            else:
                print(zoo.make(opened, artefact, given.scratch, given.set))
    return 0
