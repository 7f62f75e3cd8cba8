"""What is measured, on what, and where it is kept: networks, reference scores, hardware, files."""

import argparse
import json
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from signseg_utils import __version__
from signseg_utils.basics import registry
from signseg_utils.files import paths
from signseg_utils.networks import Network
from signseg_utils.search.scoring import ready
from signseg_utils.units.readout import Readout
from signseg_utils.zoos import load_zoo

Score = Callable[[Tensor], Tensor]  # of codes [n, code]


def random_network() -> Network:
    """A small network with random weights."""
    torch.manual_seed(0)
    config = {"family": "resnet", "widths": (32, 64, 128, 256), "depths": (1, 1, 1)}
    backbone = registry.load("networks", "small")(config).folded()
    readout = Readout(torch.randn(20, 512) / 20, torch.zeros(20), tuple(map(str, range(20))))
    return Network("random", backbone, readout)


def zoo_parts(zoo_name: str, network: str, generator: str) -> tuple[Network, nn.Module]:
    """A network and a generator of a zoo; by default its last network and its longest codes.

    Those of a zoo whose weights do not ship get random weights, which take the same time.
    """
    zoo = load_zoo(zoo_name)
    names = [generator] if generator else list(zoo.generators)
    network = network or zoo.networks[-1]
    if zoo.ships:
        chosen = zoo.network(network)
        loaded: list[Any] = [zoo.generator(name) for name in names]
    else:
        torch.manual_seed(0)
        backbone = zoo.timing_backbone(network)
        loaded = [zoo.timing_generator(name) for name in names]
        for module in (backbone, *loaded):
            _enliven(module)
        width = backbone(torch.rand(1, 3, 64, 64)).shape[1]
        readout = Readout(torch.randn(20, width) / 20, torch.zeros(20), tuple(map(str, range(20))))
        chosen = Network(f"{network} (random weights)", backbone, readout)
    return chosen, max(loaded, key=lambda generator: generator.code_size)


def _enliven(module: nn.Module) -> None:
    """Random weights under which signals keep their size, so that images and scores differ."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)


def responses(network: Network, generator: nn.Module, device: str) -> Callable[[int], Score]:
    """For each unit, by number, what reference methods maximise: its response to codes' images.

    Networks are in the layout that the engine gives them, so that ratios speak of methods alone.
    """
    where = torch.device(device)
    backbone = ready(network.backbone, where, torch.float32)
    rendered = ready(generator, where, torch.float32)
    readout = network.readout.to(where, torch.float32)

    def of(unit: int) -> Score:
        row = readout.rows([unit])

        @torch.inference_mode()
        def score(codes: Tensor) -> Tensor:
            images = rendered(codes).contiguous(memory_format=torch.channels_last)
            return row.responses(backbone(images))[:, 0]

        return score

    return of


def hardware(device: str) -> dict[str, Any]:
    """What the numbers depend on."""
    described: dict[str, Any] = {
        "processor": platform.processor() or platform.machine(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "device": device,
    }
    if torch.device(device).type == "cuda":
        described["gpu"] = torch.cuda.get_device_name(device)
    return described


def measurement_parser(described: str | None) -> argparse.ArgumentParser:
    """Options of every measurement; its module's docstring begins with what it is."""
    made = argparse.ArgumentParser(description=(described or "").split("\n")[0])
    made.add_argument("--json", type=Path, help="write all numbers to this file")
    made.add_argument("--zoo", default="tinyimagenet")
    return made


def keep(found: Mapping[str, Any], file: Path | None) -> None:
    """Write all numbers to a file, if one was named."""
    if file:
        paths.write_text(file, json.dumps(found, indent=1) + "\n")


def versions(**more: str) -> dict[str, str]:
    """Of what every measurement rests on, and of ``more``."""
    return {
        "signseg_utils": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        **more,
    }
