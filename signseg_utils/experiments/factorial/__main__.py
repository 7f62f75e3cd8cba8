"""Command line of the factorial design: train, search, store, run by run."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from signseg_utils import selection, zoos
from signseg_utils.experiments import base, factorial
from signseg_utils.experiments.sweep import Shard
from signseg_utils.files.paths import results_folder
from signseg_utils.registry import unknown
from signseg_utils.search.evolution import Search


def main(arguments: Sequence[str] | None = None) -> None:
    """The whole experiment; the same command continues an interrupted one."""
    parser = argparse.ArgumentParser(
        prog="signseg experiment factorial",
        description="Train and search the networks of the factorial experiment; the same command "
        "continues an interrupted one.",
    )
    number = selection.argument
    parser.add_argument(
        "--images", type=number("learned"), default=factorial.IMAGES,
        help="each network learns from",
    )
    parser.add_argument(
        "--replicates", type=number("replicates"), default=1, help="networks of each setting"
    )
    parser.add_argument("--units", default=factorial.UNITS, help="classes, comma separated")
    parser.add_argument("--alphas", default="0,1", help="list, or start:stop:step")
    parser.add_argument("--seeds", default="0-1", help="searches of each condition")
    parser.add_argument("--generations", type=selection.argument("generations"), default=25)
    parser.add_argument("--control", default="random_magnitude")
    parser.add_argument("--rows", default="", help="of the design, such as 0-7; default: all")
    parser.add_argument("--out", type=Path, default=None, help="folder (the shipped one)")
    given = parser.parse_args(arguments)
    selection.parse(
        {"zoo": "shapes", "units": given.units, "control": given.control, "out": given.out or ""}
    )
    template = Shard(
        "factorial", "", "", "", signs=("positive", "negative", given.control),
        alphas=selection.fractions(given.alphas), seeds=selection.integers(given.seeds),
        search=Search(generations=given.generations),
    )  # fmt: skip
    chosen = factorial.settings(given.images, given.replicates)
    if given.rows:
        wanted = selection.integers(given.rows, "rows")
        known = sorted({setting.row for setting in chosen})
        for row in wanted:
            if row not in known:
                parser.error(unknown("number in rows", str(row), list(map(str, known))))
        chosen = tuple(setting for setting in chosen if setting.row in wanted)
    units = selection.split(given.units)
    planned = factorial.plan(chosen, units, template)
    folder = given.out or results_folder("") / planned[0].home
    base.run(planned, zoos.load_zoo("shapes"), folder)


if __name__ == "__main__":
    main()
