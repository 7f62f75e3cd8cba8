"""The paper's own networks and generators, at 224 and 256 pixels, from their public weights.

Nothing of it ships: each file is fetched when it is first needed, and checked
(`signseg_utils.files.fetch`; terms in `signseg_utils.files.sources`). A GPU should run it; what a
sweep takes, ``signseg sweep --zoo imagenet --estimate`` says
beforehand.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from signseg_utils.basics import registry
from signseg_utils.basics.refusals import UnknownName
from signseg_utils.files import checkpoints, fetch, paths, weights
from signseg_utils.files.sources import REGISTRY, Remote
from signseg_utils.zoos import DatasetMissing, Images, Zoo
from signseg_utils.zoos._imagenet_classes import CLASSES, UNITS
from signseg_utils.zoos._imagenet_networks import FAMILIES, JUDGES, STANDARD

CONFIG = "biggan-deep-256-config.json"
DETECTOR = "yolo11m.pt"
ALEXNET = "alexnet-owt-7be5be79.pth"  # LPIPS is defined on it


class ImageNet(Zoo):
    """1,000 classes; AlexNet, VGG16, ResNet50, their families; DeePSiM and BigGAN.

    Parameters
    ----------
    folder
        Where downloads are kept; default ``downloads/`` in the cache folder.
    remotes
        What is published where; default `signseg_utils.files.sources.REGISTRY`.
    """

    name = "imagenet"
    ships = False
    image_size = 224
    classes = CLASSES
    default_units = tuple(map(CLASSES.__getitem__, UNITS))
    network_configs = STANDARD
    family_configs = FAMILIES
    judges = JUDGES
    generators = ("deepsim", "biggan")
    generator_modules = {"deepsim": "deepsim", "biggan": "biggan"}
    generator_files: Mapping[str, str] = {
        "deepsim": "upconvGAN_fc6.pt",
        "biggan": "biggan-deep-256-pytorch_model.bin",
    }
    generator_options: Mapping[str, Mapping[str, Any]] = {"deepsim": {}, "biggan": {}}
    detector_size = 640

    def __init__(self, folder: Path | None = None, remotes: Mapping[str, Remote] | None = None):
        self.folder = Path(folder) if folder is not None else paths.cache_folder() / "downloads"
        self.remotes = REGISTRY if remotes is None else remotes

    def images(self, split: str, limit: int | None = None) -> Images:
        if split not in ("train", "val"):
            raise ValueError(f"expected split to be 'train' or 'val'; got {split!r}")
        raise DatasetMissing(
            "expected images of ImageNet; this zoo reads none, because chapters 2 to 8 take "
            "networks and generators and leave out what needs images; take zoo tinyimagenet for it"
        )

    def placed(self, kind: str) -> dict[str, dict[str, Any]]:
        """None: the folder holds what others publish, which brings no manifests."""
        return {}

    def path(self, artefact: str) -> Path:
        return self._substitute(artefact) or fetch.located(self.file(artefact), self.folder)

    def file(self, artefact: str) -> str:
        """Name of the published file of a network or generator."""
        if artefact in self.generators:
            return self.generator_files[artefact]
        return str(self.config(artefact)["file"])

    def card(self, artefact: str) -> dict[str, Any]:
        if artefact in self.generators:
            found = {
                "kind": "generator",
                "module": self.generator_modules[artefact],
                "config": dict(self.generator_options[artefact]),
            }
        else:
            found = self._network_card(self.config(artefact))
        remote = self.remotes[self.file(artefact)]
        published = {"url": remote.url, "licence": remote.licence}
        return {
            **found,
            "name": artefact,
            "zoo": self.name,
            **published,
            "sha256": self.fingerprint(artefact),
        }

    @staticmethod
    def _network_card(config: Mapping[str, Any]) -> dict[str, Any]:
        top1, top5 = config["accuracy"]
        recipe = {"epsilon": config["epsilon"]} if "epsilon" in config else {}
        return {
            "kind": "network",
            "module": config["source"],
            "config": {k: v for k, v in config.items() if k not in ("source", "file", "accuracy")},
            "accuracy": {"top1": top1, "top5": top5, "n": 50_000, "source": "published"},
            "recipe": recipe,
            # Where training began is not public: seed 0 draws a start that stands in for it.
            "seed": 0,
            "start": "drawn anew, not the one that training began from",
        }

    def fingerprint(self, artefact: str) -> str:
        return _sha256(*_stamp(self._fetched(artefact)))

    def state(self, network: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        card = self.card(network)  # first of all refuses a name that nobody knows
        path = self._fetched(network)
        plugin = registry.load("networks", card["module"])
        unpacked = plugin.unpack(checkpoints.read(path), str(path))
        return plugin(card["config"]).named(unpacked), card

    def generator(self, name: str) -> nn.Module:
        if name not in self.generators:
            raise UnknownName(
                registry.unknown(f"generator of zoo {self.name}", name, self.generators)
            )
        path = self._fetched(name)
        module = self._empty_generator(name)
        module.take(checkpoints.read(path), str(path))
        made: nn.Module = module.eval().requires_grad_(False)
        return made

    def _empty_generator(self, name: str) -> Any:
        if name == "biggan" and CONFIG in self.remotes and not self.generator_options[name]:
            fetch.fetch(CONFIG, self.folder, registry=self.remotes)  # the hash says it is DEEP_256
        plugin = registry.load("generators", self.generator_modules[name])
        return plugin(**self.generator_options[name])

    def detector(self) -> Any:
        from signseg_utils.metrics.objectness import Detector

        return Detector.published(self._file(DETECTOR), self.detector_size)

    def perceptual(self, judge: str) -> Any:
        from signseg_utils.metrics.lpips import Perceptual

        return Perceptual.real(self._file(ALEXNET))

    def timing_backbone(self, network: str) -> nn.Module:
        """With random weights: speed does not depend on them, and nothing need be fetched."""
        card = self._network_card(self.config(network))
        made: nn.Module = registry.load("networks", card["module"])(card["config"]).folded()
        return made

    def timing_generator(self, name: str) -> nn.Module:
        """With random weights, as `timing_backbone`."""
        plugin = registry.load("generators", self.generator_modules[name])
        made: nn.Module = plugin(**self.generator_options[name]).eval().requires_grad_(False)
        return made

    def _fetched(self, artefact: str) -> Path:
        substitute = self._substitute(artefact)
        if substitute is None:
            return self._file(self.file(artefact))
        # Somebody rewrote the file without code in it; what it holds must not change any more.
        rewritten = {substitute.name: Remote("", None, None, "as the file that it was made from")}
        return fetch.fetch(substitute.name, self.folder, registry=rewritten)

    def _file(self, name: str) -> Path:
        return fetch.fetch(name, self.folder, registry=self.remotes)

    def _substitute(self, artefact: str) -> Path | None:
        """``<file>.safetensors`` in the folder, made by hand from a file that would run code."""
        path = self.folder / f"{self.file(artefact)}.safetensors"
        return path if path.exists() else None


def _stamp(path: Path) -> tuple[Path, int, int]:
    status = path.stat()
    return path, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, changed: int) -> str:
    return weights.sha256(path)


PLUGIN = ImageNet
