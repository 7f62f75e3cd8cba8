"""Train a zoo's classifiers: resumable, seeded by epoch, with a manifest at the end.

``python -m signseg_utils.training.classifier --zoo shapes --network resnet``
"""

import argparse
import json
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from signseg_utils import registry, weights
from signseg_utils.signs import sign_ratio
from signseg_utils.zoos import Images, Zoo, load_zoo


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained: SGD with Nesterov momentum, one cycle of the learning rate.

    The first ``small_share`` of the epochs sees crops (at least ``smallest_crop`` of an image)
    scaled to ``small_size`` pixels, which costs less and loses nothing once the rest has been seen
    at full size (progressive resizing).
    """

    epochs: int = 12
    batch: int = 128
    learning_rate: float = 0.2
    weight_decay: float = 5e-4
    smoothing: float = 0.1
    smallest_crop: float = 0.7
    small_size: int = 48
    small_share: float = 0.6
    train_images: int | None = None
    seed: int = 0


class Classifier(nn.Module):
    """A backbone and its linear readout, as trained."""

    def __init__(self, backbone: Any, classes: int):
        super().__init__()
        self.backbone = backbone
        self.readout = nn.Linear(backbone.features, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.backbone(images))
        return logits


def augment(pixels: Tensor, size: int, smallest: float, generator: torch.Generator) -> Tensor:
    """Random crops, each at its own place, mirrored half the time.

    Below the images' own size, the crops of a batch are of one size of at least ``smallest`` and
    are scaled. At their own size they are only shifted: scaled images are smoother than those that
    the network will be asked about, and a network that has seen mostly such ones lost 12 points of
    accuracy on the others (compare Touvron et al. 2019, arXiv:1906.06423).

    ``pixels`` uint8 [image, 3, s, s] to float [image, 3, size, size] in 0..1.
    """
    count, _, full, _ = pixels.shape
    low = full if size == full else int(full * smallest)
    side = int(torch.randint(low, full + 1, (), generator=generator))
    padded = F.pad(pixels.float(), (4, 4, 4, 4), mode="reflect")
    corner = torch.randint(0, full + 8 - side + 1, (2, count, 1, 1), generator=generator)
    steps = torch.arange(side)
    rows, columns = corner[0] + steps[:, None], corner[1] + steps
    mirrored = torch.rand(count, 1, 1, generator=generator) < 0.5
    columns = torch.where(mirrored, columns.flip(-1), columns)
    crops = padded.permute(0, 2, 3, 1)[torch.arange(count)[:, None, None], rows, columns]
    crops = crops.permute(0, 3, 1, 2)
    if side != size:
        crops = F.interpolate(crops, (size, size), mode="bilinear", antialias=side > size)
    gain = 1 + 0.2 * (torch.rand(count, 1, 1, 1, generator=generator) - 0.5)
    return (crops / 255 * gain).clamp(0, 1)


def classification_loss(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy; images without an object (label -1) are to give a uniform answer."""
    target = torch.full_like(logits, 1 / logits.shape[1])
    known = labels >= 0
    hot = F.one_hot(labels[known], logits.shape[1]).to(logits.dtype)
    target[known] = hot * (1 - smoothing) + smoothing / logits.shape[1]
    return -(target * logits.log_softmax(1)).sum(1).mean()


def train(zoo: Zoo, name: str, recipe: Recipe, scratch: Path) -> Path:
    """Train network ``name`` of ``zoo``; a run that was cut off goes on from its last epoch.

    Returns the path of the safetensors file in the zoo's folder.
    """
    config = zoo.network_configs[name]
    torch.manual_seed(recipe.seed)
    model = Classifier(registry.load("networks", "small")(config), len(zoo.classes))
    images = zoo.images("train", recipe.train_images)
    steps = len(images) // recipe.batch
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(
        groups, recipe.learning_rate, 0.9, nesterov=True, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.epochs * steps + 1, pct_start=0.25
    )
    checkpoint = scratch / f"{zoo.name}-{name}-{recipe.seed}.safetensors"
    start, seconds = _resume(checkpoint, model, optimizer, schedule, recipe, steps)
    model.to(memory_format=torch.channels_last)
    for epoch in range(start, recipe.epochs):
        began = time.perf_counter()
        loss = _epoch(model, images, optimizer, schedule, recipe, epoch, zoo.image_size)
        seconds += time.perf_counter() - began
        _checkpoint(checkpoint, model, optimizer, epoch + 1, seconds, recipe)
        done = f"epoch {epoch + 1}/{recipe.epochs}"
        tqdm.write(f"{zoo.name} {name} {done} loss {loss:.3f} {seconds:.0f} s")
    path = _ship(zoo, name, model, recipe, seconds)
    checkpoint.unlink(missing_ok=True)
    return path


def _epoch(
    model: Classifier, images: Images, optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler, recipe: Recipe, epoch: int, full: int,
) -> float:
    generator = torch.Generator().manual_seed(recipe.seed * 10_007 + epoch)
    torch.manual_seed(recipe.seed * 10_007 + epoch)  # dropout
    size = recipe.small_size if epoch < recipe.small_share * recipe.epochs else full
    order = torch.randperm(len(images), generator=generator)
    total = 0.0
    model.train()
    batches = order[: len(order) // recipe.batch * recipe.batch].split(recipe.batch)
    for chosen in tqdm(batches, unit="batch", desc=f"epoch {epoch + 1}", leave=False):
        pixels = augment(images.pixels[chosen], size, recipe.smallest_crop, generator)
        logits = model(pixels.to(memory_format=torch.channels_last))
        loss = classification_loss(logits, images.labels[chosen], recipe.smoothing)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"expected a finite loss in epoch {epoch + 1}; got {loss.item()}; "
                "lower the learning rate of the recipe"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
    return total / max(1, len(batches))


def _checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int, seconds: float,
    recipe: Recipe,
) -> None:
    momentum = {
        f"momentum.{i}": optimizer.state[p]["momentum_buffer"]
        for i, p in enumerate(p for group in optimizer.param_groups for p in group["params"])
    }
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()} | momentum
    weights.save(path, tensors, {"epoch": epoch, "seconds": seconds, "recipe": asdict(recipe)})


def _resume(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler, recipe: Recipe, steps: int,
) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    manifest = weights.read_manifest(path)
    if manifest["recipe"] != json.loads(json.dumps(asdict(recipe))):
        raise ValueError(
            f"expected the unfinished run in {path} to have the recipe {asdict(recipe)}; got "
            f"{manifest['recipe']}; delete it or ask for the same recipe"
        )
    tensors = safetensors.torch.load_file(path)
    model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
    parameters = (p for group in optimizer.param_groups for p in group["params"])
    for i, parameter in enumerate(parameters):
        optimizer.state[parameter]["momentum_buffer"] = tensors[f"momentum.{i}"]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected call of .lr_scheduler.step", UserWarning)
        for _ in range(manifest["epoch"] * steps):
            schedule.step()  # no optimizer.step before it: those were before the cut
    return manifest["epoch"], manifest["seconds"]


@torch.inference_mode()
def accuracy(model: nn.Module, images: Images, batch: int = 100) -> dict[str, float]:
    """Share of images whose class is first, and among the first five, of the answers."""
    model.eval()
    ranks = []
    for start in range(0, len(images), batch):
        part = images[slice(start, start + batch)]
        pixels = (part.pixels.float() / 255).to(memory_format=torch.channels_last)
        logits = model(pixels)[part.labels >= 0]
        own = logits.gather(1, part.labels[part.labels >= 0, None])
        ranks.append((logits > own).sum(1))
    rank = torch.cat(ranks)
    return {
        "top1": float((rank < 1).double().mean()),
        "top5": float((rank < 5).double().mean()),
        "n": len(rank),
    }


def robust_accuracy(
    model: nn.Module, images: Images, epsilon: float, steps: int = 10, batch: int = 100
) -> dict[str, float]:
    """Top-1 accuracy under projected gradient descent, Linf ``epsilon`` (image values 0..1).

    Madry et al. 2018, arXiv:1706.06083; step size 2.5 epsilon / steps. Images without an object
    have no right answer and are not attacked.
    """
    model.eval()
    right, seen = 0, 0
    for start in range(0, len(images), batch):
        part = images[slice(start, start + batch)]
        part = part[part.labels >= 0]
        clean = part.pixels.float() / 255
        noise = torch.zeros_like(clean)
        for _ in range(steps):
            noise.requires_grad_(True)
            loss = F.cross_entropy(model((clean + noise).clamp(0, 1)), part.labels)
            (gradient,) = torch.autograd.grad(loss, noise)
            noise = (noise + 2.5 * epsilon / steps * gradient.sign()).clamp(-epsilon, epsilon)
            noise = noise.detach()
        with torch.inference_mode():
            right += int((model((clean + noise).clamp(0, 1)).argmax(1) == part.labels).sum())
        seen += len(part)
    return {"epsilon": epsilon, "steps": steps, "n": seen, "top1": right / seen}


def _ship(zoo: Zoo, name: str, model: Classifier, recipe: Recipe, seconds: float) -> Path:
    validation = zoo.images("val")
    full = accuracy(model, validation)
    halved = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in halved.items()})
    scores = accuracy(model, validation)
    if abs(scores["top1"] - full["top1"]) > 1e-3:
        raise ValueError(
            f"expected half precision to keep top-1 within .1 point; got {scores} from {full}"
        )
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    ratio = sign_ratio(model.readout.weight)
    manifest = {
        "name": name, "kind": "network", "zoo": zoo.name, "module": "small",
        "config": zoo.network_configs[name], "recipe": asdict(recipe), "seed": recipe.seed,
        "accuracy": scores, "accuracy_float32": full,
        "robust_accuracy": robust_accuracy(model, zoo.images("val", 500), 1 / 255),
        "sign_ratio": {"mean": float(ratio.mean()), "sd": float(ratio.std())},
        "parameters": sum(p.numel() for p in model.parameters()),
        "multiply_accumulates": multiply_accumulates(model, zoo.image_size),
        "seconds": round(seconds, 1), "dtype": "float16",
    }
    state = {k.removeprefix("backbone."): v for k, v in halved.items()}
    weights.save(zoo.path(name), state, manifest)
    return zoo.path(name)


def multiply_accumulates(model: nn.Module, size: int) -> int:
    """Multiply-accumulates of one image through all convolutions and linear layers."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, 3, size, size))
    return int(counter.get_total_flops()) // 2


def main() -> None:
    """Command line: one network of one zoo, each field of the recipe an option."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zoo", required=True)
    parser.add_argument("--network", required=True)
    parser.add_argument("--scratch", type=Path, default=Path("runs"))
    for field, value in asdict(Recipe()).items():
        kind = type(value) if value is not None else int
        parser.add_argument(f"--{field.replace('_', '-')}", type=kind, default=value)
    chosen = vars(parser.parse_args())
    zoo, name, scratch = load_zoo(chosen.pop("zoo")), chosen.pop("network"), chosen.pop("scratch")
    print(train(zoo, name, Recipe(**chosen), scratch))


if __name__ == "__main__":
    main()
