"""Train a zoo's decoder to invert its AlexNet-like network, in the manner of DeePSiM.

What is inverted is the last convolution's map, pooled to 4x4 places: like fc6 in DeePSiM it comes
before the features that the readout weighs, and still holds where things are.

Three losses (Dosovitskiy & Brox 2016, arXiv:1602.02644, eq. 2): pixels, features of the same
network at three depths, and a discriminator that looks at patches (hinge loss).
``python -m signseg_utils.training.decoder --zoo shapes``
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from signseg_utils.files import weights
from signseg_utils.generators.decoder import Decoder
from signseg_utils.progress import each
from signseg_utils.training.classifier import augment
from signseg_utils.zoos import Images, Zoo, load_zoo


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
    kept = vectors[:, -code_size:] / values[-code_size:].sqrt()
    share = float(values[-code_size:].sum() / values.sum())
    return Whitening(mean.clone(), kept.float().clone()), share


def feature_loss(maps: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Squared distance of feature maps at each depth, relative to the targets' variance."""
    pairs = zip(maps, targets, strict=True)
    return torch.stack([F.mse_loss(a, b) / b.var() for a, b in pairs]).mean()


def train(zoo: Zoo, name: str, recipe: DecoderRecipe, scratch: Path) -> Path:
    """Train the decoder and put it into the zoo's folder; goes on from its last checkpoint."""
    network = zoo.network(recipe.inverted)
    backbone: Any = network.backbone
    for module in backbone.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    images = zoo.images("train")
    whiten, variance_kept = fit_whitening(backbone, images, recipe.code_size)
    torch.manual_seed(recipe.seed)
    decoder = Decoder(recipe.code_size, zoo.image_size, recipe.width)
    critic = discriminator()
    parts = nn.ModuleDict({"decoder": decoder, "critic": critic})
    for part in (decoder, critic):
        part.to(memory_format=torch.channels_last)
    makers = torch.optim.Adam(decoder.parameters(), recipe.learning_rate, (0.5, 0.99))
    judges = torch.optim.Adam(critic.parameters(), recipe.learning_rate, (0.5, 0.99))
    checkpoint = scratch / f"{zoo.name}-{name}-{recipe.seed}.safetensors"
    steps = recipe.images // recipe.batch
    start, seconds = 0, 0.0
    if checkpoint.exists():
        manifest = weights.read_manifest(checkpoint)
        parts.load_state_dict(safetensors.torch.load_file(checkpoint))
        start, seconds = manifest["step"], manifest["seconds"]
    began = time.perf_counter() - seconds
    losses: dict[str, float] = {}
    batches = each(range(start, steps), "batches", checkpoint.stem, there=start, resumes=True)
    for step in batches:
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        chosen = torch.randint(len(images), (recipe.batch,), generator=generator)
        real = augment(images.pixels[chosen], zoo.image_size, 0.8, generator)
        real = real.to(memory_format=torch.channels_last)
        with torch.no_grad():
            targets = backbone.stages(real)
            codes = whiten(inverted(targets))
        decay = 1.0 if step < 0.7 * steps else max(0.02, (steps - step) / (0.3 * steps))
        for group in (*makers.param_groups, *judges.param_groups):
            group["lr"] = recipe.learning_rate * decay
        fake = decoder(codes)
        pixel = F.l1_loss(fake, real) * 4
        feature = feature_loss(backbone.stages(fake), targets)
        loss = pixel + recipe.feature_weight * feature
        adversarial = step >= recipe.adversarial_from * steps
        if adversarial:
            loss = loss - recipe.adversarial_weight * critic(fake).mean()
        makers.zero_grad(set_to_none=True)
        loss.backward()
        makers.step()
        if adversarial:
            judged = F.relu(1 - critic(real)).mean() + F.relu(1 + critic(fake.detach())).mean()
            judges.zero_grad(set_to_none=True)
            judged.backward()
            judges.step()
        losses = {"pixel": float(pixel.detach()) / 4, "feature": float(feature.detach())}
        if not all(map(torch.isfinite, (pixel, feature))):
            raise FloatingPointError(f"expected finite losses at step {step}; got {losses}")
        if (step + 1) % recipe.checkpoint_every == 0:
            spent = time.perf_counter() - began
            weights.save(checkpoint, parts.state_dict(), {"step": step + 1, "seconds": spent})
    manifest = {
        "name": name, "kind": "generator", "module": "decoder", "zoo": zoo.name,
        "config": decoder.config(), "recipe": asdict(recipe), "seed": recipe.seed,
        "scores": held_out(decoder.eval(), backbone, whiten, zoo.images("val", 1000)),
        "variance_kept": variance_kept, "inverted_sha256": network.card["sha256"],
        "seconds": round(time.perf_counter() - began, 1), "dtype": "float16",
    }
    halved = {k: v.half() if v.is_floating_point() else v for k, v in decoder.state_dict().items()}
    weights.save(zoo.path(name), halved, manifest)
    checkpoint.unlink(missing_ok=True)
    return zoo.path(name)


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


def main() -> None:
    """Command line: the decoder of one zoo, each field of the recipe an option."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zoo", required=True)
    parser.add_argument("--name", default="decoder")
    parser.add_argument("--scratch", type=Path, default=Path("runs"))
    for field, value in asdict(DecoderRecipe()).items():
        parser.add_argument(f"--{field.replace('_', '-')}", type=type(value), default=value)
    chosen = vars(parser.parse_args())
    zoo, name, scratch = load_zoo(chosen.pop("zoo")), chosen.pop("name"), chosen.pop("scratch")
    print(train(zoo, name, DecoderRecipe(**chosen), scratch))


if __name__ == "__main__":
    main()
