"""Networks, cut in two: a backbone that ends before the readout, and the readout."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from signseg_utils.basics import draws, registry
from signseg_utils.units.readout import Readout


@dataclass(frozen=True)
class Network:
    """A backbone, the bank of readout rows above it, and the card that says how good it is."""

    name: str
    backbone: nn.Module
    readout: Readout
    card: dict[str, Any] = field(default_factory=dict)

    def logits(self, images: Tensor) -> Tensor:
        """Responses of all rows, [image, row], to images [image, 3, height, width] in 0..1."""
        return self.readout.responses(self.backbone(images))


class Classifier(nn.Module):
    """A backbone and its linear readout, as trained: batch norm not folded."""

    def __init__(self, backbone: Any, classes: int):
        super().__init__()
        self.backbone = backbone
        self.readout = nn.Linear(backbone.features, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.backbone(images))
        return logits

    def shipped(self) -> dict[str, Tensor]:
        """Tensors under the names that they have on disk: the backbone's without a prefix."""
        return {key.removeprefix("backbone."): value for key, value in self.state_dict().items()}

    def take(self, tensors: Mapping[str, Tensor]) -> "Classifier":
        """Put in all tensors of such a file, no more and no fewer."""
        named = {
            key if key.startswith("readout.") else f"backbone.{key}": value
            for key, value in tensors.items()
        }
        self.load_state_dict(named)
        return self


def initial(module: str, config: Mapping[str, Any], classes: int, seed: int) -> Classifier:
    """The classifier that ``seed`` draws, the same on every machine (see `draws.made`)."""
    build = registry.load("networks", module)
    return draws.made(lambda: Classifier(build(config), classes), seed)


@torch.no_grad()
def mirrored(network: Network, chosen: Tensor) -> Network:
    """The network with some features turned round: weights into and out of them change sign.

    Behind an odd activation (Tanh) it computes what it did before, though weights of the readout
    have changed their sign: there the sign of a weight is a matter of naming. Behind any other
    activation it is another network.

    Parameters
    ----------
    chosen
        ``[feature]``, True for the features that turn.

    Raises
    ------
    ValueError
        If the features do not come out of a linear layer and its activation.
    """
    backbone = copy.deepcopy(network.backbone)
    rows = network.readout
    hidden = _hidden(backbone, rows)
    if hidden is None:
        raise ValueError(
            f"expected features that a linear layer and its activation give; those of "
            f"{network.name} are no such; choose an AlexNet- or VGG-like network"
        )
    if chosen.shape != rows.weight.shape[1:] or chosen.dtype != torch.bool:
        raise ValueError(
            f"expected chosen bool [{rows.weight.shape[1]}], one for each feature; "
            f"got {chosen.dtype} of shape {tuple(chosen.shape)}"
        )
    turn = torch.where(chosen, -1.0, 1.0)
    hidden.weight.mul_(turn[:, None])
    hidden.bias.mul_(turn)
    return replace(network, backbone=backbone, readout=replace(rows, weight=rows.weight * turn))


def change_if_mirrored(network: Network, images: Tensor) -> float:
    """Mean change of responses to images [image, 3, h, w] when every second feature is `mirrored`.

    In standard deviations of the responses; NaN where features cannot be turned round, because they
    are averages over a map.
    """
    if _hidden(network.backbone, network.readout) is None:
        return math.nan
    half = torch.arange(network.readout.weight.shape[1]) % 2 == 0
    turned = mirrored(network, half).logits(images)
    answers = network.logits(images)
    return float((turned - answers).abs().mean() / answers.std())


def _hidden(backbone: nn.Module, readout: Readout) -> nn.Linear | None:
    """The linear layer that the features come out of, if one does."""
    layers = [module for module in backbone.modules() if isinstance(module, nn.Linear)]
    return layers[-1] if layers and layers[-1].out_features == readout.weight.shape[1] else None
