"""The contract of metrics: whatever file lies in their folder is found, looked up and measured."""

import dataclasses
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from signseg_utils import metrics
from signseg_utils.basics import draws, registry
from signseg_utils.metrics import Seen, recognition

COUNT, SIZE, CODE = 3, 16, 5


class Eye:
    """A detector and a distance that look at each image alone."""

    def objectness(self, images: torch.Tensor) -> torch.Tensor:
        return images.amax((1, 2, 3))

    def pairs(self, controls: torch.Tensor, images: torch.Tensor) -> SimpleNamespace:
        apart = (images[None] - controls[:, None]).square()
        return SimpleNamespace(values=apart.mean((2, 3, 4)))


class Masked:
    """A generator that knows its object: opaque where the first number of the code is below."""

    def masks(self, codes: torch.Tensor) -> torch.Tensor:
        rows = torch.linspace(0, 1, SIZE)[None, :, None].expand(len(codes), SIZE, SIZE)
        return (rows < codes[:, :1, None]).float()

    def foreground(self, codes: torch.Tensor) -> torch.Tensor:
        return self.masks(codes).mean((1, 2))


def looked(generator: object, which: slice = slice(None)) -> Seen:
    random = torch.Generator().manual_seed(0)
    images, controls = torch.rand(2, COUNT, 3, SIZE, SIZE, generator=random)
    seeds = torch.arange(COUNT)
    codes = torch.rand(COUNT, CODE, generator=random)
    eye = Eye()
    return Seen(images[which], controls, seeds[which], codes[which], generator, eye, eye)


@pytest.mark.parametrize("generator", [Masked(), object()], ids=["masks", "none"])
@pytest.mark.parametrize("name", registry.names("metrics"))
def test_each_image_is_measured_by_itself(name: str, generator: object) -> None:
    plugin = registry.load("metrics", name)
    values = plugin(looked(generator))
    assert values
    for place in range(COUNT):
        alone = plugin(looked(generator, slice(place, place + 1)))
        assert alone.keys() == values.keys()
        for key, value in values.items():
            assert value.shape == (COUNT,)
            torch.testing.assert_close(alone[key][0], value[place], equal_nan=True)


def test_no_two_metrics_give_a_measure_of_one_name() -> None:
    names = [
        key
        for name in registry.names("metrics")
        for key in registry.load("metrics", name)(looked(Masked()))
    ]
    assert len(names) == len(set(names))


def test_luminance_of_white_is_one_and_of_green_most() -> None:
    assert sum(metrics.LUMINANCE) == pytest.approx(1)
    images = torch.eye(3)[:, :, None, None].expand(3, 3, SIZE, SIZE)
    seen = Seen(images, images, torch.arange(3), torch.zeros(3, CODE), object(), Eye(), Eye())
    values = registry.load("metrics", "luminance")(seen)
    assert int(values["luminance"].argmax()) == 1
    assert values["contrast"].tolist() == [0, 0, 0]


def test_an_image_is_not_compared_with_the_control_of_its_own_search() -> None:
    seen = looked(object())
    found = registry.load("metrics", "lpips")(seen)["change"]
    pairs = Eye().pairs(seen.controls, seen.images).values
    for place in range(COUNT):
        others = [row for row in range(COUNT) if row != place]
        assert float(found[place]) == pytest.approx(float(pairs[others, place].mean()))
    alone = replace(seen, controls=seen.controls[:1], seeds=torch.zeros(COUNT, dtype=torch.long))
    assert registry.load("metrics", "lpips")(alone)["change"].isnan().all()


def test_white_behind_the_object_is_white_whatever_the_object() -> None:
    codes = torch.full((1, CODE), 0.5)
    mask = Masked().masks(codes)[:, None]
    images = 1 - mask * torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    values = registry.load("metrics", "foreground")(
        Seen(images, images, torch.arange(1), codes, Masked(), Eye(), Eye())
    )
    assert float(values["whiteness"]) == pytest.approx(1)
    assert float(values["background"]) == pytest.approx(1)
    assert float(values["foreground"]) == pytest.approx(0.5)


def test_a_file_in_the_folder_is_all_that_a_metric_takes(tmp_path, monkeypatch) -> None:
    (tmp_path / "redness.py").write_text(
        "def PLUGIN(seen):\n    return {'redness': seen.images[:, 0].mean((1, 2))}\n"
    )
    monkeypatch.setattr(metrics, "__path__", [*metrics.__path__, str(tmp_path)])
    assert "redness" in registry.names("metrics")
    seen = looked(object())
    values = registry.load("metrics", "redness")(seen)
    torch.testing.assert_close(values["redness"], seen.images[:, 0].mean((1, 2)))


def test_recognition_is_the_softmax_of_the_class_and_its_rank() -> None:
    logits = torch.log(torch.tensor([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25], [0.2, 0.3, 0.5]]))
    labels = torch.tensor([1, 0, -1])
    torch.testing.assert_close(
        recognition.probability(logits, labels),
        torch.tensor([0.2, 0.5, torch.nan], dtype=torch.float64),
        equal_nan=True,
    )
    assert recognition.rank(logits, labels)[:2].tolist() == [2, 1]
    assert recognition.rank(logits, torch.tensor([2, 1, 0])).tolist() == [1, 2, 3]
    assert recognition.rank(logits, labels)[2].isnan()


def test_recognition_is_the_mean_over_those_that_took_no_part() -> None:
    seen = looked(object())
    assert registry.load("metrics", "recognition")(seen)["recognition"].isnan().all()
    one, other = torch.eye(COUNT) * 9, torch.zeros(COUNT, COUNT)
    labels = torch.arange(COUNT)
    asked = dataclasses.replace(seen, answers={"a": one, "b": other}, labels=labels)
    values = registry.load("metrics", "recognition")(asked)
    sure = float(torch.softmax(one[0], 0)[0])
    assert values["recognition"].tolist() == pytest.approx([(sure + 1 / 3) / 2] * COUNT)
    assert values["recognition_rank"].tolist() == [1] * COUNT


def test_chance_is_what_answers_without_knowledge_give() -> None:
    random = draws.normal((4000, 10), 0)
    labels = torch.arange(4000) % 10
    level = recognition.chance(10)
    assert level == (0.1, 5.5)
    assert float(recognition.rank(random, labels).mean()) == pytest.approx(level.rank, abs=0.15)
    nothing = torch.zeros(3, 10)
    assert recognition.probability(nothing, labels[:3]).tolist() == pytest.approx([0.1] * 3)


def test_images_are_recognised_as_far_as_the_network_can() -> None:
    pixels = (255 * torch.eye(3)[:, :, None, None].expand(3, 3, 4, 4)).to(torch.uint8)

    def network(images: torch.Tensor) -> torch.Tensor:
        return 20 * images.mean((2, 3))

    level = recognition.of_images(network, pixels, torch.tensor([0, 1, 2]))
    assert level.probability > 0.99 and level.rank == 1
    wrong = recognition.of_images(network, pixels, torch.tensor([1, 1, -1]))
    assert wrong.rank == 1.5 and wrong.probability == pytest.approx(0.5, abs=0.01)
