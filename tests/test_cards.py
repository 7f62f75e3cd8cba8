"""Cards say what manifests say."""

import pytest
from conftest import TinyZoo

from signseg_utils import zoos
from signseg_utils.chapter import cards
from signseg_utils.metrics import recognition

NETWORK = {
    "kind": "network",
    "accuracy": {"top1": 0.5, "top5": 0.75, "n": 200},
    "robust_accuracy": {"top1": 0.25},
    "sign_ratio": {"mean": 1.0, "sd": 0.125},
    "parameters": 12_000,
    "multiply_accumulates": 3_200_000,
    "recipe": {"epochs": 8},
    "seconds": 61.4,
    "seed": 3,
}
DETECTOR = {
    "kind": "detector",
    "scores": {"precision": 0.912345, "mAP50_95": 0.5, "held_out": 2000},
    "seconds": 360,
    "seed": 0,
}


def test_network_card_holds_accuracy_and_cost() -> None:
    column = cards.table({"one": NETWORK, "two": NETWORK | {"seed": 4}})
    assert list(column.columns) == ["one", "two"]
    assert column.loc["top-1, %", "one"] == "50.0"
    assert column.loc["MMAC an image", "one"] == "3.2"
    assert list(column.loc["seed"]) == ["3", "4"]


def test_scores_of_others_in_words() -> None:
    column = cards.table({"detector": DETECTOR})["detector"]
    assert column["precision"] == "0.9123"
    assert column["mAP50-95"] == "0.5"
    assert column["held-out images"] == "2000"
    assert column["training, seconds"] == "360"


def test_what_one_lacks_is_a_dash() -> None:
    other = DETECTOR | {"scores": {"variance explained": 0.9}}
    both = cards.table({"detector": DETECTOR, "pca": other})
    assert both.loc["precision", "pca"] == "–"
    assert both.loc["variance explained", "detector"] == "–"


def test_incomplete_manifest_is_named() -> None:
    broken = {key: value for key, value in NETWORK.items() if key != "sign_ratio"}
    with pytest.raises(KeyError, match="'sign_ratio' in the manifest of one"):
        cards.table({"one": broken})


def test_of_a_network_trained_by_others_a_dash_stands_for_what_they_do_not_tell() -> None:
    told = {"kind": "network", "url": "https://pypi.org", "accuracy": NETWORK["accuracy"]}
    both = cards.table({"ours": NETWORK, "theirs": {**told, "recipe": {}}})
    assert both.loc["top-1, %", "theirs"] == "50.0"
    for missing in ("robust top-1, %", "MMAC an image", "epochs", "training, seconds", "seed"):
        assert both.loc[missing, "theirs"] == "–" != both.loc[missing, "ours"]


@pytest.mark.parametrize(
    ("name", "network"),
    [("shapes", "resnet"), ("tinyimagenet", "alexnet"), ("efficientnet", "lite0")],
)
def test_cards_say_how_held_out_images_are_recognised(name, network, images_or_skip) -> None:
    zoo, images = zoos.load_zoo(name), images_or_skip(name, "val", 1000)
    level = recognition.of_images(zoo.network(network).logits, images.pixels, images.labels)
    told = zoo.card(network)["held_out"]
    assert told["n"] == int((images.labels >= 0).sum())
    assert level.probability == pytest.approx(told["probability"], abs=1e-3)
    assert level.rank == pytest.approx(told["rank"], rel=0.02)


@pytest.mark.parametrize("name", ["shapes", "tinyimagenet", "efficientnet"])
def test_recognition_lies_between_guessing_and_held_out_images(name) -> None:
    zoo = zoos.load_zoo(name)
    levels = cards.recognition_levels(zoo)
    assert levels["guessing"] == 1 / len(zoo.classes)
    assert 20 * levels["guessing"] < levels["held-out images"] < 1


def test_without_cards_that_tell_it_only_guessing_is_a_level(tiny_zoo) -> None:
    assert list(cards.recognition_levels(TinyZoo(tiny_zoo))) == ["guessing"]
