"""Train a zoo's decoder to invert its AlexNet-like network, in the manner of DeePSiM.

What is inverted is the last convolution's map, pooled to 4x4 places: like fc6 in DeePSiM it comes
before the features that the readout weighs, and still holds where things are.

Three losses (Dosovitskiy & Brox 2016, arXiv:1602.02644, eq. 2): pixels, features of the same
network at three depths, and a discriminator that looks at patches (hinge loss).
``signseg train --zoo shapes --only decoder``
"""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from signseg_utils.basics import draws
from signseg_utils.basics.progress import each
from signseg_utils.files import weights
from signseg_utils.generators.decoder import Decoder
from signseg_utils.training.classifier import augment
from signseg_utils.zoos import Images, Zoo


@dataclass(frozen=True)
class DecoderRecipe:
    """How a decoder is trained; loss weights are relative to the pixel loss."""

    inverted: str = "alexnet"
    code_size: int = 200
    width: int = 128
    images: int = 90_000
    batch: int = 32
    learning_rate: float = 1e-3
    feature_weight: float = 0.4
    adversarial_weight: float = 0.02
    adversarial_from: float = 0.5
    checkpoint_every: int = 250
    seed: int = 0


def discriminator() -> nn.Sequential:
    """Says of each patch of about 22 pixels whether it looks real."""
    norm = torch.nn.utils.parametrizations.spectral_norm
    widths = (3, 24, 48, 96)
    layers: list[nn.Module] = []
    for ins, outs in zip(widths, widths[1:], strict=False):
        layers += [norm(nn.Conv2d(ins, outs, 4, 2, 1)), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers, norm(nn.Conv2d(widths[-1], 1, 3, 1, 1)))


def inverted(maps: Sequence[Tensor]) -> Tensor:
    """What a code stands for, [image, feature], from the maps of all stages."""
    return F.adaptive_avg_pool2d(maps[-1], 4).flatten(1)


@dataclass(frozen=True)
class Whitening:
    """Features to codes: principal components scaled to unit variance."""

    mean: Tensor  # [feature]
    components: Tensor  # [feature, code]

    def __call__(self, features: Tensor) -> Tensor:
        return (features - self.mean) @ self.components


@torch.inference_mode()
def fit_whitening(backbone: Any, images: Images, code_size: int) -> tuple[Whitening, float]:
    """Whitening of what is inverted, and the share of its variance that it keeps."""
    parts = [
        inverted(backbone.stages(images.pixels[start : start + 100].float() / 255))
        for start in range(0, min(len(images), 10_000), 100)
    ]
    features = torch.cat(parts)
    mean = features.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov((features - mean).T.double()))
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    vectors = vectors * largest.sign()  # either sign is an axis: the largest entry is positive
    kept = vectors[:, -code_size:] / values[-code_size:].sqrt()
    share = float(values[-code_size:].sum() / values.sum())
    return Whitening(mean.clone(), kept.float().clone()), share


def feature_loss(maps: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Squared distance of feature maps at each depth, relative to the targets' variance."""
    pairs = zip(maps, targets, strict=True)
    return torch.stack([F.mse_loss(a, b) / b.var() for a, b in pairs]).mean()


class Adversaries:
    """A decoder and the critic that it is to deceive, each with its optimiser.

    Parameters
    ----------
    recipe
        Learning rate and loss weights.
    image_size
        Side of the images, pixels.
    """

    def __init__(self, recipe: DecoderRecipe, image_size: int) -> None:
        self.recipe, self.image_size = recipe, image_size
        self.decoder, self.critic = draws.made(
            lambda: (Decoder(recipe.code_size, image_size, recipe.width), discriminator()),
            recipe.seed,
        )
        self.parts = nn.ModuleDict({"decoder": self.decoder, "critic": self.critic})
        for part in (self.decoder, self.critic):
            part.to(memory_format=torch.channels_last)
        rate, betas = recipe.learning_rate, (0.5, 0.99)
        self.makers = torch.optim.Adam(self.decoder.parameters(), rate, betas)
        self.judges = torch.optim.Adam(self.critic.parameters(), rate, betas)

    def slow_down(self, step: int, steps: int) -> None:
        """Learning rates of a step: full for .7 of the steps, then falling to a fiftieth."""
        decay = 1.0 if step < 0.7 * steps else max(0.02, (steps - step) / (0.3 * steps))
        for group in (*self.makers.param_groups, *self.judges.param_groups):
            group["lr"] = self.recipe.learning_rate * decay

    def step(
        self, real: Tensor, codes: Tensor, targets: Sequence[Tensor], backbone: Any, deceive: bool
    ) -> dict[str, float]:
        """One step on images ``real``; returns the pixel and the feature loss.

        Parameters
        ----------
        codes, targets
            Of ``real``: its codes ``[image, code]``, and its feature maps in ``backbone``.
        deceive
            Whether the decoder also plays against the critic, and the critic learns.
        """
        fake = self.decoder(codes)
        pixel = F.l1_loss(fake, real) * 4
        feature = feature_loss(backbone.stages(fake), targets)
        loss = pixel + self.recipe.feature_weight * feature
        if deceive:
            loss = loss - self.recipe.adversarial_weight * self.critic(fake).mean()
        self.makers.zero_grad(set_to_none=True)
        loss.backward()
        self.makers.step()
        if deceive:
            doubted = F.relu(1 + self.critic(fake.detach())).mean()
            judged = F.relu(1 - self.critic(real)).mean() + doubted
            self.judges.zero_grad(set_to_none=True)
            judged.backward()
            self.judges.step()
        return {"pixel": float(pixel.detach()) / 4, "feature": float(feature.detach())}


def train(zoo: Zoo, name: str, recipe: DecoderRecipe, scratch: Path) -> Path:
    """Train the decoder and put it into the zoo's folder; goes on from its last checkpoint."""
    network = zoo.network(recipe.inverted)
    backbone: Any = network.backbone
    for module in backbone.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    images = zoo.images("train")
    whiten, variance_kept = fit_whitening(backbone, images, recipe.code_size)
    adversaries = Adversaries(recipe, zoo.image_size)
    checkpoint = scratch / f"{zoo.name}-{name}-{recipe.seed}.safetensors"
    began = time.perf_counter() - _play(adversaries, backbone, whiten, images, checkpoint)
    decoder = adversaries.decoder
    manifest = {
        "name": name,
        "kind": "generator",
        "module": "decoder",
        "zoo": zoo.name,
        "config": decoder.config(),
        "recipe": asdict(recipe),
        "seed": recipe.seed,
        "scores": held_out(decoder.eval(), backbone, whiten, zoo.images("val", 1000)),
        "variance_kept": variance_kept,
        "inverted_sha256": network.card["sha256"],
        "seconds": round(time.perf_counter() - began, 1),
        "dtype": "float16",
    }
    halved = {k: v.half() if v.is_floating_point() else v for k, v in decoder.state_dict().items()}
    weights.save(zoo.path(name), halved, manifest)
    checkpoint.unlink(missing_ok=True)
    return zoo.path(name)


def _play(
    adversaries: Adversaries, backbone: Any, whiten: Whitening, images: Images, checkpoint: Path
) -> float:
    """All steps that the checkpoint has not seen yet; returns the seconds of all of them."""
    recipe = adversaries.recipe
    steps = recipe.images // recipe.batch
    start, seconds = 0, 0.0
    if checkpoint.exists():
        manifest = weights.read_manifest(checkpoint)
        adversaries.parts.load_state_dict(safetensors.torch.load_file(checkpoint))
        start, seconds = manifest["step"], manifest["seconds"]
    began = time.perf_counter() - seconds
    batches = each(range(start, steps), "batches", checkpoint.stem, there=start, resumes=True)
    for step in batches:
        generator = draws.Twister(recipe.seed * 1_000_003 + step)
        chosen = generator.randint(0, len(images), (recipe.batch,))
        real = augment(images.pixels[chosen], adversaries.image_size, 0.8, generator)
        real = real.to(memory_format=torch.channels_last)
        with torch.no_grad():
            targets = backbone.stages(real)
            codes = whiten(inverted(targets))
        adversaries.slow_down(step, steps)
        deceive = step >= recipe.adversarial_from * steps
        losses = adversaries.step(real, codes, targets, backbone, deceive)
        if not all(map(math.isfinite, losses.values())):
            raise FloatingPointError(f"expected finite losses at step {step}; got {losses}")
        if (step + 1) % recipe.checkpoint_every == 0:
            spent = time.perf_counter() - began
            about = {"step": step + 1, "seconds": spent}
            weights.save(checkpoint, adversaries.parts.state_dict(), about)
    return time.perf_counter() - began


@torch.inference_mode()
def held_out(
    decoder: Decoder, backbone: Any, whiten: Whitening, images: Images
) -> dict[str, float]:
    """How well held-out images come back: pixel error and cosine similarity of their features."""
    real = images.pixels.float() / 255
    features = torch.cat([inverted(backbone.stages(part)) for part in real.split(100)])
    fake = torch.cat([decoder(part) for part in whiten(features).split(100)])
    again = torch.cat([inverted(backbone.stages(part)) for part in fake.split(100)])
    similarity = F.cosine_similarity(features - whiten.mean, again - whiten.mean)
    return {
        "mean_absolute_error": float((fake - real).abs().mean()),
        "centred_feature_similarity": float(similarity.mean()),
        "n": len(real),
    }
