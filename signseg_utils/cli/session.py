"""``signseg session``: a search with a rig in the loop, one generation a call.

The folder keeps everything, so that each call may be a process of its own: it takes the rates of
the images shown last, if there are any, and writes the next images.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from signseg_utils.cli._arguments import number
from signseg_utils.search.evolution import Search
from signseg_utils.search.rig import MANIFEST, RATES, Session
from signseg_utils.selection import integers, split
from signseg_utils.zoos import load_zoo


def main(words: Sequence[str]) -> int:
    """Take the rates of the last images, write the next ones, say where they lie."""
    parser = argparse.ArgumentParser(
        prog="signseg session",
        description="Write the images of the next generation, to be shown to a neuron; before "
        f"that, take the rates of the last ones from {RATES} (columns name and rate) in their "
        "folder. The same command goes on until all generations were shown.",
    )
    default = Search()
    parser.add_argument("folder", type=Path, help="of this search; made if it is not there")
    parser.add_argument("--zoo", default="tinyimagenet", help="whose generator (%(default)s)")
    parser.add_argument("--generator", default="decoder", help="(%(default)s)")
    parser.add_argument("--optimizer", default=default.optimizer, help="(%(default)s)")
    parser.add_argument("--generations", type=number("generations"), default=default.generations)
    parser.add_argument(
        "--population",
        type=number("population"),
        help="images a generation (the optimiser's own)",
    )
    parser.add_argument("--seeds", default="0", help="one for each run: list or range")
    parser.add_argument("--labels", default="", help="names of the runs, such as channels")
    given = parser.parse_args(words)
    session = Session(
        given.folder,
        load_zoo(given.zoo).generator(given.generator),
        Search(given.optimizer, given.generations, given.population),
        integers(given.seeds),
        split(given.labels, "labels") or None,
    )
    if not session.done:
        shown = session.batch().folder
        if (shown / MANIFEST).exists() and (shown / RATES).exists():
            session.tell()
            print(f"generation {session.generation} of {given.generations}: rates taken")
    if session.done:
        best = ", ".join(f"{rate:.4g}" for rate in session.found().rates.tolist())
        print(f"all {given.generations} generations were shown; best rate of each run: {best}")
        return 0
    batch = session.ask()
    print(f"{len(batch.names)} images to show: {batch.folder / MANIFEST}")
    print(f"then write their rates to {batch.folder / RATES} and give the same command")
    return 0
