"""Families: networks of a zoo that differ from a standard one in a single respect.

Architecture and name stand here; how each is trained stands in `signseg_utils.training.networks`.
The same design trained once more, from another seed, has that seed in its name: ``resnet-seed2``.
"""

import re
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

# The first network of a design, whose name tells no seed, is trained from seed 0 or 1 (its manifest
# says which), so that names count, too: ``resnet-seed2`` is the second of its kind.
SECOND = 2
_SEEDED = re.compile(r"(?P<design>.+)-seed(?P<seed>0|[1-9]\d{0,3})")


def seeded(design: str, seed: int) -> str:
    """Name of the network of a design that is trained from a further seed, 2 or more."""
    return f"{design}-seed{seed}"


def parted(network: str) -> tuple[str, int | None]:
    """Design and seed that a network's name tells; no seed for the first of a design.

    >>> parted("resnet-linf-0.5-seed3"), parted("resnet")
    (('resnet-linf-0.5', 3), ('resnet', None))
    """
    found = _SEEDED.fullmatch(network)
    return (found["design"], int(found["seed"])) if found else (network, None)


def families(standard: Mapping[str, Config]) -> dict[str, dict[str, Config]]:
    """Family -> name -> configuration, given those of a zoo's standard networks."""
    alexnet, resnet = standard["alexnet"], standard["resnet"]
    return {
        "robust": dict.fromkeys(ROBUST, resnet),
        "activations": {name: {**alexnet, "activation": used} for name, used in TWINS.items()},
        "selfsupervised": {"resnet-simsiam": resnet},
        "untrained": {f"{name}-untrained": config for name, config in standard.items()},
    }
