"""One class from each cluster, on clusters that were planted."""

import re

import numpy as np
import pytest
import torch

from signseg_utils import zoos
from signseg_utils.experiments.class_accuracy import outputs
from signseg_utils.experiments.diverse_units import LINKAGES, diverse_units, one_per_cluster
from signseg_utils.zoos import DatasetMissing

SIZES = (12, 9, 5)


def planted(labels: list[list[int]], classes: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of images in tight, far groups; ``labels[group]`` are those of its images."""
    rng = np.random.default_rng(0)
    middles = 20 * np.eye(classes)[: len(labels)] + 5
    groups = [
        middle + rng.normal(0, 0.1, (len(group), classes))
        for middle, group in zip(middles, labels, strict=True)
    ]
    return np.concatenate(groups), np.concatenate(labels)


@pytest.mark.parametrize("linkage", LINKAGES)
def test_planted_clusters_are_found_and_give_their_commonest_class(linkage: str) -> None:
    labels = [[3] * 5, [1] * 9, [4] * 10 + [2] * 2]
    answers, shown = planted(labels)
    found = one_per_cluster(answers, shown, 3, linkage=linkage)
    assert found.classes.tolist() == [4, 1, 3]  # the largest cluster first
    assert found.cluster.tolist() == [2] * 5 + [1] * 9 + [0] * 12
    np.testing.assert_allclose(found.share, [10 / 12, 1, 1])


def test_a_class_is_taken_once() -> None:
    answers, shown = planted([[0] * 12, [0] * 6 + [5] * 3, [0] * 4 + [5]])
    found = one_per_cluster(answers, shown, 3)
    assert found.classes[:2].tolist() == [0, 5]  # most images of the second show 0, which is taken
    # All that the third shows is taken: it gets the free class to which it answers most (column 2).
    assert found.classes[2] == 2 and found.share[2] == 0
    assert len(set(found.classes.tolist())) == 3


def test_a_tie_goes_to_the_larger_mean_output() -> None:
    answers, shown = planted([[0, 0, 1, 1, 3], [4] * 4])
    answers[:5, 1] += 50
    assert one_per_cluster(answers, shown, 2).classes[0] == 1


def test_order_of_images_and_repetition_change_nothing() -> None:
    answers, shown = planted([[0] * 7, [1] * 6, [2] * 5, [3] * 4])
    order = np.random.default_rng(1).permutation(len(shown))
    once, again = (one_per_cluster(answers, shown, 4) for _ in range(2))
    mixed = one_per_cluster(answers[order], shown[order], 4)
    assert once.classes.tolist() == again.classes.tolist() == mixed.classes.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(once.cluster[order], mixed.cluster)


def test_as_many_clusters_as_classes_take_all_and_one_takes_one() -> None:
    answers, shown = planted([[0, 1, 2] * 5, [3, 4, 5] * 3])
    assert sorted(one_per_cluster(answers, shown, 6).classes) == list(range(6))
    assert one_per_cluster(answers, shown, 1).cluster.max() == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clusters": 7}, "expected 1 to 6 clusters, because each takes a class of its own"),
        ({"clusters": 0}, "expected 1 to 6 clusters"),
        ({"labels": np.zeros(3, int)}, "expected outputs [image, class] and labels [image]"),
        ({"labels": np.full(26, -1)}, "expected labels that are columns of the outputs, 0 to 5"),
        ({"labels": np.full(26, 0.5)}, "expected labels that are columns"),
        ({"outputs": np.full((26, 6), np.nan)}, "expected finite outputs"),
        ({"outputs": np.zeros((2, 6)), "labels": np.zeros(2, int)}, "expected at least 3 images"),
        ({"linkage": "nearest"}, "expected linkage to be one of ward"),
    ],
)
def test_what_cannot_be_clustered_is_named(change: dict, message: str) -> None:
    answers, shown = planted([[group] * size for group, size in enumerate(SIZES)])
    given = {"outputs": answers, "labels": shown, "clusters": 3} | change
    with pytest.raises(ValueError, match=re.escape(message)):
        one_per_cluster(**given)


def test_units_of_a_network_are_names_of_its_classes(tiny_zoo) -> None:
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    found = diverse_units(zoo, "resnet", 5, limit=80)
    assert len(set(found)) == 5 and set(found) <= set(zoo.classes)
    answers, labels = outputs(zoo, "resnet", zoo.images("val", 80))
    expected = one_per_cluster(answers.numpy(), labels.numpy(), 5)
    assert found == tuple(zoo.classes[number] for number in expected.classes)


def test_all_classes_need_no_images(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SIGNSEG_DATASETS", str(tmp_path))
    zoo = zoos.load_zoo("tinyimagenet", tmp_path)
    assert diverse_units(zoo, "resnet", 0) == zoo.classes
    assert diverse_units(zoo, "resnet", len(zoo.classes)) == zoo.classes
    with pytest.raises(DatasetMissing, match="SIGNSEG_DATASETS"):
        diverse_units(zoo, "resnet", 5)
    with pytest.raises(ValueError, match="expected 1 to 100 clusters.*; got 101"):
        diverse_units(zoo, "resnet", 101)


def test_images_without_an_object_are_left_out(tiny_zoo) -> None:
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    images = zoo.images("val", 60)
    answers, labels = outputs(zoo, "resnet", images, batch=7)
    assert (images.labels < 0).any() and len(answers) == int((images.labels >= 0).sum())
    alone = zoo.network("resnet").logits(images.pixels[images.labels >= 0][:3] / 255)
    torch.testing.assert_close(answers[:3], alone)
    assert (labels >= 0).all()
