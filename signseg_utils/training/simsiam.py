"""Learn a backbone without labels (SimSiam), then a linear readout of it, frozen, with them.

Two random views of an image are to have features of which each predicts the other's; no gradient
flows into what is predicted, without which all images would get the same features (Chen & He 2021,
arXiv:2011.10566).
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from signseg_utils.basics import draws
from signseg_utils.basics.draws import Twister
from signseg_utils.files import weights
from signseg_utils.networks import initial
from signseg_utils.training import classifier, loop
from signseg_utils.zoos import Images, Zoo

LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Recipe(loop.Recipe):
    """How a backbone is pre-trained, and for how many epochs its readout is trained afterwards.

    ``size``: pixels of a view. A view holds at least the share ``smallest_area`` of an image.
    Brightness, contrast and saturation change by up to ``colour``, hues by up to ``hue`` of a
    turn; the share ``grey`` loses its colours. What views do not agree on is not learned, so where
    classes are told apart by their hue, it must stay. ``swap``: before each view, the object is cut
    out by its mask and put before an image that holds none; else the backgrounds, which views share
    as well, are learned in its stead (compare Ryali et al. 2021, arXiv:2103.12719). ``width`` and
    ``bottleneck``: of the projection and of the predictor.
    """

    epochs: int = 30
    learning_rate: float = 0.05
    size: int = 48
    smallest_area: float = 0.2
    colour: float = 0.4
    hue: float = 0.1
    grey: float = 0.2
    swap: bool = False
    width: int = 512
    bottleneck: int = 128
    readout_epochs: int = 6


def view(pixels: Tensor, recipe: Recipe, generator: Twister) -> Tensor:
    """A random view of each image: cropped, mirrored, recoloured.

    ``pixels`` uint8 [image, 3, s, s] to float [image, 3, size, size] in 0..1. As in SimSiam's
    appendix A, but for blur and changes of aspect, and all images are recoloured.
    """
    count = len(pixels)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * generator.rand(count)

    side = uniform(recipe.smallest_area, 1).sqrt()
    place = torch.zeros(count, 2, 3)
    place[:, 0, 0] = side * uniform(-1, 1).sign()  # mirrored half the time
    place[:, 1, 1] = side
    place[:, 0, 2] = (1 - side) * uniform(-1, 1)
    place[:, 1, 2] = (1 - side) * uniform(-1, 1)
    grid = F.affine_grid(place, [count, 3, recipe.size, recipe.size], align_corners=False)
    crops = F.grid_sample(
        pixels.float() / 255, grid, padding_mode="reflection", align_corners=False
    )
    change = 1 - recipe.colour, 1 + recipe.colour
    saturation = uniform(*change) * (uniform(0, 1) >= recipe.grey)
    turn = 2 * math.pi * uniform(-recipe.hue, recipe.hue)
    colours = rotation(turn) @ saturate(saturation) * uniform(*change)[:, None, None]
    crops = torch.einsum("nij,njhw->nihw", colours, crops)
    mean = crops.mean((1, 2, 3), keepdim=True)
    return (mean + (crops - mean) * uniform(*change)[:, None, None, None]).clamp(0, 1)


def swapped(images: Images, empty: Tensor, generator: Twister) -> Tensor:
    """Objects before other backgrounds: pixels uint8 [image, 3, s, s].

    ``empty``: pixels [n, 3, s, s] of images that hold no object, of which one is drawn for each.
    """
    if images.masks is None:
        raise ValueError("expected images with masks, because swap=true cuts objects out; got none")
    drawn = generator.randint(0, len(empty), (len(images),))
    return torch.where(images.masks[:, None], images.pixels, empty[drawn])


def saturate(share: Tensor) -> Tensor:
    """Colour matrices [image, 3, 3] that leave a share [image] of the distance to grey."""
    grey = torch.tensor(LUMA).expand(3, 3)
    return grey + share[:, None, None] * (torch.eye(3) - grey)


def rotation(angle: Tensor) -> Tensor:
    """Colour matrices [image, 3, 3] that turn hues by ``angle`` [image] about the axis of greys."""
    axis = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    sine, cosine = angle.sin()[:, None, None], angle.cos()[:, None, None]
    return torch.eye(3) + sine * axis + (1 - cosine) * axis @ axis  # Rodrigues' formula


class SimSiam(nn.Module):
    """Backbone, projection and predictor."""

    def __init__(self, backbone: nn.Module, features: int, width: int, bottleneck: int):
        super().__init__()
        self.backbone = backbone
        self.projection = nn.Sequential(
            nn.Linear(features, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width, affine=False),
        )
        self.predictor = nn.Sequential(
            nn.Linear(width, bottleneck, bias=False),
            nn.BatchNorm1d(bottleneck),
            nn.ReLU(inplace=True),
            nn.Linear(bottleneck, width),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Projections [image, width] of views [image, 3, height, width]."""
        projected: Tensor = self.projection(self.backbone(images))
        return projected

    def loss(self, one: Tensor, other: Tensor) -> Tensor:
        """Half the negative cosines of predictions and projections of two views (eq. 2)."""
        projected = self(one), self(other)
        first, second = (self.predictor(projection) for projection in projected)
        cosines = F.cosine_similarity(first, projected[1].detach()) + F.cosine_similarity(
            second, projected[0].detach()
        )
        return -cosines.mean() / 2


def spread(projected: Tensor) -> Tensor:
    """Spread over images of projections of unit length: 0 if all are alike, at most 1.

    Standard deviation times the root of the number of dimensions: about 1 for directions that are
    uniform over the sphere (section 4.1).
    """
    return F.normalize(projected).std(0, correction=0).mean() * math.sqrt(projected.shape[1])


def pretrain(zoo: Zoo, name: str, recipe: Recipe, scratch: Path) -> Path:
    """Train the backbone of ``name`` without labels, resumably; what is done is not done again.

    Returns the path of a classifier in ``scratch`` with that backbone and a random readout.
    """
    done = scratch / f"{zoo.name}-{name}-{recipe.seed}-pretrained.safetensors"
    if done.exists() and Recipe(**weights.read_manifest(done)["recipe"]) == recipe:
        return done
    whole = initial(zoo.architectures, zoo.config(name), len(zoo.classes), recipe.seed)
    features = whole.readout.in_features
    model = draws.made(
        lambda: SimSiam(whole.backbone, features, recipe.width, recipe.bottleneck), recipe.seed
    )
    images = zoo.images("train")
    empty = images.pixels[images.labels < 0]
    images = images[images.labels >= 0] if recipe.swap else images

    def objective(chosen: Tensor, epoch: int, generator: Twister) -> Tensor:
        def pixels() -> Tensor:
            drawn = images[chosen]
            return swapped(drawn, empty, generator) if recipe.swap else drawn.pixels

        one, other = (view(pixels(), recipe, generator) for _ in range(2))
        return model.loss(one, other)

    checkpoint = scratch / f"{zoo.name}-{name}-{recipe.seed}-pretraining.safetensors"
    progress = loop.run(model, objective, len(images), recipe, checkpoint, {})
    manifest = {
        "name": f"{name}, backbone",
        "recipe": asdict(recipe),
        "seed": recipe.seed,
        "scores": held_out(model, zoo.images("val", 1000), recipe),
        "seconds": round(progress.seconds, 1),
    }
    weights.save(done, whole.shipped(), manifest)
    checkpoint.unlink(missing_ok=True)
    return done


@torch.inference_mode()
def held_out(model: SimSiam, images: Images, recipe: Recipe) -> dict[str, float]:
    """Loss for unseen images, and how far their projections spread."""
    generator = Twister(recipe.seed)
    model.eval()
    losses, projected = [], []
    for pixels in images.pixels.split(100):
        one, other = (view(pixels, recipe, generator) for _ in range(2))
        losses.append(len(pixels) * model.loss(one, other))
        projected.append(model(one))
    return {
        "loss": float(torch.stack(losses).sum() / len(images)),
        "spread": float(spread(torch.cat(projected))),
        "n": len(images),
    }


def train(zoo: Zoo, name: str, recipe: Recipe, scratch: Path) -> Path:
    """Pre-train, then train the readout of the frozen backbone, and put both into the zoo."""
    pretrained = pretrain(zoo, name, recipe, scratch)
    readout = classifier.Recipe(
        epochs=recipe.readout_epochs,
        batch=recipe.batch,
        seed=recipe.seed,
        frozen=True,
        small_share=0.0,
    )
    return classifier.train(zoo, name, readout, scratch, pretrained)
