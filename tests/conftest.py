"""Shared by the tests: one thread, a tiny zoo, and honest skips where data are missing."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from signseg_utils import progress, registry, zoos
from signseg_utils.files import weights

TINY = {"alexnet": dict(widths=(4, 6), depths=(1,)), "resnet": dict(widths=(4, 6), depths=(1,))}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """One thread for torch: tests neither fight for cores nor differ by the order of sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_tiny_zoo(folder: Path, seed: int = 0) -> Path:
    """Random small networks for zoo ``shapes`` (12 features); its renderer needs no weights."""
    zoo = zoos.load_zoo("shapes", folder)
    for number, (name, sizes) in enumerate(TINY.items()):
        config = dict(family=name, features=12, image_size=24, **sizes)
        with torch.random.fork_rng():
            torch.manual_seed(100 * seed + number)
            backbone = registry.load("networks", "small")(config)
            readout = torch.nn.Linear(12, len(zoo.classes))
        tensors = dict(backbone.state_dict())
        tensors |= {"readout.weight": readout.weight, "readout.bias": readout.bias}
        manifest = dict(name=name, kind="network", zoo="shapes", module="small", seed=seed)
        plain = dataclasses.asdict(backbone.config)
        weights.save(zoo.path(name), tensors, {**manifest, "config": plain})
    return folder


@pytest.fixture(scope="session")
def tiny_zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a zoo ``shapes`` with tiny random networks "alexnet" and "resnet"."""
    return make_tiny_zoo(tmp_path_factory.mktemp("zoo") / "shapes")


@pytest.fixture
def talking(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> Callable[[], list[str]]:
    """Work of any length talks, at every step; call it for the lines said since the last call."""
    for name in ("SILENT", "JUDGED", "NEXT", "SHARE"):
        monkeypatch.setattr(progress, name, 0.0)
    monkeypatch.delenv(progress.TITLE, raising=False)

    def said() -> list[str]:
        return str(capsys.readouterr().err).splitlines()

    return said


@pytest.fixture(scope="session")
def images_or_skip() -> Callable[..., zoos.Images]:
    """Images of a zoo; the test is skipped, with the zoo's own advice, where there are none."""

    def images(zoo: str, split: str = "val", limit: int | None = None) -> zoos.Images:
        try:
            return zoos.load_zoo(zoo).images(split, limit)
        except zoos.DatasetMissing as missing:
            pytest.skip(str(missing))

    return images
