"""How well networks name what is in an image: counted anew, and as their manifests state it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from signseg_utils import zoos
from signseg_utils.analysis import stats

# Top-1 that is asked of a zoo's networks before it is worth going on: zoo -> network -> share.
GOALS: Mapping[str, Mapping[str, float]] = {
    "tinyimagenet": {"alexnet": 0.42, "vgg": 0.50, "resnet": 0.55},
    "efficientnet": {"lite0": 0.55, "lite1": 0.55, "lite2": 0.55},
}


@dataclass(frozen=True, eq=False)
class Recognition:
    """What a network said to images that hold an object.

    Attributes
    ----------
    pixels
        ``[image, 3, height, width]``, as the images have them.
    labels, answers
        ``[image]``, the class and the network's answer.
    """

    pixels: Tensor
    labels: Tensor
    answers: Tensor

    @property
    def top1(self) -> stats.Estimate:
        """Share of images whose own class wins, with Wilson's interval."""
        return stats.share(int((self.answers == self.labels).sum()), len(self.labels))

    @property
    def by_class(self) -> list[float]:
        """The same share in each class by itself."""
        hits = (self.answers == self.labels).double()
        return [float(hits[self.labels == label].mean()) for label in self.labels.unique()]

    def named(self, names: Sequence[str]) -> tuple[list[str], list[str]]:
        """Labels and answers in words; ``names`` of the classes."""
        return [names[label] for label in self.labels], [names[answer] for answer in self.answers]

    def errors(self, most: int = 6) -> Recognition:
        """The first images that the network got wrong."""
        wrong = (self.answers != self.labels).nonzero()[:most, 0]
        return Recognition(self.pixels[wrong], self.labels[wrong], self.answers[wrong])


def recognition(network: Any, images: zoos.Images, batch: int = 100) -> Recognition:
    """Show images to a network; those without an object (label -1) have no right answer."""
    known = images[images.labels >= 0]
    logits = [network.logits(part / 255) for part in known.pixels.split(batch)]
    return Recognition(known.pixels, known.labels, torch.cat(logits).argmax(1))


def stated(card: Mapping[str, Any]) -> stats.Estimate:
    """Top-1 as a network's manifest states it, with Wilson's interval."""
    top1, count = (card["accuracy"][key] for key in ("top1", "n"))
    return stats.share(round(top1 * count), count)


@dataclass(frozen=True, eq=False)
class Accuracy:
    """A network's top-1: as its manifest states it, and counted again where images are at hand.

    ``goal`` is what was asked of it (`GOALS`), if anything was.
    """

    stated: stats.Estimate
    counted: Recognition | None
    goal: float | None = None

    @property
    def top1(self) -> stats.Estimate:
        """Counted where it could be, else as stated."""
        return self.stated if self.counted is None else self.counted.top1

    @property
    def dots(self) -> list[float]:
        """Of each class where they could be counted, else the one that is stated."""
        return [self.stated.value] if self.counted is None else self.counted.by_class

    def errors(self, names: Sequence[str], most: int = 6) -> tuple[Any, list[str], list[str]]:
        """First images that the network got wrong, their classes and its answers in words.

        All are empty where nothing was counted.
        """
        if self.counted is None:
            return [], [], []
        wrong = self.counted.errors(most)
        return wrong.pixels, *wrong.named(names)

    def bar(self, reach: float = 0.02) -> dict[str, Any]:
        """What top-1 is held against: the goal, else what the manifest states, give or take.

        Returns
        -------
        dict
            ``centre`` and ``reach`` of the interval in which top-1 should lie, and ``bar`` in
            words. At least the goal is the same as within 1 - goal of 1.
        """
        if self.goal is None:
            words = f"{self.stated.value:.3f} ± {reach} (manifest)"
            return dict(centre=self.stated.value, reach=reach, bar=words)
        return dict(
            centre=1.0, reach=1 - self.goal, bar=f"at least {self.goal} (goal of this book)"
        )


def accuracy(networks: Mapping[str, Any], images: zoos.Images | None) -> dict[str, Accuracy]:
    """Top-1 of networks; ``images`` None: as stated alone."""
    return {
        name: Accuracy(
            stated(network.card),
            None if images is None else recognition(network, images),
            GOALS.get(network.card.get("zoo", ""), {}).get(name),
        )
        for name, network in networks.items()
    }


def by_content(images: zoos.Images | None) -> dict[str, Tensor]:
    """Pixels of images that hold an object and of such as hold none, as far as there are any."""
    if images is None:
        return {}
    empty = images.labels < 0
    found = {"with object": images.pixels[~empty], "no object": images.pixels[empty]}
    return {kind: pixels for kind, pixels in found.items() if len(pixels)}


def at_hand(zoo: Any, count: int, seed: int, photographs: bool) -> zoos.Images | None:
    """Validation images that may be shown: scenes drawn with ``seed``, or photographs if asked for.

    None where there are none; if photographs were asked for, why is printed.
    """
    try:
        if zoo.name == "shapes":
            return zoo.images("val", count, seed)
        return zoo.images("val", count) if photographs else None
    except zoos.DatasetMissing as missing:
        print(missing)
        return None


def surest(
    detector: Any, looks: Mapping[str, Tensor], each: int = 8
) -> tuple[Tensor, list[list[str]]]:
    """Surest box ``[image, 5]`` in the first images of each kind, confidences in words by kind."""
    found = [detector.boxes(pixels[:each]) for pixels in looks.values()]
    return torch.cat(found), [[f"{box[4]:.2f}" for box in boxes] for boxes in found]
