"""How well networks recognise images, with networks whose answers are known."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from signseg_utils import zoos
from signseg_utils.analysis import recognition

NAMES = ("red", "green", "no object")


class Colour:
    """Answers with the brightest of the first two colours."""

    card = {"accuracy": {"top1": 0.5, "n": 40}}

    def logits(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.mean((2, 3))[:, :2]


def pictures(*colours: tuple[int, int], labels: list[int]) -> Any:
    """Images of one colour each."""
    pixels = torch.zeros(len(colours), 3, 4, 4, dtype=torch.uint8)
    for place, (red, green) in enumerate(colours):
        pixels[place, 0], pixels[place, 1] = red, green
    boxes = torch.full((len(colours), 4), torch.nan)
    return zoos.Images(pixels, torch.tensor(labels), boxes)


IMAGES = pictures((9, 0), (9, 0), (0, 9), (0, 9), (9, 9), labels=[0, 0, 1, 0, -1])


def test_images_without_an_object_are_not_counted() -> None:
    found = recognition.recognition(Colour(), IMAGES, batch=3)
    assert found.answers.tolist() == [0, 0, 1, 1]
    assert found.top1.value == 0.75 and found.top1.n == 4
    assert found.by_class == [pytest.approx(2 / 3), 1.0]


def test_errors_are_told_in_words() -> None:
    both = recognition.accuracy({"colour": Colour()}, IMAGES)["colour"]
    pixels, truth, taken = both.errors(NAMES)
    assert (truth, taken) == (["red"], ["green"]) and torch.equal(pixels, IMAGES.pixels[3:4])


def test_without_images_the_manifest_speaks() -> None:
    alone = recognition.accuracy({"colour": Colour()}, None)["colour"]
    assert alone.top1.value == 0.5 and alone.top1.n == 40 and alone.dots == [0.5]
    assert alone.errors(NAMES) == ([], [], [])


def test_top1_is_held_against_a_goal_or_the_manifest() -> None:
    alone = recognition.accuracy({"colour": Colour()}, None)["colour"]
    asked = dataclasses.replace(alone, goal=0.42).bar()
    assert asked["centre"] - asked["reach"] == pytest.approx(0.42)
    assert alone.bar() == dict(centre=0.5, reach=0.02, bar="0.500 ± 0.02 (manifest)")


def test_kinds_that_have_no_image_are_left_out() -> None:
    assert list(recognition.by_content(IMAGES)) == ["with object", "no object"]
    assert list(recognition.by_content(IMAGES[:4])) == ["with object"]
    assert recognition.by_content(None) == {}


def test_images_are_at_hand_only_where_they_may_be_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = []

    def images(*words: Any) -> Any:
        asked.append(words)
        if len(words) == 2:
            raise zoos.DatasetMissing("fetch them")
        return IMAGES

    zoo = SimpleNamespace(name="tinyimagenet", images=images)
    assert recognition.at_hand(zoo, 5, 1, photographs=False) is None and not asked
    assert recognition.at_hand(zoo, 5, 1, photographs=True) is None
    assert "fetch them" in capsys.readouterr().out
    zoo.name = "shapes"
    assert recognition.at_hand(zoo, 5, 1, photographs=False) is IMAGES
    assert asked[-1] == ("val", 5, 1)


def test_boxes_come_with_captions_by_kind() -> None:
    class Detector:
        def boxes(self, pixels: torch.Tensor) -> torch.Tensor:
            return torch.full((len(pixels), 5), 0.5)

    looks = {"a": IMAGES.pixels, "b": IMAGES.pixels[:2]}
    boxes, captions = recognition.surest(Detector(), looks, each=3)
    assert boxes.shape == (5, 5) and captions == [["0.50"] * 3, ["0.50"] * 2]
