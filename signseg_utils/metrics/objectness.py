"""Objectness: how sure a detector of any object is that an image holds one.

The paper takes the highest confidence that a pretrained YOLO gives to any box. Here the detector
is trained on each zoo's own boxes, with one class, "object", and with images that hold none; or it
is a published one, and the highest confidence over all of its classes stands for objectness.
"""

import copy
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from signseg_utils.files import checkpoints, weights
from signseg_utils.files.paths import cache_folder
from signseg_utils.metrics import Seen

ARTEFACT = "detector"
_LAYERS = ("ultralytics.nn", "ultralytics.utils.IterableSimpleNamespace", "torch.nn.modules")
CONFIG = Path(__file__).with_name("tiny_yolo.yaml")


class Detector:
    """A detector with the single class "object".

    Parameters
    ----------
    model
        An ``ultralytics`` DetectionModel.
    image_size
        Side at which it works, pixels; other images are resized.
    card
        Manifest of its weights.
    """

    def __init__(self, model: nn.Module, image_size: int = 64, card: dict[str, Any] | None = None):
        fused: nn.Module = copy.deepcopy(model).eval().fuse(verbose=False)  # type: ignore[operator]
        self.model = fused.to(memory_format=torch.channels_last).requires_grad_(False)
        self.image_size = image_size
        self.card = card or {}

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load ``detector.safetensors`` and its manifest from ``folder``.

        Raises
        ------
        FileNotFoundError, signseg_utils.files.weights.DamagedWeights
            If they are missing or do not belong together.
        ImportError
            If ``ultralytics`` is not installed.
        """
        tensors, manifest = weights.load(Path(folder) / f"{ARTEFACT}.safetensors")
        model = build(manifest["config"]["model"])
        model.load_state_dict(tensors)
        return cls(model, manifest["config"]["image_size"], manifest)

    @classmethod
    def published(cls, file: Path, image_size: int = 640) -> Self:
        """A pretrained detector from a file of ``ultralytics`` with anchor boxes (YOLO 8, 11).

        Such a file holds a pickled module. It is read with ``weights_only``, and nothing but
        layers of ``ultralytics`` and ``torch`` is built from it; then its tensors are put into a
        model made anew from its configuration.

        Raises
        ------
        signseg_utils.files.weights.DamagedWeights
            If it is damaged, names anything else, or is no detector of that kind.
        ImportError
            If ``ultralytics`` is not installed.
        """
        quiet_ultralytics()
        from ultralytics.nn.tasks import DetectionModel

        read = checkpoints.read(Path(file), allowed=_LAYERS)
        stored: Any = read.get("model") if isinstance(read, dict) else None
        if not isinstance(stored, DetectionModel) or _suppresses_itself(stored):
            raise weights.DamagedWeights(
                f"expected {file} to hold a detector of ultralytics that scores each box for each "
                f"class, as YOLO 8 and 11 do; got {type(stored).__name__}"
            )
        layout: dict[str, Any] = dict(vars(stored)["yaml"])
        made = DetectionModel(layout, ch=3, nc=layout["nc"], verbose=False)
        tensors = {
            k: v.float() if v.is_floating_point() else v for k, v in stored.state_dict().items()
        }
        checkpoints.fit(made, tensors, file)
        return cls(made, image_size)

    @property
    def levels(self) -> dict[str, float]:
        """Mean objectness of held-out images with an object (ceiling) and without (floor).

        Empty for a published detector, which was not measured so.
        """
        if "scores" not in self.card:
            return {}
        scores = self.card["scores"]
        return {
            "real objects": scores["objectness_with_object"],
            "no object": scores["objectness_without"],
        }

    def objectness(self, images: Tensor, chunk: int = 64) -> Tensor:
        """Highest confidence over all boxes [n], 0..1.

        Parameters
        ----------
        images
            [n, 3, h, w], floats in 0..1 or uint8.
        chunk
            Images in one pass.
        """
        return self._over(images, chunk, lambda found: found[:, 4:].amax((1, 2)))

    def boxes(self, images: Tensor, chunk: int = 64) -> Tensor:
        """The most confident box of each image, [n, 5]: x0 y0 x1 y1 (pixels of it), confidence."""
        scale = torch.tensor([images.shape[-1], images.shape[-2]] * 2) / self.image_size

        def best(found: Tensor) -> Tensor:
            at = found[:, 4].argmax(1)[:, None, None].expand(-1, 5, 1)
            box = found[:, :5].gather(2, at)[:, :, 0]
            return torch.cat([_corners(box[:, :4]) * scale.to(box), box[:, 4:]], 1)

        return self._over(images, chunk, best)

    def _over(self, images: Tensor, chunk: int, reduce: Callable[[Tensor], Tensor]) -> Tensor:
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"expected images [n, 3, height, width]; got {tuple(images.shape)}; "
                "add the missing axis, channels come second"
            )
        if len(images) == 0:
            raise ValueError("expected at least one image; got none")
        with torch.inference_mode():
            prepared = (prepare(part, self.image_size) for part in images.split(chunk))
            parts = [reduce(_any_class(self.model(part)[0])) for part in prepared]
        return torch.cat(parts).clone()


def PLUGIN(seen: Seen) -> dict[str, Tensor]:
    """``objectness``: how sure the zoo's detector is that the image holds an object, 0..1."""
    return {"objectness": seen.detector.objectness(seen.images)}


def prepare(images: Tensor, size: int) -> Tensor:
    """Images in 0..1 at the detector's size (bilinear)."""
    images = images.float() / 255 if images.dtype == torch.uint8 else images.float()
    if images.shape[-2:] != (size, size):
        images = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
    return images


def build(config: dict[str, Any]) -> nn.Module:
    """An untrained ``ultralytics`` DetectionModel of the layers that ``config`` lists."""
    quiet_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    model: nn.Module = DetectionModel(dict(config), ch=3, nc=1, verbose=False)
    model.names = {0: "object"}  # type: ignore[assignment]
    return model


def quiet_ultralytics() -> None:
    """Import ``ultralytics`` so that it neither phones home nor changes this process.

    Its settings go to the project's cache; it stays offline; the thread count, the print options
    and ``torch.save`` that it alters on import are put back.
    """
    folder = cache_folder() / "ultralytics"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("YOLO_CONFIG_DIR", str(folder))
    os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")
    threads, save, options = torch.get_num_threads(), torch.save, np.get_printoptions()
    try:
        from ultralytics import settings
    except ImportError as error:
        raise ImportError(
            "expected the package 'ultralytics', which objectness needs; it is not installed; "
            "install it with: pip install 'signseg-utils[detector]'"
        ) from error
    if settings["sync"]:
        settings.update(sync=False)
    logging.getLogger("ultralytics").setLevel(logging.ERROR)
    torch.save = save
    torch.set_num_threads(threads)
    torch.set_printoptions(profile="default")
    np.set_printoptions(**options)


def _suppresses_itself(model: Any) -> bool:
    """Whether a detector gives its final boxes only, as YOLO 10 and 26 do."""
    return bool(getattr(model.model[-1], "end2end", False))


def _any_class(found: Tensor) -> Tensor:
    """Boxes and confidences [n, 4 + class, box] to boxes and the highest confidence [n, 5, box]."""
    return torch.cat([found[:, :4], found[:, 4:].amax(1, keepdim=True)], 1)


def _corners(boxes: Tensor) -> Tensor:
    """Centre and size [..., 4] to corners."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1)
