"""``signseg train``: make the weights that a zoo ships again."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from signseg_utils import selection
from signseg_utils.basics import registry
from signseg_utils.training import networks, zoo
from signseg_utils.zoos import Zoo, load_zoo


def main(words: Sequence[str]) -> int:
    """Train what is missing of a zoo: everything, one artefact, or networks from further seeds."""
    parser, given = _arguments(words)
    known = tuple(networks.STANDARD)
    for name in known if given.zoo == "all" else (given.zoo,):
        if name not in known:
            parser.error(registry.unknown("zoo that this project trains", name, known))
        opened = load_zoo(name, given.folder)
        try:
            wanted = _wanted(opened, given)
        except selection.ParameterError as error:
            parser.error(str(error))
        for artefact in wanted:
            if opened.holds(artefact) and not given.again:
                print(f"{opened.path(artefact)} is there; --again trains it once more")
            else:
                print(zoo.make(opened, artefact, given.scratch, given.set))
    return 0


def _arguments(words: Sequence[str]) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """What was given, as far as it can be checked without a zoo."""
    parser = argparse.ArgumentParser(
        prog="signseg train",
        description="Train networks, generators and the detector of a zoo, in the order in which "
        "they build on each other. What is there is kept; a training that was cut off goes on.",
    )
    parser.add_argument("--zoo", default="all", help="zoo, or all that are trained here")
    parser.add_argument("--only", metavar="NAME", help="one network, generator or the detector")
    parser.add_argument("--networks", metavar="NAMES", help="networks or families, comma separated")
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="of each of these networks so many: the first, and others from further seeds "
        "(alexnet, alexnet-seed2, ...)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change the recipe of that one (values as in JSON)",
    )
    parser.add_argument("--folder", type=Path, help="of the weights (data/zoo/<zoo>)")
    parser.add_argument("--scratch", type=Path, default=Path("runs"), help="of checkpoints")
    parser.add_argument("--again", action="store_true", help="train what is there, too")
    given = parser.parse_args(words)
    if given.set and not given.only:
        parser.error("expected --only with --set, because recipes differ between artefacts")
    if given.only and given.networks is not None:
        parser.error("expected --only or --networks, not both: one artefact, or several networks")
    if given.seeds != 1 and given.networks is None:
        parser.error("expected --networks with --seeds, because each seed takes as long again")
    if given.seeds < 1:
        parser.error(f"expected --seeds of 1 or more networks of each design; got {given.seeds}")
    return parser, given


def _wanted(opened: Zoo, given: argparse.Namespace) -> Sequence[str]:
    """Names of what is to be there at the end, each after what it builds on."""
    if given.only:
        return (given.only,)
    if given.networks is None:
        return zoo.artefacts(opened)
    designs = selection.parse({"zoo": opened.name, "networks": given.networks}).networks
    return networks.siblings(opened, designs, given.seeds)
