"""BigGAN-deep: photographs with objects, from 128 numbers of noise and 128 of class.

Brock, Donahue & Simonyan 2019, arXiv:1809.11096; weights and layout of the package
``pytorch-pretrained-biggan``, which this module does not need. It computes what the package does,
with less work: spectral norm is divided out of the weights once; batch norm, its statistics
interpolated for one truncation, is one scale and one shift a channel; the last convolution gives
the three channels that are used in place of 128.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from scipy import stats
from torch import Tensor, nn

from signseg_utils.files import checkpoints
from signseg_utils.files.weights import DamagedWeights

# biggan-deep-256: (doubles the size?, channels in, channels out) in units of channel_width
DEEP_256: Mapping[str, Any] = {
    "z_dim": 128,
    "channel_width": 128,
    "num_classes": 1000,
    "layers": (
        (False, 16, 16), (True, 16, 16), (False, 16, 16), (True, 16, 8), (False, 8, 8),
        (True, 8, 8), (False, 8, 8), (True, 8, 4), (False, 4, 4), (True, 4, 2), (False, 2, 2),
        (True, 2, 1),
    ),
    "attention_layer_position": 8,
    "eps": 1e-4,
    "n_stats": 51,
}  # fmt: skip


class Norm(nn.Module):
    """Batch norm under a condition, as a scale and a shift: x (a + A c) + (b + B c)."""

    def __init__(self, channels: int, condition: int):
        super().__init__()
        self.scale = nn.Linear(condition, channels)
        self.shift = nn.Linear(condition, channels)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.scale(condition), self.shift(condition)
        return torch.addcmul(shift[:, :, None, None], x, scale[:, :, None, None])


class Block(nn.Module):
    """Residual block with a bottleneck; it may double the size and drop channels."""

    def __init__(self, enlarges: bool, ins: int, outs: int, condition: int):
        super().__init__()
        self.enlarges, self.outs = enlarges, outs
        middle = ins // 4
        self.bn_0, self.conv_0 = Norm(ins, condition), nn.Conv2d(ins, middle, 1)
        self.bn_1, self.conv_1 = Norm(middle, condition), nn.Conv2d(middle, middle, 3, padding=1)
        self.bn_2, self.conv_2 = Norm(middle, condition), nn.Conv2d(middle, middle, 3, padding=1)
        self.bn_3, self.conv_3 = Norm(middle, condition), nn.Conv2d(middle, outs, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        kept = x[:, : x.shape[1] // 2] if x.shape[1] != self.outs else x
        x = self.conv_0(self.bn_0(x, condition).relu_())
        x = self.bn_1(x, condition).relu_()
        if self.enlarges:
            x, kept = F.interpolate(x, scale_factor=2.0), F.interpolate(kept, scale_factor=2.0)
        x = self.conv_1(x)
        x = self.conv_2(self.bn_2(x, condition).relu_())
        return self.conv_3(self.bn_3(x, condition).relu_()) + kept


class Attention(nn.Module):
    """Each place adds what it finds at others that it resembles (arXiv:1805.08318)."""

    def __init__(self, channels: int):
        super().__init__()
        self.snconv1x1_theta = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.snconv1x1_phi = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.snconv1x1_g = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.snconv1x1_o_conv = nn.Conv2d(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        query = self.snconv1x1_theta(x).flatten(2)
        key = F.max_pool2d(self.snconv1x1_phi(x), 2).flatten(2)
        value = F.max_pool2d(self.snconv1x1_g(x), 2).flatten(2)
        share = torch.softmax(query.transpose(1, 2) @ key, dim=-1)
        found = (value @ share.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + self.gamma * self.snconv1x1_o_conv(found)


class BigGAN(nn.Module):
    """Codes [image, 256], noise before class, to images [image, 3, size, size] in 0..1.

    Parameters
    ----------
    config
        As in the package's configuration file; default: biggan-deep-256.
    truncation
        Of the noise of the starting codes; it also chooses the batch-norm statistics.
    """

    initial_sigma = 0.2  # paper, A.1

    def __init__(self, config: Mapping[str, Any] = DEEP_256, truncation: float = 0.7):
        super().__init__()
        self.settings = dict(config)
        self.truncation = truncation
        width = self.width = int(config["channel_width"])
        condition = 2 * int(config["z_dim"])
        self.code_size = condition
        self.image_size = 4 * 2 ** sum(bool(layer[0]) for layer in config["layers"])
        self.gen_z = nn.Linear(condition, 16 * 16 * width)
        layers: list[nn.Module] = []
        for place, (enlarges, ins, outs) in enumerate(config["layers"]):
            if place == config["attention_layer_position"]:
                layers.append(Attention(width * ins))
            layers.append(Block(enlarges, width * ins, width * outs, condition))
        self.layers = nn.ModuleList(layers)
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))
        self.conv_to_rgb = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, codes: Tensor) -> Tensor:
        x = rearrange(self.gen_z(codes), "code (h w channel) -> code channel h w", h=4, w=4)
        for layer in self.layers:
            x = layer(x, codes)
        x = torch.addcmul(self.shift[:, None, None], x, self.scale[:, None, None]).relu_()
        return (self.conv_to_rgb(x).tanh() + 1) / 2

    def initial_codes(self, seeds: Sequence[int]) -> Tensor:
        """Truncated noise (two s.d. at most, times the truncation), then zeros for the class."""
        half = self.code_size // 2
        draws = [stats.truncnorm.rvs(-2, 2, size=half, random_state=seed) for seed in seeds]
        noise = self.truncation * torch.from_numpy(np.stack(draws)).float()
        return torch.cat([noise, torch.zeros_like(noise)], 1)

    def take(self, checkpoint: Any, source: str) -> Self:
        """Put in the weights of the package's file.

        Raises
        ------
        signseg_utils.files.weights.DamagedWeights
            If a key is missing or unexpected, or of another shape; it is named.
        """
        tensors = checkpoints.state_dict(checkpoint, source=source)
        reader = _Reader(tensors, source, self.settings, self.truncation)
        checkpoints.fit(self, reader.folded(self), source)
        return self


class _Reader:
    """Folds the package's tensors; says which are missing and which nobody asked for."""

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        source: str,
        config: Mapping[str, Any],
        truncation: float,
    ):
        self.tensors, self.source, self.config = tensors, source, config
        self.truncation = truncation
        self.asked: set[str] = set()

    def folded(self, module: BigGAN) -> dict[str, Tensor]:
        """Tensors of ``module``."""
        found = self.layer("gen_z")
        for number, layer in enumerate(module.layers):
            name = f"layers.{number}"
            if isinstance(layer, Attention):
                for part in ("theta", "phi", "g", "o_conv"):
                    found |= self.layer(f"{name}.snconv1x1_{part}", bias=False)
                found[f"{name}.gamma"] = self.get(f"{name}.gamma")
            else:
                for place in range(4):
                    found |= self.norm(f"{name}.bn_{place}")
                    found |= self.layer(f"{name}.conv_{place}")
        mean, deviation = self.statistics("bn")
        found["scale"] = self.get("bn.weight") / deviation
        found["shift"] = self.get("bn.bias") - mean * found["scale"]
        found |= {k: v[:3] for k, v in self.layer("conv_to_rgb").items()}
        self.asked.add("embeddings.weight")  # codes are searched, so classes have no use
        missing = sorted(self.asked - self.tensors.keys())
        unexpected = sorted(self.tensors.keys() - self.asked)
        if missing or unexpected:
            raise DamagedWeights(
                f"expected {self.source} to hold a BigGAN-deep of the given configuration; "
                f"missing keys: {missing or 'none'}; unexpected keys: {unexpected or 'none'}"
            )
        return found

    def get(self, name: str) -> Tensor:
        key = f"generator.{name}"
        self.asked.add(key)
        found = self.tensors.get(key)
        return torch.ones(1) if found is None else found.double()

    def weight(self, name: str) -> Tensor:
        """A weight divided by its spectral norm, u W v with the stored u and v."""
        whole, u, v = (self.get(f"{name}.weight_{part}") for part in ("orig", "u", "v"))
        if whole.ndim < 2 or whole.flatten(1).shape != (u.numel(), v.numel()):
            return whole  # incomplete: named at the end, or misshapen: named by the fit
        return whole / torch.dot(u, whole.flatten(1) @ v)

    def layer(self, name: str, bias: bool = True) -> dict[str, Tensor]:
        found = {f"{name}.weight": self.weight(name).float()}
        return found | ({f"{name}.bias": self.get(f"{name}.bias").float()} if bias else {})

    def statistics(self, name: str) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation for the truncation, between two stored ones as there."""
        step = 1.0 / (self.config["n_stats"] - 1)
        share, place = math.modf(self.truncation / step)
        means, variances = self.get(f"{name}.running_means"), self.get(f"{name}.running_vars")
        if len(means) != self.config["n_stats"] or means.shape != variances.shape:
            return means, variances  # as above
        at = int(place)
        mean, variance = means[at], variances[at]
        if share:
            mean = mean * share + means[at + 1] * (1 - share)
            variance = variance * share + variances[at + 1] * (1 - share)
        return mean, (variance + self.config["eps"]).sqrt()

    def norm(self, name: str) -> dict[str, Tensor]:
        """``(x - mean) / sd (1 + S c) + O c`` as one scale and one shift."""
        mean, deviation = self.statistics(name)
        scale, offset = self.weight(f"{name}.scale"), self.weight(f"{name}.offset")
        if mean.shape != deviation.shape or scale.shape[0] != len(mean):
            return {}
        return {
            f"{name}.scale.weight": (scale / deviation[:, None]).float(),
            f"{name}.scale.bias": (1 / deviation).float(),
            f"{name}.shift.weight": (offset - scale * (mean / deviation)[:, None]).float(),
            f"{name}.shift.bias": (-mean / deviation).float(),
        }


PLUGIN = BigGAN
