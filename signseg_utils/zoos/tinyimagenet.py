"""100 classes of Tiny ImageNet: natural images of 64 pixels with object boxes.

Tiny ImageNet (Stanford CS231n) reduces ImageNet; research use. The images do not ship: pass a
folder or an archive in ``$SIGNSEG_DATASETS``, or let ``download()`` fetch them.
"""

import csv
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from signseg_utils.files import paths
from signseg_utils.zoos import DatasetMissing, Images, Zoo, shuffled
from signseg_utils.zoos._families import families
from signseg_utils.zoos._tinyimagenet_classes import CLASSES

ARCHIVES = ("tiny-imagenet-100.zip", "tiny-imagenet-200.zip")
FOLDERS = ("tiny-imagenet-100", "tiny-imagenet-200")


class TinyImageNet(Zoo):
    """Natural images; AlexNet-, VGG- and ResNet-like networks trained by this project."""

    name = "tinyimagenet"
    image_size = 64
    classes = tuple(CLASSES.values())
    default_units = (
        "baboon", "tabby", "golden retriever", "school bus", "orange", "sports car",
        "teapot", "monarch", "beacon", "goldfish",
    )
    network_configs = {
        "alexnet": dict(family="alexnet", widths=(32, 64, 112), depths=(1, 1), image_size=64),
        "vgg": dict(
            family="vgg", widths=(32, 64, 128, 256), depths=(1, 2, 2), image_size=64
        ),
        "resnet": dict(
            family="resnet", widths=(32, 48, 96, 192), depths=(1, 1, 1), image_size=64
        ),
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


Row = tuple[str, str, tuple[float, ...]]


class _Reader:
    """Reads either public layout, from a folder or straight from its zip archive."""

    def __init__(self, source: Path):
        self.archive = zipfile.ZipFile(source) if source.suffix == ".zip" else None
        self.names = frozenset(self.archive.namelist()) if self.archive else frozenset()
        self.root = source.stem + "/" if self.archive else str(source) + "/"

    def read(self, name: str) -> bytes:
        if self.archive:
            return self.archive.read(self.root + name)
        return Path(self.root + name).read_bytes()

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
        for row in csv.DictReader(io.StringIO(self.read("boxes.csv").decode())):
            if row["split"] == split:
                box = tuple(float(row[key]) for key in ("x0", "y0", "x1", "y1"))
                yield row["wnid"], row["file"], box

    def _stanford(self, split: str) -> Iterator[Row]:
        if split == "val":
            for line in self.read("val/val_annotations.txt").decode().splitlines():
                file, wnid, *box = line.split("\t")
                yield wnid, file, tuple(float(value) for value in box)
            return
        for wnid in CLASSES:
            for line in self.read(f"train/{wnid}/{wnid}_boxes.txt").decode().splitlines():
                file, *box = line.split("\t")
                yield wnid, file, tuple(float(value) for value in box)

    def pixels(self, split: str, wnid: str, file: str) -> Tensor:
        for folder in (wnid, f"{wnid}/images", "images"):
            name = f"{split}/{folder}/{file}"
            if self.has(name):
                with Image.open(io.BytesIO(self.read(name))) as image:
                    return pil_to_tensor(image.convert("RGB"))
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
