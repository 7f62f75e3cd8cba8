"""Train the detector of one zoo.

The trainer, model, loss and validation are those of ``ultralytics``; only the data come from
memory. It writes no checkpoint: what is kept is the averaged weights, as safetensors.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from signseg_utils.basics import draws
from signseg_utils.basics.draws import Twister
from signseg_utils.files import weights
from signseg_utils.metrics.objectness import (
    ARTEFACT,
    CONFIG,
    Detector,
    build,
    prepare,
    quiet_ultralytics,
)
from signseg_utils.zoos import Images, Zoo


@dataclass(frozen=True)
class Recipe:
    """How a detector is trained.

    ``minutes`` of wall-clock time (validation included), or ``steps`` if not 0; ``images`` and
    ``held_out`` are how many of the zoo's images are drawn; ``learning_rate`` is AdamW's.
    """

    minutes: float = 6.0
    steps: int = 0
    images: int = 16_000
    held_out: int = 2_000
    batch: int = 32
    image_size: int = 64
    learning_rate: float = 2e-3
    seed: int = 0


EPOCH_STEPS = 128  # steps between changes of the learning rate
PRIOR = -3.0  # logit of a box's confidence before training
NEGATIVES = {
    "shapes": "scenes without an object (15 %)",
    "natural": (
        "natural images nearly always hold an object: patches from outside the box, "
        "phase-scrambled images and shuffled 8-pixel tiles, together 1/3 of all"
    ),
}


class Boxes(Dataset[dict[str, Any]]):
    """Images and at most one box each, served by whole batches in the form ultralytics takes.

    Parameters
    ----------
    pixels
        uint8 [image, 3, size, size].
    boxes
        [image, 4] x0 y0 x1 y1 in pixels; NaN: none.
    draws
        If given, length of an epoch of random, augmented draws; else every image once, as it is.
    """

    def __init__(self, pixels: Tensor, boxes: Tensor, draws: int | None = None, seed: int = 0):
        self.pixels, self.boxes, self.draws = pixels, boxes, draws
        self.random = Twister(seed)
        self.served = 0

    def __len__(self) -> int:
        return self.draws or len(self.pixels)

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Any]:
        index = torch.as_tensor(indices)
        self.served += len(index)
        if self.draws:
            index = self.random.randint(0, len(self.pixels), (len(indices),))
        pixels, boxes = self.pixels[index], self.boxes[index]
        if self.draws:
            pixels, boxes = augment(pixels, boxes, self.random)
        size = pixels.shape[-1]
        held = (~boxes.isnan().any(1)).nonzero()[:, 0]
        centre, extent = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        return {
            "img": pixels,
            "cls": torch.zeros(len(held), 1),
            "bboxes": (torch.cat([centre, extent], 1) / size)[held],
            "batch_idx": held.float(),
            "im_file": [f"{i}.png" for i in index.tolist()],
            "ori_shape": [(size, size)] * len(index),
            "ratio_pad": [((1.0, 1.0), (0.0, 0.0))] * len(index),
        }


def augment(pixels: Tensor, boxes: Tensor, random: Twister) -> tuple[Tensor, Tensor]:
    """Mirror and shift by up to an eighth; zoom half by 0.8 to 1.25; blur a third of all.

    What is zoomed loses sharpness, so the other half is shifted by whole pixels and keeps it: the
    detector is asked about sharp images as well as about the smooth ones of generators.
    """
    n, _, _, size = pixels.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return random.rand(*shape) * (high - low) + low

    mirror = torch.where(uniform(0, 1, n) < 0.5, -1.0, 1.0)
    zoom = uniform(-0.22, 0.22, n).exp()
    shift = uniform(-0.25, 0.25, n, 2)
    sharp = uniform(0, 1, n) < 0.5
    zoom[sharp] = 1.0
    shift[sharp] = (shift[sharp] * size / 2).round() / (size / 2)
    theta = torch.zeros(n, 2, 3)  # output position -> input position, both in -1..1
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = mirror * zoom, zoom, shift
    grid = F.affine_grid(theta, [n, 3, size, size], align_corners=False)
    moved = F.grid_sample(pixels.float(), grid, padding_mode="border", align_corners=False)
    for index in (uniform(0, 1, n) < 1 / 3).nonzero()[:, 0].tolist():
        coarse = int(random.randint(size // 4, size))
        small = F.interpolate(moved[index : index + 1], coarse, mode="bilinear", antialias=True)
        moved[index] = F.interpolate(small, size, mode="bicubic")[0]
    ends = boxes.view(n, 2, 2) / size * 2 - 1  # corner, axis
    ends = (ends - shift[:, None]) / theta[:, [0, 1], [0, 1]][:, None]
    ends = ((ends.sort(1).values + 1) * size / 2).clamp(0, size)
    moved_boxes = ends.reshape(n, 4)
    moved_boxes[(ends[:, 1] - ends[:, 0]).amin(1) < 2] = torch.nan
    return moved.clamp(0, 255).round().to(torch.uint8), moved_boxes


def outside_patch(pixels: Tensor, box: Tensor, smallest: int = 20) -> Tensor | None:
    """The largest square outside ``box``, resized to the image; None if under ``smallest`` px."""
    size = pixels.shape[-1]
    x0, y0, x1, y1 = box.round().int().tolist()
    left, above, right, below = (x0, 0, 0), (y0, 0, 0), (size - x1, x1, 0), (size - y1, 0, y1)
    side, x, y = max(left, above, right, below)
    if side < smallest:
        return None
    patch = pixels[:, y : y + side, x : x + side]
    return F.interpolate(patch[None].float(), size, mode="bicubic")[0].clamp(0, 255)


def scrambled(pixels: Tensor, random: Twister) -> Tensor:
    """The image with its Fourier phases shifted at random, alike in all colours."""
    spectrum = torch.fft.rfft2(pixels.float() - pixels.float().mean((1, 2), keepdim=True))
    noise = torch.fft.rfft2(random.randn(*pixels.shape[1:]))
    shuffled = torch.fft.irfft2(spectrum * noise / noise.abs().clamp(min=1e-9), s=pixels.shape[1:])
    return (shuffled + pixels.float().mean((1, 2), keepdim=True)).clamp(0, 255)


def shuffled_tiles(pixels: Tensor, random: Twister, tile: int = 8) -> Tensor:
    """The image cut into tiles of ``tile`` pixels that are laid out anew."""
    count = pixels.shape[-1] // tile
    tiles = rearrange(pixels, "c (rows h) (columns w) -> c (rows columns) h w", h=tile, w=tile)
    order = random.randperm(count**2)
    laid = rearrange(
        tiles[:, order], "c (rows columns) h w -> c (rows h) (columns w)", columns=count
    )
    return laid.float()


def with_negatives(images: Images, seed: int) -> Images:
    """Natural images and, for every two, one that holds no object (see ``NEGATIVES``)."""
    random = Twister(seed)
    made = []
    for index in range(0, len(images) - 1, 2):
        pixels, box = images.pixels[index], images.boxes[index]
        patch = outside_patch(pixels, box)
        if patch is None:
            disturb = scrambled if index % 4 else shuffled_tiles
            patch = disturb(pixels, random)
        made.append(patch.round().to(torch.uint8))
    nothing = torch.full((len(made), 4), torch.nan)
    return Images(
        torch.cat([images.pixels, torch.stack(made)]),
        torch.cat([images.labels, torch.full((len(made),), -1)]),
        torch.cat([images.boxes, nothing]),
    )


def gather(zoo: Zoo, split: str, limit: int, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Pixels uint8 [n, 3, size, size] and boxes [n, 4] in them, those without object included."""
    images = zoo.images(split, limit)
    if not bool(images.boxes.isnan().any()):
        images = with_negatives(images, recipe.seed)
    parts = [
        (prepare(part, recipe.image_size) * 255).round().to(torch.uint8)
        for part in images.pixels.split(1000)
    ]
    return torch.cat(parts), images.boxes * (recipe.image_size / images.pixels.shape[-1])


def _trainer(
    train: tuple[Tensor, Tensor],
    held_out: tuple[Tensor, Tensor],
    config: dict[str, Any],
    recipe: Recipe,
) -> Any:
    """Class of ultralytics' trainer on tensors in memory; it writes no checkpoint."""
    from ultralytics.models.yolo.detect import DetectionTrainer

    threads = torch.get_num_threads()

    class Trainer(DetectionTrainer):
        def get_dataset(self) -> dict[str, Any]:
            return {"train": "", "val": "", "nc": 1, "names": {0: "object"}, "channels": 3}

        def get_model(self, *args: Any, **kwargs: Any) -> nn.Module:
            model: Any = draws.made(lambda: build(config), recipe.seed)
            for branch in model.model[-1].cv3:  # ultralytics' prior is for 640 pixels
                nn.init.constant_(branch[-1].bias, PRIOR)
            return model

        def get_dataloader(
            self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train"
        ) -> DataLoader[dict[str, Any]]:
            torch.set_num_threads(threads)  # choosing the device set it
            steps = min(EPOCH_STEPS, recipe.steps or EPOCH_STEPS)
            draws = steps * batch_size if mode == "train" else None
            pixels, boxes = train if mode == "train" else held_out
            data = Boxes(pixels, boxes, draws, recipe.seed)
            return DataLoader(data, batch_size, collate_fn=lambda batch: batch)

        def save_model(self) -> bool:
            return False  # a checkpoint would be pickled

        def final_eval(self) -> None:
            """The last epoch was validated already."""

    return Trainer


def _settings(recipe: Recipe, scratch: Path) -> dict[str, Any]:
    """What ultralytics' trainer is told: our recipe, and nothing written or looked up elsewhere."""
    epochs = max(1, -(-recipe.steps // EPOCH_STEPS)) if recipe.steps else 100
    return dict(
        model=str(CONFIG),
        data="memory",
        task="detect",
        pretrained=False,
        device="cpu",
        epochs=epochs,
        time=None if recipe.steps else recipe.minutes / 60,
        patience=10_000,
        batch=recipe.batch,
        nbs=recipe.batch,
        imgsz=recipe.image_size,
        workers=0,
        rect=False,
        optimizer="AdamW",
        lr0=recipe.learning_rate,
        cos_lr=True,
        lrf=0.01,
        warmup_epochs=0.3,
        warmup_bias_lr=0.0,
        close_mosaic=0,
        amp=False,
        plots=False,
        save=False,
        val=False,
        deterministic=False,
        seed=recipe.seed,
        verbose=False,
        project=str(scratch),
        name="detector",
        exist_ok=True,
    )


def fit(
    train: tuple[Tensor, Tensor],
    held_out: tuple[Tensor, Tensor],
    config: dict[str, Any],
    recipe: Recipe,
    scratch: Path,
) -> tuple[nn.Module, dict[str, float]]:
    """Train from scratch with ultralytics' trainer; averaged model and its validation scores."""
    quiet_ultralytics()
    settings = _settings(recipe, scratch)
    trainer = _trainer(train, held_out, config, recipe)(overrides=settings)
    trainer.train()
    if trainer.metrics is None or trainer.ema is None:
        raise RuntimeError("expected ultralytics to validate at the end of training; it did not")
    named = {
        "precision(B)": "precision",
        "recall(B)": "recall",
        "mAP50(B)": "mAP50",
        "mAP50-95(B)": "mAP50_95",
    }
    scores = {
        name: round(float(trainer.metrics[f"metrics/{key}"]), 4) for key, name in named.items()
    }
    scores["images_seen"] = trainer.train_loader.dataset.served
    return trainer.ema.ema.float().eval(), scores


def train(zoo: Zoo, recipe: Recipe) -> Path:
    """Train the detector of ``zoo`` and write it, with its manifest, to the zoo's folder."""
    start = time.perf_counter()
    config = yaml.safe_load(CONFIG.read_text())
    data = gather(zoo, "train", recipe.images, recipe)
    held_out = gather(zoo, "val", recipe.held_out, recipe)
    with tempfile.TemporaryDirectory() as scratch:
        model, scores = fit(data, held_out, config, recipe, Path(scratch))
    state = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    full = Detector(model, recipe.image_size).objectness(held_out[0])
    rounded = build(config)
    rounded.load_state_dict(state)
    halved = Detector(rounded, recipe.image_size).objectness(held_out[0])
    change = float((halved - full).abs().max())
    if change > 0.02:
        raise ValueError(
            "expected half precision to keep every objectness within .02; the largest change is "
            f"{change:.3f}; train longer, or ship float32"
        )
    empty = held_out[1].isnan().any(1)
    manifest = {
        "name": ARTEFACT,
        "kind": "detector",
        "zoo": zoo.name,
        "module": "objectness",
        "config": {"model": config, "image_size": recipe.image_size},
        "recipe": asdict(recipe),
        "seed": recipe.seed,
        "dtype": "float16",
        "scores": scores
        | {
            "objectness_with_object": round(float(halved[~empty].mean()), 4),
            "objectness_without": round(float(halved[empty].mean()), 4),
            "auc": round(_auc(halved[~empty], halved[empty]), 4),
            "held_out": len(empty),
            "held_out_without": int(empty.sum()),
            "largest_change_by_rounding": round(change, 5),
        },
        "negatives": NEGATIVES["shapes" if zoo.name == "shapes" else "natural"],
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(time.perf_counter() - start, 1),
    }
    weights.save(zoo.path(ARTEFACT), state, manifest)
    return zoo.path(ARTEFACT)


def _auc(positive: Tensor, negative: Tensor) -> float:
    """Probability that an image with an object scores above one without (ties count half)."""
    difference = positive[:, None] - negative[None]
    return float(((difference > 0).float() + 0.5 * (difference == 0).float()).mean())
