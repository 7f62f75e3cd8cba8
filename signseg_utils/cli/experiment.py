"""``signseg experiment NAME``: compute and store what chapters show besides the sweeps."""

import argparse
from collections.abc import Sequence
from importlib import import_module

EXPERIMENTS = {
    "ablated_models": "images of ablated neuron models, shown to stand-ins (chapter 13)",
    "channel_maps": "where in the image channels of either sign answer (chapter 8)",
    "class_accuracy": "how often each class is recognised (chapter 7)",
    "diverse_images": "sets of images that span what a network can tell apart (chapter 10)",
    "encoding_accuracy": "how well models predict neurons (chapter 11)",
    "encoding_signs": "what constraints on signs cost such models (chapter 12)",
    "factorial": "small networks that differ in one factor each (chapter 9)",
    "localisation": "where in the image a neuron and its model look (chapter 14)",
    "occlusion": "what either sign's inputs lose without the object (chapter 9)",
}
_ON_NEURONS = ("ablated_models", "encoding_accuracy", "encoding_signs", "localisation")


def main(words: Sequence[str]) -> int:
    """Compute one experiment; without a name: list them."""
    width = max(map(len, EXPERIMENTS)) + 2
    parser = argparse.ArgumentParser(
        prog="signseg experiment",
        description="Compute and store an experiment; what is there is kept, and the same command "
        "continues an interrupted one. `signseg experiment NAME --help` tells its options.",
        epilog="\n".join(f"  {name:{width}}{about}" for name, about in EXPERIMENTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", choices=tuple(EXPERIMENTS), metavar="NAME")
    given = parser.parse_args(words[:1])
    if given.name is None:
        print(parser.epilog)
        return 0
    room = "experiments.recorded" if given.name in _ON_NEURONS else "experiments"
    inner = f"{given.name}.__main__" if given.name == "factorial" else given.name
    import_module(f"signseg_utils.{room}.{inner}").main(words[1:])
    return 0
