"""Counts of right answers: by hand, stored, stale, and as the manifests state."""

import json
from unittest.mock import patch

import numpy as np
import pytest
import torch

from signseg_utils import zoos
from signseg_utils.experiments import class_accuracy as outputs
from signseg_utils.files import paths
from signseg_utils.zoos import DatasetMissing

STORED = sorted(paths.data_folder().glob("zoo/*/*.classes.json"))


@pytest.fixture
def zoo(tiny_zoo, tmp_path):
    """The tiny zoo with few images, in a folder of its own."""
    for file in tiny_zoo.glob("resnet.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    opened = zoos.load_zoo("shapes", tmp_path)
    few = opened.images("val", 120)
    with patch.object(type(opened), "images", lambda self, split: few):
        yield opened


def test_right_answers_are_counted_by_class() -> None:
    answers = torch.tensor([[3.0, 1, 0], [0, 2, 5], [0, 9, 1], [4, 0, 1]])
    right, count = outputs.count_right(answers, torch.tensor([0, 2, 0, 0]))
    assert right.tolist() == [2, 0, 1] and count.tolist() == [3, 0, 1]


def test_stored_counts_are_those_of_the_images_and_are_read_without_them(zoo) -> None:
    counted = outputs.class_accuracy(zoo, "resnet")
    file = outputs.store(zoo, "resnet")
    with patch.object(type(zoo), "images", side_effect=DatasetMissing("no images")):
        np.testing.assert_array_equal(outputs.class_accuracy(zoo, "resnet"), counted)
        two = outputs.class_accuracy(zoo, "resnet", [zoo.classes[7], zoo.classes[2]])
        np.testing.assert_array_equal(two, counted[[7, 2]])
    answers, labels = outputs.outputs(zoo, "resnet", zoo.images("val"))
    hits = (answers.argmax(1) == labels)[labels == 7].double().mean()
    assert counted[7] == pytest.approx(float(hits))
    assert json.loads(file.read_text())["network_sha256"] == zoo.card("resnet")["sha256"]


def test_counts_of_other_weights_are_not_taken(zoo) -> None:
    right = outputs.class_accuracy(zoo, "resnet")
    file = outputs.store(zoo, "resnet")
    stale = json.loads(file.read_text()) | {"network_sha256": "0" * 64}
    stale["right"] = dict.fromkeys(stale["right"], 0)
    file.write_text(json.dumps(stale))
    np.testing.assert_array_equal(outputs.class_accuracy(zoo, "resnet"), right)
    missing = patch.object(type(zoo), "images", side_effect=DatasetMissing("get them there"))
    with missing, pytest.raises(outputs.NotCounted, match="other weights.*get them there"):
        outputs.class_accuracy(zoo, "resnet")


def test_an_unknown_class_is_named(zoo) -> None:
    with pytest.raises(KeyError, match="class of zoo shapes"):
        outputs.class_accuracy(zoo, "resnet", ["red dics"])


def test_the_command_writes_the_file(zoo, capsys) -> None:
    with patch.object(outputs, "load_zoo", return_value=zoo):
        outputs.main(["--zoo", "shapes", "--network", "resnet"])
    assert capsys.readouterr().out.strip().endswith("resnet.classes.json")
    assert zoo.path("resnet").with_suffix(".classes.json").exists()


@pytest.mark.parametrize("file", STORED, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_what_ships_adds_up_to_the_accuracy_of_the_manifest(file) -> None:
    zoo = zoos.load_zoo(file.parent.name)
    network = file.name.removesuffix(".classes.json")
    counts, card = json.loads(file.read_text()), zoo.card(network)
    assert counts["network_sha256"] == card["sha256"], "count anew: class_accuracy.store"
    assert set(counts["right"]) == set(counts["n"]) == set(zoo.classes)
    assert sum(counts["n"].values()) == card["accuracy"]["n"]
    share = sum(counts["right"].values()) / card["accuracy"]["n"]
    assert share == pytest.approx(card["accuracy"]["top1"], abs=1e-3)
