"""What the explorer shows: the strongest search of each condition, and numbers of its image."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import made

from signseg_utils import zoos
from signseg_utils.analysis import images, single_images
from signseg_utils.experiments import sweep
from signseg_utils.files import images as files
from signseg_utils.files import paths
from signseg_utils.publishing import explorer
from signseg_utils.search.evolution import Search

ROOT = Path(__file__).resolve().parents[1]
UNITS = ("red disc", "blue cross")


class Judges:
    """A zoo whose judges are the networks that the tiny one has."""

    def __init__(self, zoo: zoos.Zoo) -> None:
        self.zoo, self.judges, self.classes = zoo, ("alexnet", "resnet"), zoo.classes

    def __getattr__(self, name: str) -> Any:
        return getattr(self.zoo, name)


class Bright:
    """A detector that takes what is bright for an object."""

    def objectness(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.mean((1, 2, 3))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, tiny_zoo: Path) -> Any:
    plan = sweep.plan(
        "shapes",
        ["alexnet"],
        ["scenes"],
        list(UNITS),
        signs=("positive", "negative"),
        alphas=(0.5, 1.0),
        seeds=(0, 1, 2),
        search=Search(generations=2, population=4),
    )
    return made(plan, tmp_path_factory.mktemp("runs"), tiny_zoo)


@pytest.fixture(scope="module")
def bank(found: Any, tiny_zoo: Path) -> single_images.Bank:
    zoo: Any = Judges(zoos.load_zoo("shapes", tiny_zoo))
    return single_images.of_searches(found, zoo, Bright())


def test_the_image_is_that_of_the_strongest_search(bank: Any, found: Any, tiny_zoo: Path) -> None:
    assert bank.images.shape == (2, 5, 3, 48, 48) and bank.images.dtype == torch.uint8
    activation = found["activation"].transpose("shard", "condition", "seed").values
    assert np.array_equal(bank.measures["activation"], activation.max(-1))
    best = int(activation[1, 3].argmax())
    code = found["codes"].isel(shard=1, condition=3, seed=[best])
    drawn = images.rendered(zoos.load_zoo("shapes", tiny_zoo).generator("scenes"), code)[0]
    assert (bank.images[1, 3] - (drawn * 255).round()).abs().max() <= 1
    assert np.allclose(
        bank.measures["objectness"], bank.images.float().mean((2, 3, 4)) / 255, atol=2e-3
    )


def test_similarity_leaves_out_the_search_of_the_image_itself(
    bank: Any, found: Any, tiny_zoo: Path
) -> None:
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    generator = zoo.generator("scenes")
    intact = images.rendered(generator, found["codes"].isel(shard=0, condition=0))
    best = int(found["activation"].values[0, 0].argmax())
    others = [place for place in range(3) if place != best]
    cosines = []
    for judge in ("alexnet", "resnet"):
        features = zoo.network(judge).backbone(intact)
        one = torch.nn.functional.cosine_similarity(features[best][None], features[others])
        cosines.append(float(one.mean()))
    assert bank.measures["similarity"][0, 0] == pytest.approx(np.mean(cosines), abs=1e-5)


def test_a_network_does_not_recognise_its_own_images(bank: Any, tiny_zoo: Path) -> None:
    network = zoos.load_zoo("shapes", tiny_zoo).network("resnet")
    logits = network.logits(bank.images[1] / 255)
    told = logits.softmax(1)[:, network.readout.labels.index(UNITS[1])]
    assert np.allclose(bank.measures["recognition"][1], told.numpy(), atol=1e-3)


@pytest.fixture
def only_ascents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder that holds results of one zoo alone; returns the cache."""
    data = tmp_path / "data"
    (data / "results").mkdir(parents=True)
    for name in ("zoo", "claims", "results/efficientnet"):
        (data / name).symlink_to(ROOT / "data" / name)
    monkeypatch.setenv("SIGNSEG_DATA", str(data))
    monkeypatch.setenv("SIGNSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_zoo_without_results_is_left_out_and_what_is_made_is_kept(only_ascents: Path) -> None:
    said: list[str] = []
    ((world, folder),) = explorer.worlds(said.append)
    assert world["zoo"] == "efficientnet" and len(said) == 1 and only_ascents in folder.parents
    bank = world["banks"][world["shown"]]
    units, conditions = len(bank["units"]), len(bank["conditions"])
    sprite = files.decode((folder / bank["sprite"]).read_bytes(), bank["sprite"])
    assert sprite.shape == (3, units * bank["cell"], conditions * bank["cell"])
    for values in bank["measures"].values():
        assert [len(row) for row in values] == [conditions] * units
    assert world["plain"].startswith("<figure") and 'alt="' in world["plain"]
    again = list(explorer.worlds(said.append))
    assert again == [(world, folder)] and len(said) == 1


def test_a_zoo_that_cannot_be_shown_costs_no_other(
    only_ascents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_ascents.write_text("no folder")
    said: list[str] = []
    assert list(explorer.worlds(said.append)) == []
    assert "without efficientnet, because" in said[-1]


def test_without_results_there_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNSEG_DATA", str(tmp_path))
    (tmp_path / "zoo").symlink_to(paths.repository() / "data" / "zoo")
    assert list(explorer.worlds(print)) == []


def test_data_in_the_page_cannot_end_its_element(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    page = import_module("explorer_page")
    world = {"zoo": "shapes", "banks": [], "shown": 0, "plain": "<p>", "x": "</script>"}
    text = page.as_data([world])
    assert "<" not in text and json.loads(text)[0]["name"] == "rendered scenes"
    assert "plain" not in json.loads(text)[0]
