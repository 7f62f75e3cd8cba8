"""AlexNet, VGG16, ResNet18 and ResNet50 with the weights that torchvision publishes.

Also files of the same keys from elsewhere: the semi-supervised ResNet50s (Yalniz et al. 2019,
arXiv:1905.00546), and a ResNet18 with Tanh in place of ReLU. Nobody publishes that last one. The
paper trained its pair with FFCV, 16 epochs of ImageNet. The public recipe for that length
(libffcv/ffcv-imagenet, ``rn18_16_epochs.yaml``): SGD with momentum .9, batches of 1024, a learning
rate of .5 for each 256 images that rises for two epochs and then falls linearly to 0, weight decay
5e-5 (none on batch norm), label smoothing .1, images of 160 pixels that grow to 192 from epoch 11
to 13. Leave its blurred pooling off, which changes the keys, put Tanh for ReLU, and save the state
dict, in torchvision's names, as ``resnet18-tanh.pth``.
"""

from typing import Any

from torch import Tensor

from signseg_utils.files import checkpoints
from signseg_utils.networks._cut import Cut, torchvision_model


class Torchvision(Cut):
    """A torchvision AlexNet, VGG or ResNet without its last layer (random weights)."""

    def __init__(self, config: dict[str, Any]):
        model, last = torchvision_model(config)
        super().__init__(model, last, config.get("image_size", 224))

    @classmethod
    def unpack(cls, checkpoint: Any, source: str) -> dict[str, Tensor]:
        """A bare state dict, or one under ``state_dict``; ``module.`` before its names goes."""
        tensors = checkpoints.state_dict(checkpoint, "state_dict", source=source)
        return {key.removeprefix("module."): value for key, value in tensors.items()}


PLUGIN = Torchvision
