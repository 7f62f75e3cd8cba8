"""Counts of right answers: by hand, stored, stale, and as the manifests state."""

from unittest.mock import patch

import numpy as np
import pytest
import torch

from signseg_utils import zoos
from signseg_utils.cli import experiment as command
from signseg_utils.experiments import base
from signseg_utils.experiments import class_accuracy as outputs
from signseg_utils.files import paths
from signseg_utils.files.store import Store
from signseg_utils.zoos import DatasetMissing


@pytest.fixture
def zoo(tiny_zoo, tmp_path, monkeypatch):
    """The tiny zoo with few images, in a folder of its own."""
    for file in tiny_zoo.glob("resnet.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    opened = zoos.load_zoo("shapes", tmp_path)
    few = opened.images("val", 120)
    monkeypatch.setenv("SIGNSEG_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with patch.object(type(opened), "images", lambda self, split: few):
        yield opened


def test_right_answers_are_counted_by_class() -> None:
    answers = torch.tensor([[3.0, 1, 0], [0, 2, 5], [0, 9, 1], [4, 0, 1]])
    right, count = outputs.count_right(answers, torch.tensor([0, 2, 0, 0]))
    assert right.tolist() == [2, 0, 1] and count.tolist() == [3, 0, 1]


ONE = outputs.ClassAccuracy("shapes", "resnet")


def test_stored_counts_are_those_of_the_images_and_are_read_without_them(zoo, tmp_path) -> None:
    counted = outputs.class_accuracy(zoo, "resnet")
    found = base.run([ONE], zoo, tmp_path / "results" / "shapes")
    assert base.demand(base.audit([ONE], found, zoo)) == 2 * len(zoo.classes)
    with patch.object(type(zoo), "images", side_effect=DatasetMissing("no images")):
        np.testing.assert_array_equal(outputs.class_accuracy(zoo, "resnet"), counted)
        two = outputs.class_accuracy(zoo, "resnet", [zoo.classes[7], zoo.classes[2]])
        np.testing.assert_array_equal(two, counted[[7, 2]])
        assert base.audit([ONE], found, zoo) == []
    answers, labels = outputs.outputs(zoo, "resnet", zoo.images("val"))
    hits = (answers.argmax(1) == labels)[labels == 7].double().mean()
    assert counted[7] == pytest.approx(float(hits))


def test_counts_of_other_weights_are_not_taken(zoo, tmp_path) -> None:
    (found,) = base.run([ONE], zoo, tmp_path / "made")
    stale = found.drop_attrs().assign(right=found["right"] * 0)
    told = ONE.identity(zoo) | {"network_sha256": "0" * 64}
    Store(tmp_path / "results" / "shapes").write(ONE.key, stale, told)
    missing = patch.object(type(zoo), "images", side_effect=DatasetMissing("get them there"))
    with missing, pytest.warns(UserWarning), pytest.raises(outputs.NotCounted, match="get them"):
        outputs.class_accuracy(zoo, "resnet")
    with pytest.warns(UserWarning, match="network_sha256"):
        right = outputs.class_accuracy(zoo, "resnet")
    np.testing.assert_array_equal(right, (found["right"] / found["n"]).where(found["n"] > 0))


def test_an_unknown_class_is_named(zoo) -> None:
    with pytest.raises(KeyError, match="class of zoo shapes"):
        outputs.class_accuracy(zoo, "resnet", ["red dics"])


def test_the_command_counts_and_stores(zoo, tmp_path, capsys) -> None:
    with patch.object(zoos, "load_zoo", return_value=zoo):
        command.main(["class_accuracy", "--zoo", "shapes", "--network", "resnet"])
    assert "images right" in capsys.readouterr().out
    assert len(base.read([ONE], zoo, tmp_path / "results" / "shapes")) == 1


@pytest.mark.parametrize("name", ["shapes", "tinyimagenet"])
def test_what_ships_adds_up_to_the_accuracy_of_the_manifest(name) -> None:
    zoo, one = zoos.load_zoo(name), outputs.ClassAccuracy(name, "resnet")
    (counts,) = base.read([one], zoo, paths.results_folder(name))
    card = zoo.card("resnet")
    assert set(counts["class"].values) == set(zoo.classes)
    assert int(counts["n"].sum()) == card["accuracy"]["n"]
    share = int(counts["right"].sum()) / card["accuracy"]["n"]
    assert share == pytest.approx(card["accuracy"]["top1"], abs=1e-3)
