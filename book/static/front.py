"""Draw front.png, the picture of README and first page, from ascents that ship.

``python book/static/front.py lite0 "chain saw,church,French horn,golf ball,parachute"``
"""

import sys
from pathlib import Path

import numpy as np

from signseg_utils import plots, zoos
from signseg_utils.analysis import images
from signseg_utils.experiments import ascents, base
from signseg_utils.files import paths

HEADS = {
    "positive 1": "without\npositive inputs",
    "intact": "intact",
    "negative 1": "without\nnegative inputs",
}


def main(network: str, units: str) -> None:
    """One row a condition, one column a unit, whose name stands above it."""
    zoo, names = zoos.load_zoo("efficientnet"), units.split(",")
    plan = ascents.in_parts(zoo, [network], zoo.default_units)
    stored = base.read(plan, zoo, paths.results_folder(zoo.name))
    found = ascents.Ascents.joined(plan, stored).sel(unit=names)
    pixels, conditions = images.pictures(found, network)
    labels = ["intact" if sign == "none" else f"{sign} {alpha:g}" for sign, alpha in conditions]
    rows = np.stack([pixels[:, labels.index(one)].numpy() for one in HEADS])
    plots.use_style()
    figure = plots.image_grid(rows, list(HEADS.values()), names, label_width=1.2)
    figure.savefig(Path(__file__).with_name("front.png"), dpi=150)


if __name__ == "__main__":
    main(*sys.argv[1:])
