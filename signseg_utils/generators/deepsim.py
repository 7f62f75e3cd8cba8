"""DeePSiM fc6: from the features of AlexNet's layer fc6 back to an image of 256 pixels.

Dosovitskiy & Brox 2016, arXiv:1602.02644: three linear layers, nine up-convolutions, each followed
by a leaky ReLU but for the last; colours come out as blue, green, red minus their means. Two key
layouts of the ported weights are public: ``defc7 ... deconv0`` (some files with ``.1.`` for ``.``,
or ``G.`` before each name), and ``fc7 ... tconv0``, whose convolutions have no biases.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from signseg_utils.basics import draws
from signseg_utils.files import checkpoints

# Name in either layout, channels in and out (thirds of width 256 and so on), kernel, stride.
_LINEAR = (("defc7", "fc7"), ("defc6", "fc6"), ("defc5", "fc5"))
_CONVOLUTIONS = (
    ("deconv5", "tconv5_0", 256, 256, 4),
    ("conv5_1", "tconv5_1", 256, 512, 3),
    ("deconv4", "tconv4_0", 512, 256, 4),
    ("conv4_1", "tconv4_1", 256, 256, 3),
    ("deconv3", "tconv3_0", 256, 128, 4),
    ("conv3_1", "tconv3_1", 128, 128, 3),
    ("deconv2", "tconv2", 128, 64, 4),
    ("deconv1", "tconv1", 64, 32, 4),
    ("deconv0", "tconv0", 32, 3, 4),
)
_RED_GREEN_BLUE = (123.0, 117.0, 104.0)


class DeepSim(nn.Module):
    """Codes [image, 4096] to images [image, 3, 256, 256] in 0..1.

    Parameters
    ----------
    thinner
        Divides the number of channels and the length of codes (1: the published network).
    """

    initial_sigma = 3.0  # paper, A.1
    image_size = 256
    mean: Tensor

    def __init__(self, thinner: int = 1):
        super().__init__()
        self.code_size = 4096 // thinner
        self.channels = 256 // thinner
        for name, _ in _LINEAR:
            self.add_module(name, nn.Linear(self.code_size, self.code_size))
        for name, _, ins, outs, kernel in _CONVOLUTIONS:
            wide = outs if outs == 3 else outs // thinner
            stride = 2 if kernel == 4 else 1
            layer = nn.ConvTranspose2d(ins // thinner, wide, kernel, stride, padding=1)
            self.add_module(name, layer)
        mean = torch.tensor(_RED_GREEN_BLUE).view(3, 1, 1)
        self.register_buffer("mean", mean, persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        x = codes
        for name, _ in _LINEAR:
            x = F.leaky_relu(self.get_submodule(name)(x), 0.3)
        x = x.unflatten(1, (self.channels, 4, 4))
        for name, *_ in _CONVOLUTIONS[:-1]:
            x = F.leaky_relu(self.get_submodule(name)(x), 0.3)
        blue_green_red = self.get_submodule(_CONVOLUTIONS[-1][0])(x)
        return (blue_green_red.flip(1) + self.mean).clamp(0, 255) / 255

    def initial_codes(self, seeds: Sequence[int]) -> Tensor:
        """One code of small norm for each seed, [seed, code]; the same seed, the same code."""
        return 0.1 * torch.stack([draws.Twister(seed).randn(self.code_size) for seed in seeds])

    def take(self, checkpoint: Any, source: str) -> Self:
        """Put in the weights of a published file, in either layout.

        Raises
        ------
        signseg_utils.files.weights.DamagedWeights
            If a key is missing or unexpected, or of another shape; it is named.
        """
        checkpoints.fit(self, unpack(checkpoint, source), source)
        return self


def unpack(checkpoint: Any, source: str) -> dict[str, Tensor]:
    """Tensors by the names of the first layout, from a file of either."""
    tensors = checkpoints.state_dict(checkpoint, "state_dict", source=source)
    plain = {key.removeprefix("G.").replace(".1.", "."): value for key, value in tensors.items()}
    if "tconv0.weight" not in plain:
        return {key: value.float() for key, value in plain.items()}
    pairs: Mapping[str, str] = dict(
        [(theirs, ours) for ours, theirs in _LINEAR]
        + [(theirs, ours) for ours, theirs, *_ in _CONVOLUTIONS]
    )
    renamed = {}
    for key, value in plain.items():
        layer, _, part = key.rpartition(".")
        renamed[f"{pairs.get(layer, layer)}.{part}"] = value.float()
    for ours, _, _, outs, _ in _CONVOLUTIONS:  # this layout has no biases there
        wide = renamed[f"{ours}.weight"].shape[1] if f"{ours}.weight" in renamed else outs
        renamed.setdefault(f"{ours}.bias", torch.zeros(wide))
    return renamed


PLUGIN = DeepSim
