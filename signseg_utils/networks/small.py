"""Small AlexNet-, VGG- and ResNet-like backbones for images of 32 to 64 pixels.

Each stops before the readout: images in 0..1 go in, the features that the readout weighs come
out. They keep what sets the families apart (a large first kernel, pooling and a hidden fully
connected layer; stacks of 3x3 convolutions; residual blocks) at 10 to 40 million
multiply-accumulates an image, so that two processor cores can search on them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from signseg_utils.basics.refusals import UnknownName
from signseg_utils.basics.registry import unknown

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "tanh": nn.Tanh,
    "leaky_relu": lambda: nn.LeakyReLU(0.2, inplace=True),
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
}


@dataclass(frozen=True)
class SmallConfig:
    """What defines a small backbone; stored in the manifest of its weights.

    ``widths``: channels of the stem, then of each stage; ``depths``: convolutions (AlexNet-,
    VGG-like) or residual blocks (ResNet-like) in each stage.
    """

    family: str
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    features: int = 512
    image_size: int = 64
    activation: str = "relu"

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise UnknownName(unknown("family of small backbones", self.family, list(FAMILIES)))
        if self.activation not in ACTIVATIONS:
            raise UnknownName(unknown("activation function", self.activation, list(ACTIVATIONS)))
        if len(self.widths) != len(self.depths) + 1:
            raise ValueError(
                "expected one width for the stem and one for each stage; "
                f"got {len(self.widths)} widths for {len(self.depths)} stages"
            )


class ConvUnit(nn.Sequential):
    """Convolution, batch norm, activation (none: linear, as before a residual sum)."""

    def __init__(self, ins: int, outs: int, kernel: int, stride: int, activation: str | None):
        layers = [
            nn.Conv2d(ins, outs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outs),
        ]
        super().__init__(*layers, *([ACTIVATIONS[activation]()] if activation else []))

    def fold(self) -> None:
        """Absorb the batch norm into the convolution (same function, for inference only)."""
        if isinstance(self[0], nn.Conv2d) and isinstance(self[1], nn.BatchNorm2d):
            self[0] = fuse_conv_bn_eval(self[0].eval(), self[1].eval())
            self[1] = nn.Identity()


class Block(nn.Module):
    """Residual block of two 3x3 convolutions (He et al. 2016, 10.1109/CVPR.2016.90)."""

    def __init__(self, ins: int, outs: int, stride: int, activation: str):
        super().__init__()
        self.first = ConvUnit(ins, outs, 3, stride, activation)
        self.second = ConvUnit(outs, outs, 3, 1, None)
        same = ins == outs and stride == 1
        self.shortcut = nn.Identity() if same else ConvUnit(ins, outs, 1, stride, None)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.second(self.first(x)) + self.shortcut(x))


def _pooled_stages(c: SmallConfig, kernel: int) -> list[nn.Module]:
    """A stem with stride 2, then stages that pool and convolve, as AlexNet and VGG do."""
    stages: list[nn.Module] = [ConvUnit(3, c.widths[0], kernel, 2, c.activation)]
    for ins, outs, depth in zip(c.widths, c.widths[1:], c.depths, strict=False):
        convs = [ConvUnit(ins if i == 0 else outs, outs, 3, 1, c.activation) for i in range(depth)]
        stages.append(nn.Sequential(nn.MaxPool2d(2), *convs))
    return stages


def _alexnet(c: SmallConfig) -> tuple[list[nn.Module], nn.Module]:
    """Krizhevsky et al. 2012: a large first kernel, and a hidden layer that sees all places."""
    hidden = nn.Linear(c.widths[-1] * 16, c.features)
    layers = [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.2), hidden]
    return _pooled_stages(c, 5), nn.Sequential(*layers, ACTIVATIONS[c.activation]())


def _vgg(c: SmallConfig) -> tuple[list[nn.Module], nn.Module]:
    """Simonyan & Zisserman 2015, arXiv:1409.1556: 3x3 convolutions only."""
    hidden = nn.Linear(c.widths[-1] * 4, c.features)
    layers = [nn.AdaptiveMaxPool2d(2), nn.Flatten(), hidden]
    return _pooled_stages(c, 3), nn.Sequential(*layers, ACTIVATIONS[c.activation]())


def _resnet(c: SmallConfig) -> tuple[list[nn.Module], nn.Module]:
    stages: list[nn.Module] = [ConvUnit(3, c.widths[0], 5, 2, c.activation)]
    for ins, outs, depth in zip(c.widths, c.widths[1:], c.depths, strict=False):
        blocks = [
            Block(ins if i == 0 else outs, outs, 2 if i == 0 else 1, c.activation)
            for i in range(depth)
        ]
        stages.append(nn.Sequential(*blocks))
    expand = ConvUnit(c.widths[-1], c.features, 1, 1, c.activation)
    return stages, nn.Sequential(expand, nn.AdaptiveAvgPool2d(1), nn.Flatten())


FAMILIES = {"alexnet": _alexnet, "vgg": _vgg, "resnet": _resnet}


class SmallBackbone(nn.Module):
    """Images [image, 3, height, width] in 0..1 to features [image, feature]."""

    def __init__(self, config: SmallConfig):
        super().__init__()
        self.config = config
        self.image_size = config.image_size
        self.features = config.features
        stages, self.head = FAMILIES[config.family](config)
        self.trunk = nn.ModuleList(stages)

    def stages(self, images: Tensor) -> list[Tensor]:
        """Maps after the stem and after each stage, [image, channel, height, width] each."""
        if images.shape[-1] != self.image_size and not self.training:
            size = (self.image_size, self.image_size)
            wide = F.interpolate(images.float(), size, mode="bilinear", antialias=True)
            images = wide.to(images.dtype)  # no bfloat16 kernel for this on a CPU
        x = (images - 0.45) * 4.0  # mean and contrast of natural images, to about N(0, 1)
        maps = []
        for stage in self.trunk:
            x = stage(x)
            maps.append(x)
        return maps

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the modules that give the maps of `stages`: the stem, then each stage."""
        return tuple(f"trunk.{number}" for number in range(len(self.trunk)))

    def readers(self, stage: int) -> list[Tensor]:
        """Weights of the convolutions that read the map of a stage: of both paths of a block.

        Weights act with their sign only where batch norm has been absorbed (see `folded`).
        """
        below = list(self.trunk[stage + 1].children())
        units: list[nn.Module] = below[1:2]  # behind the pooling
        if isinstance(below[0], Block):
            units = [below[0].first, below[0].shortcut]
        return [next(unit.parameters()).detach() for unit in units if isinstance(unit, ConvUnit)]

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.head(self.stages(images)[-1])
        return features

    def folded(self) -> "SmallBackbone":
        """This backbone, ready for search: batch norm absorbed, channels last, no gradients."""
        for module in self.eval().modules():
            if isinstance(module, ConvUnit):
                module.fold()
        return self.to(memory_format=torch.channels_last).requires_grad_(False)


def PLUGIN(config: dict[str, Any]) -> SmallBackbone:
    """Build a small backbone (random weights) from a manifest's ``config``."""
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
    return SmallBackbone(SmallConfig(**values))
