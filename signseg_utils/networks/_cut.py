"""A published classifier cut before its last linear layer: what the ImageNet networks share."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from signseg_utils.basics.refusals import UnknownName
from signseg_utils.basics.registry import unknown
from signseg_utils.files import checkpoints

_RESNET_STAGES = ("layer1", "layer2", "layer3", "layer4")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, by colour


class Cut(nn.Module):
    """Images [image, 3, height, width] in 0..1 to the features that the readout weighs.

    Other sizes are resized to the network's own, and colours are normalised, inside.

    Parameters
    ----------
    model
        A classifier; it is changed: its layer ``last`` becomes the identity.
    last
        Name of the linear layer that ends it, such as ``"fc"`` or ``"classifier.6"``.
    image_size
        Side of the images that it was trained on, pixels.
    mean, std
        Of each colour, subtracted and divided by.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        last: str,
        image_size: int = 224,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
    ):
        super().__init__()
        readout = model.get_submodule(last)
        if not isinstance(readout, nn.Linear):
            raise TypeError(
                f"expected {last} to be a linear layer, because its rows are the readout; got "
                f"{type(readout).__name__}"
            )
        self.last = last
        self.image_size = image_size
        self.features = readout.in_features
        parent, _, name = last.rpartition(".")
        setattr(model.get_submodule(parent), name, nn.Identity())
        self.trunk = model
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-2:] != (self.image_size, self.image_size):
            size = (self.image_size, self.image_size)
            wide = F.interpolate(images.float(), size, mode="bilinear", antialias=True)
            images = wide.to(images.dtype)  # no bfloat16 kernel for this on a CPU
        features: Tensor = self.trunk((images - self.mean) / self.std)
        return features

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the modules that give the maps of `stages`.

        Stem and stages of a torchvision ResNet; of others, each activation behind a convolution.

        Raises
        ------
        TypeError
            If the classifier is neither, nor has a sequence ``features``, as AlexNet and VGG do.
        """
        if hasattr(self.trunk, "layer1"):
            return tuple(f"trunk.{name}" for name in ("relu", *_RESNET_STAGES))
        layers = getattr(self.trunk, "features", None)
        if not isinstance(layers, nn.Sequential):
            raise TypeError(
                "expected a classifier with stages as torchvision's AlexNet, VGG or ResNet has "
                f"them; got {type(self.trunk).__name__}; name its layers instead"
            )
        kept = [(n, layer) for n, layer in enumerate(layers) if not isinstance(layer, nn.Identity)]
        return tuple(
            f"trunk.features.{place}"
            for (_, before), (place, _) in pairwise(kept)
            if isinstance(before, nn.Conv2d)
        )

    def stages(self, images: Tensor) -> list[Tensor]:
        """Maps of the layers of `layer_names`, [image, channel, height, width] each."""
        found: dict[str, Tensor] = {}

        def keep(name: str) -> Any:
            return lambda module, inputs, output: found.update({name: output})

        handles = [
            self.get_submodule(name).register_forward_hook(keep(name)) for name in self.layer_names
        ]
        try:
            self(images)
        finally:
            for handle in handles:
                handle.remove()
        return [found[name] for name in self.layer_names]

    def readers(self, stage: int) -> list[Tensor]:
        """Weights of the convolutions that read the map of a stage, batch norm absorbed."""
        if hasattr(self.trunk, "layer1"):
            block: Any = self.trunk.get_submodule(_RESNET_STAGES[stage])[0]  # type: ignore[index]
            beside = [] if block.downsample is None else [block.downsample[0]]
            return [layer.weight.detach() for layer in (block.conv1, *beside)]
        name = self.layer_names[stage]
        layers: Any = self.trunk.get_submodule("features")
        behind = layers[int(name.rpartition(".")[2]) :]
        return [next(layer for layer in behind if isinstance(layer, nn.Conv2d)).weight.detach()]

    def named(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of the whole classifier under the names that they have in this project.

        ``readout.weight``, ``readout.bias`` and, before the names of all others, ``trunk.``.
        """
        readout = f"{self.last}."
        return {
            f"readout.{key.removeprefix(readout)}"
            if key.startswith(readout)
            else f"trunk.{key}": value.float() if value.is_floating_point() else value
            for key, value in tensors.items()
        }

    def folded(self) -> Self:
        """This backbone, ready for search: batch norm absorbed, channels last, no gradients."""
        fold(self.eval())
        return self.to(memory_format=torch.channels_last).requires_grad_(False)

    @classmethod
    def unpack(cls, checkpoint: Any, source: str) -> dict[str, Tensor]:
        """State dict of the whole classifier, in torchvision's names, from a published file."""
        return checkpoints.state_dict(checkpoint, "state_dict", source=source)


def fold(module: nn.Module) -> None:
    """Absorb each batch norm into the convolution that its parent defines right before it.

    This is what it follows in torchvision's AlexNet, VGG and ResNet and in timm's EfficientNet,
    where a batch norm holds the activation behind it, which stays; so does the function.
    """
    before: tuple[str, nn.Conv2d] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and before is not None:
            setattr(module, before[0], fuse_conv_bn_eval(before[1].eval(), child.eval()))
            setattr(module, name, getattr(child, "act", nn.Identity()))
        before = (name, child) if isinstance(child, nn.Conv2d) else None
        fold(child)


def torchvision_model(config: Mapping[str, Any]) -> tuple[nn.Module, str]:
    """A torchvision classifier with random weights, and the name of its last layer.

    Parameters
    ----------
    config
        ``arch``: alexnet, vgg11 to vgg19 or a ResNet; ``activation``: tanh in place of ReLU;
        ``options``: further arguments of torchvision's builder.
    """
    from torchvision import models

    arch = str(config["arch"])
    known = {"alexnet": "classifier.6", "vgg": "classifier.6", "resnet": "fc"}
    family = next((family for family in known if arch.startswith(family)), None)
    if family is None or arch not in models.list_models():
        raise UnknownName(
            unknown("torchvision AlexNet, VGG or ResNet", arch, tuple(models.list_models()))
        )
    options = dict(config.get("options", {}))
    if "layers" in options:  # a small ResNet, for tests
        block = models.resnet.BasicBlock if arch in ("resnet18", "resnet34") else None
        model: nn.Module = models.ResNet(block or models.resnet.Bottleneck, **options)
    else:
        model = models.get_model(arch, weights=None, **options)
    if config.get("activation", "relu") == "tanh":
        _rectified_to_tanh(model)
    return model, known[family]


def _rectified_to_tanh(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU):
            setattr(module, name, nn.Tanh())
        _rectified_to_tanh(child)
