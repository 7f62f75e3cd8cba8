"""Families: networks of a zoo that differ from a standard one in a single respect.

Architecture and name stand here; how each is trained stands in `signseg_utils.training.networks`.
"""

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]

# Trained to withstand changes of up to so much per pixel (image values 0..1). The first of them was
# trained on as the others were, but not attacked.
ROBUST = {f"resnet-linf-{step}": float(step) / 255 for step in ("0", "0.5", "1", "2", "4", "8")}

# Twins that differ in their activation. The AlexNet-like network is the cheapest one that is good
# enough in every zoo, and each of its features is one activation, not a mean over places, so it is
# exactly as rectified as the function is. The ReLU twin is not the standard network: all twins
# start from weights and see images in an order of their own, and none is the one that the decoder
# was made to invert.
TWINS = {
    "alexnet-relu": "relu",
    "alexnet-tanh": "tanh",
    "alexnet-relu-matched": "relu",  # stopped at the accuracy of the Tanh twin
    "alexnet-leaky_relu": "leaky_relu",
    "alexnet-gelu": "gelu",
    "alexnet-softplus": "softplus",
}


def families(standard: Mapping[str, Config]) -> dict[str, dict[str, Config]]:
    """Family -> name -> configuration, given those of a zoo's standard networks."""
    alexnet, resnet = standard["alexnet"], standard["resnet"]
    return {
        "robust": dict.fromkeys(ROBUST, resnet),
        "activations": {name: {**alexnet, "activation": used} for name, used in TWINS.items()},
        "selfsupervised": {"resnet-simsiam": resnet},
        "untrained": {f"{name}-untrained": config for name, config in standard.items()},
    }
