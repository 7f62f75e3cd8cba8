"""Networks, cut in two: a backbone that ends before the readout, and the readout."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from signseg_utils.readout import Readout


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
