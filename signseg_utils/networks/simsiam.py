"""ResNet50 that learned without labels, under a linear readout (Chen & He 2021, arXiv:2011.10566).

Two public layouts. The *linear* checkpoint (``main_lincls.py``) holds the whole network, backbone
and readout, under ``module.``. The *pre-training* checkpoint holds the backbone under
``module.encoder.``, a projection in the place of the readout (``module.encoder.fc.``) and a
predictor; it has no readout, so that one must come from a linear checkpoint.
"""

from typing import Any

from torch import Tensor

from signseg_utils.files import checkpoints
from signseg_utils.files.weights import DamagedWeights
from signseg_utils.networks._cut import Cut, torchvision_model

_WHOLE, _ENCODER = "module.", "module.encoder."
_LEFT_OUT = ("module.encoder.fc.", "module.predictor.")  # projection and prediction heads


class SimSiam(Cut):
    """A torchvision ResNet without its last layer (random weights)."""

    def __init__(self, config: dict[str, Any]):
        model, last = torchvision_model(config)
        super().__init__(model, last, config.get("image_size", 224))

    @classmethod
    def unpack(cls, checkpoint: Any, source: str, linear: Any = None) -> dict[str, Tensor]:
        """Backbone and readout in torchvision's names.

        Parameters
        ----------
        checkpoint
            Of either layout.
        linear
            A linear checkpoint, for the readout, where ``checkpoint`` is of the other layout.

        Raises
        ------
        DamagedWeights
            If a key belongs to neither layout, or there is no readout.
        """
        tensors = checkpoints.state_dict(checkpoint, "state_dict", source=source)
        strange = [key for key in tensors if not key.startswith(_WHOLE)]
        if strange:
            raise DamagedWeights(
                f"expected keys in {source} to begin with {_WHOLE}; got {strange[:5]}"
            )
        if not any(key.startswith(_ENCODER) for key in tensors):
            return {key.removeprefix(_WHOLE): value for key, value in tensors.items()}
        if linear is None:
            raise DamagedWeights(
                f"expected a readout in {source}; it is a pre-training checkpoint, which has none: "
                "take the linear checkpoint, or pass one for its readout"
            )
        head = cls.unpack(linear, f"the linear checkpoint beside {source}")
        kept = {
            key.removeprefix(_ENCODER): value
            for key, value in tensors.items()
            if not key.startswith(_LEFT_OUT)
        }
        return kept | {key: value for key, value in head.items() if key.startswith("fc.")}


PLUGIN = SimSiam
