"""What a network answers to the validation images of its zoo, and how well it knows each class.

The images of a zoo need not be at hand: how many of each class a network gets right is stored.
``signseg experiment class_accuracy --zoo tinyimagenet --network resnet`` counts
anew.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from signseg_utils.basics import registry
from signseg_utils.basics.progress import each
from signseg_utils.basics.refusals import Refusal, UnknownName
from signseg_utils.experiments import base
from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import Cell, Experiment, Option, State, forget
from signseg_utils.zoos import DatasetMissing, Images, Zoo


class NotCounted(Refusal, FileNotFoundError):
    """Neither the stored counts of this network nor images to count on; the message says why."""


@torch.inference_mode()
def outputs(zoo: Zoo, network: str, images: Images, batch: int = 100) -> tuple[Tensor, Tensor]:
    """Pre-softmax outputs [image, class] and labels [image], for images that hold an object."""
    model = zoo.network(network)
    known = images[images.labels >= 0]
    parts = each(known.pixels.split(batch), "batches", f"accuracy of {network}")
    answers = [model.logits(pixels / 255) for pixels in parts]
    return torch.cat(answers), known.labels


def count_right(answers: Tensor, labels: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Images whose own class has the highest output, and all images, of each class: [class]."""
    classes = answers.shape[1]
    hits = labels[answers.argmax(1) == labels]
    right, count = (torch.bincount(of, minlength=classes).numpy() for of in (hits, labels))
    return right, count


@dataclass(frozen=True)
class ClassAccuracy(Experiment):
    """How many validation images of each class a network gets right."""

    KIND: ClassVar[str] = "class_accuracy"
    UNIT: ClassVar[str] = "networks"
    WHAT: ClassVar[str] = "stored counts, made again"
    AGREEMENT: ClassVar[Mapping[str, Agreement]] = {"right": Agreement(cells=50, by=2)}  # near ties
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("zoo", "whose classes and images", None),
        Option("network", "that recognises them", "resnet"),
    )

    zoo: str
    network: str

    @property
    def names(self) -> tuple[str, ...]:
        return (self.network,)

    def identity(self, zoo: Zoo) -> dict[str, Any]:
        sha256 = zoo.card(self.network)["sha256"]
        return {**self.settings, "version": self.VERSION, "split": "val", "network_sha256": sha256}

    def compute(
        self,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
        device: str = "cpu",
    ) -> xr.Dataset:
        """``right`` and ``n`` [class]; DatasetMissing if the images are not on this machine."""
        right, count = count_right(*outputs(zoo, self.network, zoo.images("val")))
        along = {"class": list(zoo.classes)}
        return xr.Dataset({"right": ("class", right), "n": ("class", count)}, along)

    def cells(self, zoo: Zoo, stored: xr.Dataset) -> list[Cell]:
        """All at once, if the images are here."""
        try:
            zoo.images("val")
        except DatasetMissing:
            return []
        return [()]

    def rescore(self, zoo: Zoo, stored: xr.Dataset, sample: Sequence[Cell]) -> list[Comparison]:
        """Count again."""
        again = self.compute(zoo)
        return [self.compared(name, stored[name], again[name]) for name in ("right", "n")]

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: Zoo) -> list["ClassAccuracy"]:
        """One network."""
        return [ClassAccuracy(given.zoo, given.network)]

    @classmethod
    def told(cls, plan: Sequence["ClassAccuracy"], found: Sequence[xr.Dataset], zoo: Zoo) -> str:
        """How many images the network gets right."""
        right, count = (int(found[0][name].sum()) for name in ("right", "n"))
        return f"{plan[0].key}: {right} of {count} images right"


def class_accuracy(
    zoo: Zoo,
    network: str,
    units: Sequence[str] | None = None,
    missing: float | None = None,
    fewest: int = 1,
) -> np.ndarray:
    """Top-1 accuracy of a network for each class, over the validation images: [class].

    From the stored counts if they are those of the present weights, else counted on the images.

    Parameters
    ----------
    units
        Classes, in the order of the result; default: all of the zoo.
    missing
        Stands for what nobody counted; None: that is an error.
    fewest
        Images of a class that make an accuracy; it is NaN where there are fewer.

    Raises
    ------
    NotCounted
        If there are no such counts, the images are not on this machine, and nothing stands for
        them.
    """
    named = list(units or zoo.classes)
    unknown = [unit for unit in named if unit not in zoo.classes]
    if unknown:
        raise UnknownName(registry.unknown(f"class of zoo {zoo.name}", unknown[0], zoo.classes))
    zoo.card(network)  # its weights must be here in any case
    try:
        counts = base.obtain([ClassAccuracy(zoo.name, network)], zoo).found[0]
    except FileNotFoundError as absent:
        if missing is not None:
            return np.full(len(named), missing)
        raise NotCounted(
            f"expected stored accuracies of the present weights of {network}, or images to count "
            f"them on; there are none, and of the images: {absent}"
        ) from absent
    right, count = (counts[name].sel({"class": named}).values for name in ("right", "n"))
    accuracy: np.ndarray = right / np.where(count < fewest, np.nan, count)
    return accuracy


PLUGIN = ClassAccuracy
