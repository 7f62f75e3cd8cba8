"""What a network answers to the validation images of its zoo, and how well it knows each class.

The images of a zoo need not be at hand: how many of each class a network gets right is stored
beside its weights, as ``<network>.classes.json``. ``python -m
signseg_utils.experiments.class_accuracy --zoo tinyimagenet --network resnet`` writes it anew.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from signseg_utils import registry
from signseg_utils.files.paths import write_text
from signseg_utils.files.reading import read_json
from signseg_utils.progress import each
from signseg_utils.refusals import BadFile, Refusal, UnknownName
from signseg_utils.zoos import Images, Zoo, load_zoo


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


def class_accuracy(
    zoo: Zoo, network: str, units: Sequence[str] | None = None, missing: float | None = None
) -> np.ndarray:
    """Top-1 accuracy of a network for each class, over the validation images: [class].

    From the stored counts if they are those of the present weights, else counted on the images.

    Parameters
    ----------
    units
        Classes, in the order of the result; default: all of the zoo.
    missing
        Stands for what nobody counted; None: that is an error.

    Raises
    ------
    NotCounted
        If there are no such counts, the images are not on this machine, and nothing stands for
        them.
    """
    file = _file(zoo, network)
    again = f"make it anew: python -m signseg_utils.experiments.class_accuracy --zoo {zoo.name}"
    counts = read_json(file, "counts of right answers", again) if file.exists() else {}
    if counts.get("network_sha256") != zoo.card(network)["sha256"]:
        try:
            counts = _counted(zoo, network)
        except FileNotFoundError as absent:
            if missing is not None:
                return np.full(len(units or zoo.classes), missing)
            raise NotCounted(
                f"expected accuracies of the present weights of {network} in {file}, or images "
                f"to count them on; {'they are of other weights' if counts else 'no such file'}, "
                f"and of the images: {absent}"
            ) from absent
    named = units or zoo.classes
    unknown = [unit for unit in named if unit not in zoo.classes]
    if unknown:
        raise UnknownName(registry.unknown(f"class of zoo {zoo.name}", unknown[0], zoo.classes))
    try:
        right, count = (np.array([counts[kind][unit] for unit in named]) for kind in ("right", "n"))
    except (KeyError, TypeError) as error:
        raise BadFile(
            f"expected 'right' and 'n' of each class in {file}; got none for {error}; {again}"
        ) from error
    accuracy: np.ndarray = right / np.where(count == 0, np.nan, count)
    return accuracy


def store(zoo: Zoo, network: str) -> Path:
    """Count on the validation images and write the file that `class_accuracy` reads.

    Raises
    ------
    signseg_utils.zoos.DatasetMissing
        If the images are not on this machine.
    """
    file = _file(zoo, network)
    write_text(file, json.dumps(_counted(zoo, network), indent=1) + "\n")
    return file


def _counted(zoo: Zoo, network: str) -> dict[str, object]:
    right, count = count_right(*outputs(zoo, network, zoo.images("val")))
    by_name = [dict(zip(zoo.classes, of.tolist(), strict=True)) for of in (right, count)]
    sha256 = zoo.card(network)["sha256"]
    return {"network_sha256": sha256, "split": "val", "right": by_name[0], "n": by_name[1]}


def _file(zoo: Zoo, network: str) -> Path:
    return zoo.path(network).with_suffix(".classes.json")


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(
        prog="signseg experiment class_accuracy",
        description="Count how many validation images of each class a network gets right.",
    )
    parser.add_argument("--zoo", required=True, choices=registry.names("zoos"))
    parser.add_argument("--network", default="resnet", help="(%(default)s)")
    given = parser.parse_args(arguments)
    load_zoo(given.zoo).config(given.network)
    print(store(load_zoo(given.zoo), given.network))


if __name__ == "__main__":
    main()
