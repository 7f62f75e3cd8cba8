"""Train a zoo's classifiers: resumable, seeded by epoch, with a manifest at the end.

From scratch, or from other weights; against an attack, or without; up to the last epoch, or until
another network's accuracy is reached; all of it, or the readout alone. Which network gets which:
`signseg_utils.training.networks`.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from signseg_utils.basics.draws import Twister
from signseg_utils.basics.registry import unknown
from signseg_utils.files import weights
from signseg_utils.metrics import recognition
from signseg_utils.networks import Classifier, initial
from signseg_utils.training import dale, loop
from signseg_utils.training.attack import perturb
from signseg_utils.units.signs import sign_ratio
from signseg_utils.zoos import Images, Zoo


@dataclass(frozen=True)
class Recipe(loop.Recipe):
    """How a classifier is trained.

    The first ``small_share`` of the epochs sees crops (at least ``smallest_crop`` of an image)
    scaled to ``small_size`` pixels, which costs less and loses nothing once the rest has been seen
    at full size (progressive resizing).

    ``parent``: network of the zoo whose weights training begins with. ``frozen``: only the readout
    learns. ``epsilon``: images are attacked within this distance of each value (0..1) by a single
    step of 1.25 epsilon from a random start (Wong et al. 2020, arXiv:2001.03994; as there, batch
    norms see the images on both passes); 0 for none. ``match``: network of the zoo at whose
    validation top-1 training stops. ``dale``: the readout obeys Dale's law, before and after each
    step (`signseg_utils.training.dale`).
    """

    smoothing: float = 0.1
    smallest_crop: float = 0.7
    small_size: int = 48
    small_share: float = 0.6
    train_images: int | None = None
    parent: str | None = None
    frozen: bool = False
    epsilon: float = 0.0
    match: str | None = None
    loss: str = "softmax"
    dale: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss not in LOSSES:
            raise ValueError(unknown("loss of a classifier", self.loss, tuple(LOSSES)))


def augment(pixels: Tensor, size: int, smallest: float, generator: Twister) -> Tensor:
    """Random crops, each at its own place, mirrored half the time.

    Below the images' own size, the crops of a batch are of one size of at least ``smallest`` and
    are scaled. At their own size they are only shifted: scaled images are smoother than those that
    the network will be asked about, and a network that has seen mostly such ones lost 12 points of
    accuracy on the others (compare Touvron et al. 2019, arXiv:1906.06423).

    ``pixels`` uint8 [image, 3, s, s] to float [image, 3, size, size] in 0..1.
    """
    count, _, full, _ = pixels.shape
    low = full if size == full else int(full * smallest)
    side = int(generator.randint(low, full + 1))
    padded = F.pad(pixels.float(), (4, 4, 4, 4), mode="reflect")
    corner = generator.randint(0, full + 8 - side + 1, (2, count, 1, 1))
    steps = torch.arange(side)
    rows, columns = corner[0] + steps[:, None], corner[1] + steps
    mirrored = generator.rand(count, 1, 1) < 0.5
    columns = torch.where(mirrored, columns.flip(-1), columns)
    places = rearrange(padded, "n c h w -> n h w c")
    crops = places[torch.arange(count)[:, None, None], rows, columns]
    crops = rearrange(crops, "n h w c -> n c h w")
    if side != size:
        crops = F.interpolate(crops, (size, size), mode="bilinear", antialias=side > size)
    gain = 1 + 0.2 * (generator.rand(count, 1, 1, 1) - 0.5)
    return (crops / 255 * gain).clamp(0, 1)


def classification_loss(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy; images without an object (label -1) are to give a uniform answer."""
    target = torch.full_like(logits, 1 / logits.shape[1])
    known = labels >= 0
    hot = F.one_hot(labels[known], logits.shape[1]).to(logits.dtype)
    target[known] = hot * (1 - smoothing) + smoothing / logits.shape[1]
    return -(target * logits.log_softmax(1)).sum(1).mean()


def one_vs_rest_loss(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Each class by itself, yes or no: cross-entropy of a sigmoid, summed over classes.

    Images without an object (label -1) are to get a no from every class. Targets are smoothed as
    in `classification_loss`: unlike there, adding one number to all logits changes the loss.
    """
    target = torch.full_like(logits, smoothing / logits.shape[1])
    known = labels >= 0
    target[known, labels[known]] += 1 - smoothing
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(1).mean()


LOSSES = {"softmax": classification_loss, "one_vs_rest": one_vs_rest_loss}


def train(
    zoo: Zoo, name: str, recipe: Recipe, scratch: Path, pretrained: Path | None = None
) -> Path:
    """Train network ``name`` of ``zoo``; a run that was cut off goes on from its last epoch.

    Training begins with the weights in ``pretrained``, else those of the recipe's parent, else
    random ones. Returns the path of the safetensors file in the zoo's folder.

    Raises
    ------
    ValueError
        If an unfinished run has another recipe or other parents, or if the accuracy to be matched
        is never reached.
    """
    model = initial(zoo.architectures, zoo.config(name), len(zoo.classes), recipe.seed)
    origin: dict[str, Any] = {}
    if pretrained or recipe.parent:
        tensors, card = weights.load(pretrained) if pretrained else zoo.state(str(recipe.parent))
        model.take(tensors)
        told = ("name", "sha256", "seed", "recipe", "scores", "seconds")
        origin["parent"] = {key: card[key] for key in told if key in card}
    model.backbone.requires_grad_(not recipe.frozen)
    constrain = _obeying(model, recipe) if recipe.dale else None
    reached = None
    if recipe.match:
        card = zoo.card(recipe.match)
        goal, validation = card["accuracy"]["top1"], zoo.images("val")
        origin["match"] = {"name": recipe.match, "sha256": card["sha256"], "top1": goal}

        def reached() -> bool:
            return accuracy(model, validation)["top1"] >= goal

    images = zoo.images("train", recipe.train_images)
    checkpoint = scratch / f"{zoo.name}-{name}-{recipe.seed}.safetensors"
    objective = _objective(model, images, recipe, zoo.image_size)
    progress = loop.run(
        model, objective, len(images), recipe, checkpoint, origin, reached, constrain
    )
    if recipe.match and not progress.reached:
        raise ValueError(
            f"expected {name} to reach the top-1 of {recipe.match}, {goal:.3f}, so that the two "
            f"can be compared; it did not in {recipe.epochs} epochs; give it more, and delete "
            f"{checkpoint}"
        )
    made = {**origin, "epochs_seen": round(progress.epochs, 3)}
    path = ship(zoo, name, model, recipe, progress.seconds, made)
    checkpoint.unlink(missing_ok=True)
    return path


def _obeying(model: Classifier, recipe: Recipe) -> Callable[[], None]:
    signs = dale.half_and_half(model.readout.in_features, recipe.seed)
    dale.begin(model.readout, signs)
    return lambda: dale.project(model.readout, signs)


def _objective(model: Classifier, images: Images, recipe: Recipe, full: int) -> loop.Objective:
    def objective(chosen: Tensor, epoch: int, generator: Twister) -> Tensor:
        if recipe.frozen:
            model.backbone.eval()  # neither dropout nor new batch-norm statistics
        labels = images.labels[chosen]

        def loss(pixels: Tensor) -> Tensor:
            logits = model(pixels.to(memory_format=torch.channels_last))
            return LOSSES[recipe.loss](logits, labels, recipe.smoothing)

        size = recipe.small_size if epoch < recipe.small_share * recipe.epochs else full
        pixels = augment(images.pixels[chosen], size, recipe.smallest_crop, generator)
        if recipe.epsilon:
            noise = recipe.epsilon * (2 * generator.rand(*pixels.shape) - 1)
            pixels = perturb(loss, pixels, noise, recipe.epsilon, 1, 1.25 * recipe.epsilon)
        return loss(pixels)

    return objective


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

        def loss(moved: Tensor, labels: Tensor = part.labels) -> Tensor:
            return F.cross_entropy(model(moved), labels)

        still, step = torch.zeros_like(clean), 2.5 * epsilon / steps
        attacked = perturb(loss, clean, still, epsilon, steps, step)
        with torch.inference_mode():
            right += int((model(attacked).argmax(1) == part.labels).sum())
        seen += len(part)
    return {"epsilon": epsilon, "steps": steps, "n": seen, "top1": right / seen}


def ship(
    zoo: Zoo,
    name: str,
    model: Classifier,
    recipe: Recipe,
    seconds: float,
    made: Mapping[str, Any],
    keep: Callable[[str], bool] = lambda key: True,
) -> Path:
    """Round a classifier to half precision, measure it, and put it into the zoo's folder.

    ``made`` is what the manifest says of its making beyond the recipe. Only tensors whose name
    passes ``keep`` are rounded and stored. Robust accuracy is measured at 1/255, with ten steps
    of attack, and, where the network was trained against attacks, at its own distance with twenty.
    """
    validation = zoo.images("val")
    full = accuracy(model, validation)
    halved = _halved(model, keep)
    scores = accuracy(model, validation)
    if abs(scores["top1"] - full["top1"]) > max(1e-3, 5 / scores["n"]):
        raise ValueError(
            f"expected half precision to keep top-1 within .1 point or five images; got {scores} "
            f"from {full}"
        )
    seen = zoo.images("val", 1000)
    attacked = seen[slice(0, 500)]
    measured = measures(model, attacked, zoo.image_size)
    if recipe.epsilon:
        own = robust_accuracy(model, attacked, recipe.epsilon, steps=20)
        measured["own_robust_accuracy"] = own
    manifest = {
        "name": name,
        "kind": "network",
        "zoo": zoo.name,
        "module": zoo.architectures,
        "config": zoo.config(name),
        "recipe": asdict(recipe),
        "seed": recipe.seed,
        "accuracy": scores,
        "accuracy_float32": full,
        **measured,
        "held_out": held_out(model, seen),
        "seconds": round(seconds, 1),
        "dtype": "float16",
        **made,
    }
    shipped = {k.removeprefix("backbone."): v for k, v in halved.items()}
    weights.save(zoo.path(name), shipped, manifest)
    return zoo.path(name)


def held_out(model: Classifier, images: Images) -> dict[str, float]:
    """How the right class of images is recognised, to hold drawn ones against."""
    level = recognition.of_images(model.eval(), images.pixels, images.labels)
    told = {"probability": round(level.probability, 4), "rank": round(level.rank, 2)}
    return {"n": int((images.labels >= 0).sum()), **told}


def measures(model: Classifier, images: Images, size: int) -> dict[str, Any]:
    """What the manifest of every network holds beside its accuracy, whoever trained it.

    Robust accuracy at 1/255 on ``images``, sign ratio of the rows of its readout, number of its
    weights and cost of one look at an image of ``size`` pixels. Weights want no gradient any more.
    """
    model.requires_grad_(False)
    ratio = sign_ratio(model.readout.weight)
    return {
        "robust_accuracy": robust_accuracy(model, images, 1 / 255),
        "sign_ratio": {"mean": float(ratio.mean()), "sd": float(ratio.std())},
        "parameters": sum(p.numel() for p in model.parameters()),
        "multiply_accumulates": multiply_accumulates(model, size),
    }


def _halved(model: Classifier, keep: Callable[[str], bool]) -> dict[str, Tensor]:
    """The tensors that are kept, in half precision; the model computes with them from now on."""
    kept = {k: v for k, v in model.state_dict().items() if keep(k)}
    halved = {k: v.half() if v.is_floating_point() else v for k, v in kept.items()}
    model.load_state_dict(
        {k: v.float() if v.is_floating_point() else v for k, v in halved.items()}, strict=False
    )
    return halved


def multiply_accumulates(model: nn.Module, size: int) -> int:
    """Multiply-accumulates of one image through all convolutions and linear layers."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, 3, size, size))
    return int(counter.get_total_flops()) // 2
