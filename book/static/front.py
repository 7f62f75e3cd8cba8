"""Draw front.png, the picture of README and first page, from a shipped sweep.

``python book/static/front.py shapes resnet scenes "red disc,blue cross,green ring,red heart"``
"""

import sys
from pathlib import Path

import numpy as np

from signseg_utils import paths, plots, sweep, zoos
from signseg_utils.evolution import Search
from signseg_utils.sweep.measuring import arranged, rendered

ALPHAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def main(zoo_name: str, network: str, generator: str, units: str) -> None:
    """One row a unit, from all positive inputs ablated, over intact, to all negative ablated."""
    names = units.split(",")
    plan = sweep.plan(
        zoo_name, [network], [generator], names, search=Search("cholesky_cma", 25),
        alphas=[i / 10 for i in range(11)], seeds=[0, 1, 2, 3],
    )  # fmt: skip
    found = arranged(sweep.collect(plan, paths.results_folder(zoo_name)))
    drawn = found["alpha"].isin(ALPHAS) & found["sign"].isin(["none", "positive", "negative"])
    chosen = found.isel(condition=np.flatnonzero(drawn)).sel(network=network, generator=generator)
    best = chosen.isel(seed=chosen["activation"].argmax("seed"))
    codes = best["codes"].transpose("unit", "condition", "code")
    conditions = list(zip(best["sign"].values.tolist(), best["alpha"].values.tolist(), strict=True))
    plots.use_style()
    zoo = zoos.load_zoo(zoo_name)
    images = rendered(zoo.generator(generator), codes)
    figure = plots.ablation_panel(images, conditions, names)
    figure.savefig(Path(__file__).with_name("front.png"), dpi=200)


if __name__ == "__main__":
    main(*sys.argv[1:])
