"""Zoo ``imagenet`` with small networks, and files for it of the published layouts."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pytorch_pretrained_biggan import BigGAN as Reference
from pytorch_pretrained_biggan import BigGANConfig
from torch import Tensor, nn

from signseg_utils.files.sources import REGISTRY, Remote
from signseg_utils.generators.deepsim import DeepSim
from signseg_utils.metrics.lpips import Perceptual
from signseg_utils.metrics.objectness import quiet_ultralytics
from signseg_utils.networks._cut import MEAN, STD, torchvision_model
from signseg_utils.zoos.imagenet import ImageNet

TINY = dict(arch="resnet18", image_size=32, options=dict(layers=[1, 1, 1, 1]))
BIGGAN = dict(
    output_dim=16,
    z_dim=8,
    class_embed_dim=8,
    channel_width=8,
    num_classes=10,
    layers=[(False, 16, 8), (True, 8, 4), (False, 4, 2), (True, 2, 1)],
    attention_layer_position=2,
)


def _small(config: Mapping[str, Any]) -> dict[str, Any]:
    return {**config, **TINY}


class SmallImageNet(ImageNet):
    """Its networks are ResNets of four blocks for 32 pixels, its generators thin."""

    network_configs = {
        name: _small(ImageNet.network_configs[name]) for name in ("alexnet", "resnet50")
    }
    family_configs = {
        family: {name: _small(config) for name, config in configs.items()}
        for family, configs in ImageNet.family_configs.items()
    }
    judges = ("alexnet", "resnet50")
    generator_options = {
        "deepsim": {"thinner": 16},
        "biggan": {"config": BigGANConfig(**BIGGAN).to_dict()},
    }
    detector_size = 64

    def perceptual(self, judge: str) -> Perceptual:
        return Perceptual._reference(None)  # its file of AlexNet is none of AlexNet's


def network(config: Mapping[str, Any], seed: int = 0) -> nn.Module:
    """A whole classifier with random weights and random batch-norm statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = torchvision_model(config)[0].eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.5, 2)
                module.weight.data.uniform_(0.5, 2)
    return model.requires_grad_(False)


def biggan(config: Mapping[str, Any] = BIGGAN) -> nn.Module:
    """The package's own model with random weights, statistics and singular vectors."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Reference(BigGANConfig(**config))
        for name, value in model.named_buffers():
            if "running_means" in name:
                value.normal_()
            if "running_vars" in name:
                value.uniform_(0.5, 2)
        for name, parameter in model.named_parameters():
            if name.endswith("gamma"):
                parameter.data.fill_(0.7)
            if name in ("generator.bn.weight", "generator.bn.bias"):
                parameter.data.normal_()
        half = config["z_dim"]
        model(torch.randn(2, half), torch.randn(2, config["num_classes"]), 0.7)
    return model.eval().requires_grad_(False)


def robust_layout(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """As the library ``robustness`` saves an attacker."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    state = {"module.normalizer.new_mean": mean, "module.normalizer.new_std": std}
    state |= {f"module.model.{key}": value for key, value in tensors.items()}
    state |= {"module.attacker.normalize.new_mean": mean, "module.attacker.normalize.new_std": std}
    state |= {f"module.attacker.model.{key}": value for key, value in tensors.items()}
    return {"model": state, "optimizer": {"state": {}, "param_groups": []}, "epoch": 89}


def linear_layout(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """As SimSiam's ``main_lincls.py`` saves a network."""
    state = {f"module.{key}": value for key, value in tensors.items()}
    return {
        "epoch": 90,
        "arch": "resnet50",
        "state_dict": state,
        "best_acc1": torch.tensor(68.3),
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.0}]},
    }


LAYOUTS = {"robust": robust_layout, "simsiam": linear_layout, "torchvision": dict}


def yolo(file: Path) -> nn.Module:
    """Write the smallest YOLO 11, untrained, as ``ultralytics`` writes its files."""
    quiet_ultralytics()
    from ultralytics.nn.tasks import DetectionModel, yaml_model_load

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DetectionModel(yaml_model_load("yolo11n.yaml"), ch=3, nc=80, verbose=False)
    content = {
        "epoch": -1,
        "best_fitness": None,
        "model": model.half(),
        "ema": None,
        "updates": None,
        "optimizer": None,
        "train_args": {"imgsz": 640},
        "date": None,
        "version": "8.3.0",
    }
    torch.save(content, file)
    return model.float().eval()


def make(zoo: type[ImageNet], folder: Path, names: tuple[str, ...] = ()) -> dict[str, Remote]:
    """Write the files of a zoo's networks (default: all) and generators; their registry."""
    folder.mkdir(parents=True, exist_ok=True)
    empty = zoo(folder, {})
    for seed, name in enumerate(names or empty.all_networks):
        config = empty.config(name)
        tensors = network(config, seed).state_dict()
        torch.save(LAYOUTS[config["source"]](tensors), folder / config["file"])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        deepsim = DeepSim(**zoo.generator_options["deepsim"])
        deepsim.deconv0.weight.data.mul_(300)
    torch.save(deepsim.state_dict(), folder / zoo.generator_files["deepsim"])
    config = zoo.generator_options["biggan"].get("config")
    model = biggan({k: config[k] for k in BIGGAN} if config else BIGGAN)
    torch.save(model.state_dict(), folder / zoo.generator_files["biggan"])
    yolo(folder / "yolo11m.pt")
    (folder / "biggan-deep-256-config.json").write_text(json.dumps(BIGGAN))
    return {path.name: remote(path) for path in folder.iterdir() if path.name in REGISTRY}


def remote(path: Path) -> Remote:
    """The registry's entry with the hash of this file, as many digits as are published."""
    known = REGISTRY[path.name]
    digits = len((known.hash or ":").partition(":")[2])
    found = hashlib.sha256(path.read_bytes()).hexdigest()[:digits]
    return replace(
        known,
        hash=f"sha256:{found}" if digits else None,
        size=None,
        url=known.url and "http://127.0.0.1:1/nowhere",
    )
