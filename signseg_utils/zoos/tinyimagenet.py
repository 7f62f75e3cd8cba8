"""100 classes of Tiny ImageNet: natural images of 64 pixels with object boxes.

Tiny ImageNet (Stanford CS231n) reduces ImageNet; research use. The images do not ship: pass a
folder or an archive in ``$SIGNSEG_DATASETS``, or let ``download()`` fetch them.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from signseg_utils.basics.refusals import BadFile
from signseg_utils.files import paths
from signseg_utils.files.images import decode, open_zip, read_member
from signseg_utils.files.reading import read_bytes
from signseg_utils.zoos import DatasetMissing, Images, Zoo, shuffled
from signseg_utils.zoos._families import families
from signseg_utils.zoos._tinyimagenet_classes import CLASSES

ARCHIVES = ("tiny-imagenet-100.zip", "tiny-imagenet-200.zip")
FOLDERS = ("tiny-imagenet-100", "tiny-imagenet-200")


class TinyImageNet(Zoo):
    """Natural images; AlexNet-, VGG- and ResNet-like networks trained by this project."""

    name = "tinyimagenet"
    seeds_ship = False  # some 2 MB each
    image_size = 64
    classes = tuple(CLASSES.values())
    default_units = (
        "baboon",
        "tabby",
        "golden retriever",
        "school bus",
        "orange",
        "sports car",
        "teapot",
        "monarch",
        "beacon",
        "goldfish",
    )
    network_configs = {
        "alexnet": dict(family="alexnet", widths=(32, 64, 112), depths=(1, 1), image_size=64),
        "vgg": dict(family="vgg", widths=(32, 64, 128, 256), depths=(1, 2, 2), image_size=64),
        "resnet": dict(family="resnet", widths=(32, 48, 96, 192), depths=(1, 1, 1), image_size=64),
    }
    family_configs = families(network_configs)
    generators = ("pca", "decoder")
    generator_modules = {"pca": "spectral", "decoder": "decoder"}

    def images(self, split: str, limit: int | None = None) -> Images:
        if split not in ("train", "val"):
            raise ValueError(f"expected split to be 'train' or 'val'; got {split!r}")
        reader = _reader()
        rows = reader.boxes(split)
        if limit is not None:
            rows = [rows[i] for i in shuffled(len(rows))[:limit].tolist()]
        numbers = {wnid: number for number, wnid in enumerate(CLASSES)}
        pixels = torch.empty(len(rows), 3, 64, 64, dtype=torch.uint8)
        for index, (wnid, file, _) in enumerate(rows):
            pixels[index] = reader.pixels(split, wnid, file)
        return Images(
            pixels,
            torch.tensor([numbers[wnid] for wnid, _, _ in rows]),
            torch.tensor([box for _, _, box in rows], dtype=torch.float32),
        )


_AGAIN = "take the archive as it is published"
Row = tuple[str, str, tuple[float, ...]]


class _Reader:
    """Reads either public layout, from a folder or straight from its zip archive."""

    def __init__(self, source: Path):
        self.source = source
        self.archive = open_zip(source) if source.suffix == ".zip" else None
        self.names = frozenset(self.archive.namelist()) if self.archive else frozenset()
        self.root = source.stem + "/" if self.archive else str(source) + "/"

    def read(self, name: str) -> bytes:
        try:
            if self.archive:
                return read_member(self.archive, self.root + name, f"{self.source}/{name}")
            return read_bytes(self.source / name, "a file of Tiny ImageNet")
        except (KeyError, FileNotFoundError) as error:
            raise DatasetMissing(
                f"expected {name} in {self.source}; it is not there; is the archive complete?"
            ) from error

    def lines(self, name: str) -> list[str]:
        """Lines of a text file."""
        try:
            return self.read(name).decode().splitlines()
        except UnicodeDecodeError as error:
            raise BadFile(
                f"expected text in UTF-8 in {name} of {self.source}; got {error}; {_AGAIN}"
            ) from error

    def has(self, name: str) -> bool:
        if self.archive:
            return self.root + name in self.names
        return Path(self.root + name).exists()

    def boxes(self, split: str) -> list[Row]:
        """Class, file and box of each image of ``split``, of this zoo's classes only."""
        rows = list(self._table(split) if self.has("boxes.csv") else self._stanford(split))
        kept = sorted(row for row in rows if row[0] in CLASSES)
        if len({row[0] for row in kept}) != len(CLASSES):
            raise DatasetMissing(
                f"expected images of all {len(CLASSES)} classes in {self.root}; got "
                f"{len({row[0] for row in kept})} classes; is the archive complete?"
            )
        return kept

    def _table(self, split: str) -> Iterator[Row]:
        for number, row in enumerate(csv.DictReader(self.lines("boxes.csv")), 2):
            box = self._box([row.get(key) for key in ("x0", "y0", "x1", "y1")], "boxes.csv", number)
            if row.get("split") == split:
                yield str(row.get("wnid")), str(row.get("file")), box

    def _stanford(self, split: str) -> Iterator[Row]:
        if split == "val":
            name = "val/val_annotations.txt"
            for number, line in enumerate(self.lines(name), 1):
                file, wnid, *box = (line + "\t").split("\t")
                yield wnid, file, self._box(box[:4], name, number)
            return
        for wnid in CLASSES:
            name = f"train/{wnid}/{wnid}_boxes.txt"
            for number, line in enumerate(self.lines(name), 1):
                file, *box = line.split("\t")
                yield wnid, file, self._box(box, name, number)

    def _box(self, values: Sequence[str | None], name: str, row: int) -> tuple[float, ...]:
        """Four finite numbers, or a refusal that names the row."""
        try:
            box = tuple(float(value or "") for value in values)
        except ValueError:
            box = ()
        if len(box) != 4 or not all(map(math.isfinite, box)):
            raise BadFile(
                f"expected four numbers x0, y0, x1, y1 in row {row} of {name} in {self.source}; "
                f"got {', '.join(map(str, values))}; {_AGAIN}"
            )
        return box

    def pixels(self, split: str, wnid: str, file: str) -> Tensor:
        for folder in (wnid, f"{wnid}/images", "images"):
            name = f"{split}/{folder}/{file}"
            if self.has(name):
                pixels = decode(self.read(name), f"{self.source}/{name}")
                if pixels.shape != (3, 64, 64):
                    raise BadFile(
                        f"expected an image of 64 x 64 pixels at {self.source}/{name}; got "
                        f"{pixels.shape[2]} x {pixels.shape[1]}; take the archive as published"
                    )
                return pixels
        raise DatasetMissing(
            f"expected image {file} of class {wnid} in {self.root}{split}; it is not there; "
            "is the archive complete?"
        )


def _reader() -> _Reader:
    folder = paths.dataset_folder()
    for name in (*FOLDERS, *ARCHIVES):
        if (folder / name).exists():
            return _Reader(folder / name)
    raise DatasetMissing(
        f"expected Tiny ImageNet in {folder} (one of {', '.join((*FOLDERS, *ARCHIVES))}); nothing "
        "found; set SIGNSEG_DATASETS to the folder that holds it, or fetch it with "
        "'signseg fetch tiny-imagenet-200.zip'"
    )


def download() -> Path:
    """Fetch the public archive (checked, 237 MB) into the dataset folder."""
    from signseg_utils.files import (
        fetch,  # what it imports warns in notebooks, and is seldom needed
    )

    return fetch.fetch("tiny-imagenet-200.zip", paths.dataset_folder())


PLUGIN = TinyImageNet
