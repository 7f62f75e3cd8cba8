"""The perceptual distance between units, against distances taken pair by pair."""

import numpy as np
import pytest
from conftest import made

from signseg_utils import zoos
from signseg_utils.analysis.between_units import between_units
from signseg_utils.analysis.images import rendered
from signseg_utils.experiments import sweep
from signseg_utils.metrics.lpips import Perceptual
from signseg_utils.search.evolution import Search

UNITS = ("red ring", "blue disc", "green star")


@pytest.fixture(scope="module")
def zoo(tiny_zoo):
    return zoos.load_zoo("shapes", tiny_zoo)


@pytest.fixture(scope="module")
def found(tiny_zoo, tmp_path_factory):
    plan = sweep.plan(
        "shapes",
        ("resnet",),
        ("scenes",),
        UNITS,
        signs=("positive", "negative"),
        alphas=(0.0, 1.0),
        seeds=(0, 1, 2),
        search=Search(generations=2),
    )
    folder = tmp_path_factory.mktemp("results")
    return made(plan, folder, tiny_zoo)


@pytest.fixture(scope="module")
def levels(found, zoo):
    return between_units(found, zoo, "alexnet").sel(network="resnet", generator="scenes")


def distance(zoo, first, second) -> float:
    eye = Perceptual.unweighted(zoo.network("alexnet").backbone)
    return float(eye.distance(first[None], second[None]).values)


def test_other_units_are_the_control_images_of_the_first_seed(found, zoo, levels) -> None:
    images = rendered(zoo.generator("scenes"), found["codes"].isel(condition=0, seed=0))
    expected = np.mean([distance(zoo, images[2], images[other]) for other in (0, 1)])
    mine = levels.sel(unit=UNITS[2])
    assert float(mine) == pytest.approx(expected, rel=1e-5)


def test_one_unit_has_no_level(found, zoo) -> None:
    with pytest.raises(ValueError, match="two units or more.*got 1 pieces"):
        between_units(found.isel(shard=[0]), zoo, "alexnet")
