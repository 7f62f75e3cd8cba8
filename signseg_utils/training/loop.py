"""The loop in which networks are trained: seeded by epoch, resumable, one cycle of the rate."""

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor, nn

from signseg_utils.basics.draws import Twister
from signseg_utils.basics.progress import Work
from signseg_utils.basics.registry import unknown
from signseg_utils.files import weights

CHECKS = 10  # an epoch, where training may stop early
_STATE = {"momentum_buffer": "momentum"}  # names in checkpoints that differ from PyTorch's

# Indices of a batch's images, the epoch, its random stream -> loss.
Objective = Callable[[Tensor, int, Twister], Tensor]


OPTIMIZERS = ("sgd", "adamw")


@dataclass(frozen=True)
class Recipe:
    """What every training has: an optimiser and one cycle of its learning rate.

    ``optimizer``: ``sgd`` with Nesterov momentum, or ``adamw``, whose weight decay is decoupled
    from the gradient (Loshchilov & Hutter 2019, arXiv:1711.05101) and so wants other values.
    """

    epochs: int = 12
    batch: int = 128
    learning_rate: float = 0.2
    weight_decay: float = 5e-4
    seed: int = 0
    optimizer: str = "sgd"

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(unknown("optimizer of a training", self.optimizer, OPTIMIZERS))


class Progress(NamedTuple):
    """How far a training came."""

    epochs: float
    seconds: float
    reached: bool


def run(
    model: nn.Module,
    objective: Objective,
    count: int,
    recipe: Recipe,
    checkpoint: Path,
    origin: Mapping[str, Any],
    reached: Callable[[], bool] | None = None,
    constrain: Callable[[], None] | None = None,
) -> Progress:
    """Lower ``objective`` over ``count`` images; a run that was cut off goes on from its epoch.

    Parameters
    ----------
    model
        Its parameters that require a gradient are trained.
    checkpoint
        Written after each epoch; whoever ships the result removes it.
    origin
        What else the run depends on, such as the hash of the weights that it began with: a
        checkpoint of another recipe or origin is refused.
    reached
        Asked ten times an epoch; training stops when it says yes.
    constrain
        Called after each step: brings parameters back to where they may be.

    Raises
    ------
    ValueError
        If ``checkpoint`` belongs to another training.
    FloatingPointError
        If the loss is no longer finite.
    """
    steps = count // recipe.batch
    optimizer, schedule = _descent(model, recipe, steps)
    start, seconds = _resume(checkpoint, model, optimizer, recipe, origin)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected call of .lr_scheduler.step", UserWarning)
        for _ in range(start * steps):
            schedule.step()  # no optimizer.step before it: those were before the cut
    model.to(memory_format=torch.channels_last)
    with Work(
        recipe.epochs * steps, "batches", checkpoint.stem, there=start * steps, resumes=True
    ) as work:
        for epoch in range(start, recipe.epochs):
            began = time.perf_counter()
            generator = Twister(recipe.seed * 10_007 + epoch)
            torch.manual_seed(recipe.seed * 10_007 + epoch)  # dropout
            order = generator.randperm(count)
            total = 0.0
            batches = order[: steps * recipe.batch].split(recipe.batch)
            for step, chosen in enumerate(batches, 1):
                model.train()
                loss = objective(chosen, epoch, generator)
                _lower(loss, optimizer, epoch)
                if constrain:
                    constrain()
                schedule.step()
                total += float(loss.detach())
                work.advance()
                if reached and step % max(1, steps // CHECKS) == 0 and reached():
                    spent = seconds + time.perf_counter() - began
                    return Progress(epoch + step / steps, spent, True)
            seconds += time.perf_counter() - began
            _checkpoint(checkpoint, model, optimizer, epoch + 1, seconds, recipe, origin)
            done = f"epoch {epoch + 1}/{recipe.epochs}"
            work.note(f"{done} loss {total / max(1, steps):.3f} {seconds:.0f} s")
    return Progress(recipe.epochs, seconds, False)


def _lower(loss: torch.Tensor, optimizer: torch.optim.Optimizer, epoch: int) -> None:
    """One step against the gradient of a loss, which must be finite."""
    if not torch.isfinite(loss):
        raise FloatingPointError(
            f"expected a finite loss in epoch {epoch + 1}; got {loss.item()}; "
            "lower the learning rate of the recipe"
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def _descent(
    model: nn.Module, recipe: Recipe, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.OneCycleLR]:
    learned = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in learned if p.ndim > 1]},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer: torch.optim.Optimizer
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "adamw":
        optimizer = torch.optim.AdamW(groups, rate, weight_decay=decay)
    else:
        optimizer = torch.optim.SGD(groups, rate, 0.9, nesterov=True, weight_decay=decay)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.epochs * steps + 1, pct_start=0.25
    )


def _checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    seconds: float,
    recipe: Recipe,
    origin: Mapping[str, Any],
) -> None:
    state = {
        f"{_STATE.get(key, key)}.{i}": value
        for i, p in enumerate(p for group in optimizer.param_groups for p in group["params"])
        for key, value in optimizer.state[p].items()
    }
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()} | state
    manifest = {"epoch": epoch, "seconds": seconds, "recipe": asdict(recipe), "origin": origin}
    weights.save(path, tensors, manifest)


def _resume(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    origin: Mapping[str, Any],
) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    manifest = weights.read_manifest(path)
    asked = {"recipe": recipe, "origin": dict(origin)}
    found = {"recipe": type(recipe)(**manifest["recipe"]), "origin": manifest.get("origin", {})}
    for what, value in asked.items():
        if found[what] != value:
            raise ValueError(
                f"expected the unfinished run in {path} to have the {what} {value}; got "
                f"{found[what]}; delete it or ask for the same {what}"
            )
    tensors = safetensors.torch.load_file(path)
    model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
    parameters = (p for group in optimizer.param_groups for p in group["params"])
    names = {file: key for key, file in _STATE.items()}
    for i, parameter in enumerate(parameters):
        for name in [name for name in tensors if name.endswith(f".{i}") and name.count(".") == 1]:
            key = name.removesuffix(f".{i}")
            optimizer.state[parameter][names.get(key, key)] = tensors[name]
    return manifest["epoch"], manifest["seconds"]
