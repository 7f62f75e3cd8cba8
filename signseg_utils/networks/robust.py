"""ResNet50 trained against attacks of bounded size (Salman et al. 2020, arXiv:2007.08489).

The files hold the state of a whole attacker (library ``robustness``): the network under
``module.model.``, once more under ``module.attacker.model.``, and the normaliser of each. The
normaliser is checked and becomes the backbone's own; the attacker's copy is left out.
"""

from typing import Any

import torch
from torch import Tensor

from signseg_utils.files import checkpoints
from signseg_utils.files.weights import DamagedWeights
from signseg_utils.networks._cut import MEAN, STD, Cut, torchvision_model

_NETWORK, _ATTACKER = "module.model.", "module.attacker."
_NORMALISER = {"module.normalizer.new_mean": MEAN, "module.normalizer.new_std": STD}


class Robust(Cut):
    """A torchvision ResNet without its last layer (random weights)."""

    def __init__(self, config: dict[str, Any]):
        model, last = torchvision_model(config)
        super().__init__(model, last, config.get("image_size", 224))

    @classmethod
    def unpack(cls, checkpoint: Any, source: str) -> dict[str, Tensor]:
        """The network of such a file, in torchvision's names.

        Raises
        ------
        DamagedWeights
            For an entry that the layout does not have, or another normaliser than ImageNet's.
        """
        tensors = checkpoints.state_dict(checkpoint, "model", source=source)
        found = {}
        for key, value in tensors.items():
            if key.startswith(_NETWORK):
                found[key.removeprefix(_NETWORK)] = value
            elif key in _NORMALISER:
                if not torch.allclose(value.flatten().cpu(), torch.tensor(_NORMALISER[key])):
                    raise DamagedWeights(
                        f"expected {key} in {source} to be ImageNet's, {_NORMALISER[key]}; got "
                        f"{value.flatten().tolist()}; the network was trained on other images"
                    )
            elif not key.startswith(_ATTACKER):
                raise DamagedWeights(
                    f"expected keys in {source} to begin with {_NETWORK} or {_ATTACKER}, or to be "
                    f"{' or '.join(_NORMALISER)}; got {key}"
                )
        if not found:
            raise DamagedWeights(
                f"expected the network of {source} under {_NETWORK}; got {list(tensors)[:5]}"
            )
        return found


PLUGIN = Robust
