"""Bad inputs at every door of the package: what is wrong, how to make it, what must be said.

A door is where something from outside comes in: a command line, a chapter's parameters, a file of
a recording, weights, a shard, a profile ... `DOORS` says how each is knocked at, so that a row
stays what it is when a command or a module gets another name.
"""

import contextlib
import functools
import io
import json
import os
import pickle
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from PIL import Image
from safetensors.torch import save as safetensors_bytes
from torch import nn

from signseg_utils import cli, zoos
from signseg_utils.basics import refusals
from signseg_utils.chapter import ledger, parameters
from signseg_utils.experiments import modules
from signseg_utils.files import checkpoints, fetch, store, weights
from signseg_utils.generators.spectral import Spectral
from signseg_utils.neurons import compact, pictures, recordings, v4
from signseg_utils.publishing.chapters import chapters
from signseg_utils.publishing.execution import environment
from signseg_utils.search import rig
from signseg_utils.search.evolution import Search

ROOT = Path(__file__).resolve().parents[1]


class Refused(Exception):
    """A command that ended with a status other than 0; holds what it said."""


@dataclass(frozen=True)
class Site:
    """Where a row is tried: ``folder`` holds what is bad, only ``out`` may be written into."""

    folder: Path
    out: Path
    zoo: Path  # weights of a tiny zoo "shapes"

    def write(self, name: str, content: bytes | str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


@dataclass(frozen=True)
class Bad:
    """One row: ``make(site)`` gives what ``door`` refuses with ``error``, in these ``words``."""

    door: str
    what: str
    make: Callable[[Site], Any]
    error: type[BaseException]
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.door}: {self.what}"


class Touch:
    """Unpickled, it would make a file in the working folder."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (EXECUTED,)


EXECUTED = "executed"

# ---------------------------------------------------------------- doors


def _command(words: Sequence[str]) -> None:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            status = cli.main(words)
        except SystemExit as end:
            status = end.code
    if status not in (0, None):
        text = said.getvalue() + (status if isinstance(status, str) else "")
        if "Traceback" in text:
            raise AssertionError(text)
        raise Refused(text)


def _recording(path: Path, size: int | None = 8) -> None:
    found = recordings.complete(recordings.load(str(path)))
    pictures.pictures(found, size)


def _chapter(number: int, values: Mapping[str, Any]) -> None:
    parameters.cast(_declared(number), values)


@functools.lru_cache
def _declared(number: int) -> dict[str, parameters.Parameter]:
    return parameters.declared(next((ROOT / "notebooks").glob(f"{number:02d}_*.md")))


def _pth(path: Path) -> None:
    found = checkpoints.state_dict(checkpoints.read(path), "state_dict", source=str(path))
    checkpoints.fit(nn.Linear(2, 3), found, path)


def _network(folder: Path) -> None:
    zoos.load_zoo("shapes", folder).network("alexnet")


def _generator(folder: Path) -> None:
    zoos.load_zoo("tinyimagenet", folder).generator("pca")


def _rig(folder: Path, **changes: Any) -> rig.Session:
    given: dict[str, Any] = dict(
        generator=Spectral.pink(16, components=9),
        search=Search(generations=3, population=4),
        seeds=(1, 2),
        labels=("a", "b"),
    )
    return rig.Session(folder, **{**given, **changes})


def _tell(site: Site, rates: Any) -> None:
    """Rates at the second generation; what was told before must still be there afterwards."""
    begun = _rig(site.out / "rig")
    begun.tell(np.arange(len(begun.ask().names), dtype=float))
    batch = begun.ask()
    if callable(rates):
        rates = rates(batch)
    try:
        begun.tell(rates)
    finally:
        again = _rig(site.out / "rig")
        assert again.generation == 1, "a generation that was told is lost"
        again.tell(np.arange(len(again.ask().names), dtype=float))


def _chapters(folder: Path) -> None:
    chapters("mine", (), (), folder)


def _mirror(site: Site, name: str, mirror: Path, hash: str | None, **more: str) -> None:
    remote = fetch.Remote("", hash, None, "none")
    with environment(**{fetch.MIRROR: str(mirror), **more}):
        fetch.fetch(name, site.out / "downloads", registry={name: remote}, progress=False)


def _tiny_images(datasets: Path) -> None:
    with environment(SIGNSEG_DATASETS=str(datasets)):
        zoos.load_zoo("tinyimagenet").images("val", 4)


def _read(place: store.Store) -> None:
    place.read("a", {"fingerprint": "abc"})


def _read_partial(place: store.Store) -> None:
    place.read_partial("a", {"fingerprint": "abc"})


# Words of the command ``signseg`` that stand for the name of a row's command, where they differ.
COMMANDS: Mapping[str, Sequence[str]] = {
    **{name: ("experiment", name) for name in modules()},
    "fetch v4": ("fetch", "--v4"),
}

# How each door is knocked at: with the site, and what the row's builder gave.
DOORS: Mapping[str, Callable[[Site, Any], object]] = {
    "command": lambda site, made: _command([*COMMANDS.get(made[0], made[:1]), *made[1:]]),
    "parameters": lambda site, made: _chapter(*made),
    "notebook": lambda site, made: parameters.declared(made),
    "csv": lambda site, made: _recording(made),
    "npz": lambda site, made: _recording(made),
    "nwb": lambda site, made: _recording(made),
    "v4": lambda site, made: v4.read(made, site.folder),
    "v4 fetch": lambda site, made: v4.fetch(made, site.out / "v4"),
    "image": lambda site, made: _recording(made),
    "image, as it is": lambda site, made: _recording(made, None),
    "image folder": lambda site, made: _tiny_images(made),
    "network": lambda site, made: _network(made),
    "generator": lambda site, made: _generator(made),
    "user's weights": lambda site, made: _pth(made),
    "compact model": lambda site, made: compact.read(made),
    "shard": lambda site, made: _read(made),
    "checkpoint": lambda site, made: _read_partial(made),
    "write": lambda site, made: made(),
    "profile": lambda site, made: _chapters(made),
    "mirror": lambda site, made: _mirror(site, *made),
    "rig": lambda site, made: _rig(**made),
    "rig rates": _tell,
    "ledger": lambda site, made: ledger.read(made),
}

ROWS: list[Bad] = []


def _rows(
    door: str, error: type[BaseException], *rows: tuple[str, Callable[[Site], Any], Sequence[str]]
) -> None:
    ROWS.extend(Bad(door, what, make, error, tuple(words)) for what, make, words in rows)


# ---------------------------------------------------------------- command lines


def _line(words: str) -> tuple[str, Callable[[Site], Any]]:
    """A row's name and builder: ``publish | --zoo nowhere``; OUT and IN stand for folders."""
    name, _, rest = words.partition("|")

    def make(site: Site) -> list[str]:
        (site.folder / "a file").write_text("text")
        places = {"OUT": str(site.out), "FILE": str(site.folder / "a file")}
        return [name.strip(), *(places.get(word, word) for word in rest.split())]

    return words, make


for _words, _said in {
    "publish | --profile nowhere": "expected profile nowhere smoke shipped",
    "publish | --profile ../profiles/smoke": "expected profile smoke",
    "publish | --zoo nowhere --output OUT": "expected zoo nowhere shapes",
    "publish | --zoo shapes, --output OUT": "expected zoo shapes",
    "publish | --zoo shapes,shapes --output OUT": "once shapes",
    "publish | --chapters 99 --output OUT": "expected chapter 99 15",
    "publish | --chapters three --output OUT": "expected chapter three",
    "publish | --chapters 1,,2 --output OUT": "expected chapter 1,,2",
    "publish | --chapters -1 --output OUT": "expected",
    "publish | --chapters 1,1 --output OUT": "once 1",
    "publish | --jobs 0 --output OUT": "expected jobs 1 0",
    "publish | --jobs -3 --output OUT": "jobs -3",
    "publish | --jobs many": "jobs invalid many",
    "publish | --output FILE --chapters 1 --zoo shapes": "expected output folder file",
    "publish | --results FILE --chapters 1 --zoo shapes --output OUT": "expected results folder file",
    "publish | --zo": "zoo",
    "publish | --no-such-option": "unrecognized --no-such-option",
    "sweep | --zoo nowhere --out OUT": "expected zoo nowhere shapes",
    "sweep | --zoo shapes --networks restnet --out OUT": "expected network resnet restnet",
    "sweep | --zoo shapes --units dog --out OUT": "expected unit dog",
    "sweep | --zoo shapes --generators gan --out OUT": "expected generator gan",
    "sweep | --zoo shapes --alphas 0,1.2 --out OUT": "alphas 1.2 between",
    "sweep | --zoo shapes --alphas 0,nan --out OUT": "alphas nan between",
    "sweep | --zoo shapes --alphas  --out OUT": "alphas argument",
    "sweep | --zoo shapes --seeds 3-1 --out OUT": "seeds 3-1",
    "sweep | --zoo shapes --seeds nan --out OUT": "seeds nan",
    "sweep | --zoo shapes --seeds 18446744073709551616 --out OUT": "seeds 18446744073709551616",
    "sweep | --zoo shapes --seeds 0-99999999999 --out OUT": "seeds 0-99999999999 fewer",
    "sweep | --zoo shapes --signs up --out OUT": "expected sign up positive",
    "sweep | --zoo shapes --rule biggest --out OUT": "expected rule biggest smallest",
    "sweep | --zoo shapes --dtype int8 --out OUT": "expected dtype int8 float32",
    "sweep | --zoo shapes --optimizer adam --out OUT": "expected optimizer adam cholesky_cma",
    "sweep | --zoo shapes --layer nowhere --networks resnet --units all --out OUT": "expected layer nowhere",
    "sweep | --zoo shapes --generations 0 --out OUT": "generations 1 0",
    "sweep | --zoo shapes --generations -4 --out OUT": "generations 1 -4",
    "sweep | --zoo shapes --population 3 --out OUT": "population 4 3",
    "sweep | --zoo shapes --threads 0 --out OUT": "threads 1 0",
    "sweep | --zoo shapes --workers 0 --out OUT": "workers 1 0",
    "sweep | --zoo shapes --checkpoint-seconds nan --out OUT": "checkpoint-seconds nan",
    "sweep | --zoo shapes --audit -1 --out OUT": "audit 0 -1",
    "sweep | --zoo shapes --devices 0 --estimate --rate 5 --out OUT": "devices 1 0",
    "sweep | --zoo shapes --rate nan --estimate --out OUT": "rate nan",
    "sweep | --zoo shapes --device abacus --out OUT": "device abacus",
    "sweep | --zoo shapes --cluster nonsense --workers 2 --out OUT": "--workers --cluster",
    "sweep | --zoo shapes --cluster local:0 --out OUT": "expected local:N local:0",
    "sweep | --zoo shapes --zoo-folder FILE --out OUT": "expected folder file",
    "sweep | --zoo shapes --out FILE": "expected folder file",
    "factorial | --alphas 2 --out OUT": "alphas 2 between",
    "factorial | --rows 900 --out OUT": "rows 900",
    "factorial | --units dog --out OUT": "expected unit dog",
    "factorial | --control up --out OUT": "expected control up",
    "factorial | --images -1 --out OUT": "images -1",
    "factorial | --replicates 0 --out OUT": "replicates 0",
    "factorial | --generations 0 --out OUT": "generations 0",
    "train | --zoo nowhere": "expected zoo nowhere shapes",
    "train | --zoo shapes --only dog": "expected among dog resnet",
    "train | --zoo shapes --only resnet --again --scratch OUT --set epochz=1": "expected field epochz epochs",
    "train | --zoo shapes --only resnet --again --scratch OUT --set epochs=many": "expected JSON epochs=many",
    "train | --set epochs=1": "expected --only --set",
    "train | --zoo shapes --seeds 5": "expected --networks --seeds",
    "train | --zoo shapes --networks alexnet --seeds 0": "expected --seeds 1 0",
    "train | --zoo shapes --networks alexnet --seeds many": "--seeds many",
    "train | --zoo shapes --networks dog --seeds 5": "expected network dog",
    "train | --zoo shapes --networks alexnet-seed1": "expected alexnet-seed1 alexnet-seed2",
    "train | --zoo shapes --networks alexnet --only vgg": "expected --only --networks",
    "session | OUT --zoo nowhere": "zoo nowhere shapes",
    "session | OUT --zoo shapes --generator gan": "expected generator gan scenes",
    "session | OUT --zoo shapes --generator scenes --optimizer adam": "adam cholesky_cma",
    "session | OUT --zoo shapes --generator scenes --generations 0": "generations 1 0",
    "session | OUT --zoo shapes --generator scenes --population 1": "population 4 1",
    "session | OUT --zoo shapes --generator scenes --seeds 0,0": "once seeds 0",
    "session | OUT --zoo shapes --generator scenes --seeds 0,1 --labels a,a": "labels once a",
    "session | OUT --zoo shapes --generator scenes --seeds 0,1 --labels a": "label 2 got 1",
    "session | FILE --zoo shapes --generator scenes": "expected folder file",
    "nonsense | --zoo shapes": "expected command nonsense publish",
    "experiment | nonsense": "nonsense ablated_models",
    "fetch | no-such-file.zip --folder OUT": "expected file no-such-file.zip tiny-imagenet",
    "fetch | ../../escape --folder OUT": "expected file escape",
    "fetch | resnet18-tanh.pth --folder FILE": "expected folder file",
    "fetch v4 | ../../escape --folder OUT": "expected session escape",
    "class_accuracy | --zoo nowhere": "zoo nowhere",
    "class_accuracy | --zoo shapes --network dog": "expected network dog",
    "channel_maps | --zoo shapes --networks dog": "expected network dog",
    "channel_maps | --zoo nowhere": "zoo nowhere",
    "occlusion | --zoo nowhere --out OUT": "expected zoo nowhere",
    "occlusion | --zoo shapes --networks dog --out OUT": "expected network dog",
    "occlusion | --zoo shapes --limit -1 --out OUT": "limit -1",
    "occlusion | --zoo shapes --seed -1 --out OUT": "seed -1",
    "diverse_images | --zoo nowhere --folder OUT": "expected zoo nowhere",
    "diverse_images | --zoo shapes --networks dog --folder OUT": "expected network dog",
    "encoding_accuracy | --recording mine.xlsx --zoo shapes --folder OUT": "expected recording mine.xlsx .csv",
    "encoding_accuracy | --recording mine.csv --zoo shapes --folder OUT": "expected recording mine.csv",
    "encoding_accuracy | --recording simulated --zoo shapes --draws 0 --folder OUT": "draws 0",
    "encoding_accuracy | --recording simulated --zoo nowhere --folder OUT": "zoo nowhere",
    "encoding_signs | --recording simulated --zoo shapes --networks dog --folder OUT": "expected network dog",
    "encoding_signs | --recording simulated --zoo shapes --images 3 --folder OUT": "images 20 3",
    "ablated_models | --recording simulated --zoo shapes --generator gan --folder OUT": "expected generator gan",
    "ablated_models | --recording simulated --zoo shapes --generations 0 --folder OUT": "generations 1 0",
    "localisation | --recording simulated --zoo shapes --neurons 0 --folder OUT": "neurons 1 0",
    "localisation | --recording simulated --zoo shapes --seeds -1 --folder OUT": "seeds -1",
    "localisation | --recording simulated --zoo shapes --least-fit nan --folder OUT": "least_fit nan",
    "localisation | --recording simulated --zoo shapes --sessions ../x --folder OUT": "expected session ../x",
}.items():
    _rows("command", Refused, (*_line(_words), _said.split()))

# ---------------------------------------------------------------- parameters of chapters

for _number, _values, _said in (
    (3, {"zoo": "nowhere"}, "expected zoo shapes nowhere"),
    (3, {"zoo": ""}, "expected zoo shapes"),
    (3, {"zoo": ["shapes", "tinyimagenet"]}, "expected zoo shapes,tinyimagenet"),
    (3, {"zoo": None}, "zoo str None -p"),
    (3, {"networks": "restnet"}, "network restnet mean resnet"),
    (3, {"networks": "alexnet,,resnet"}, "comma alexnet,,resnet networks"),
    (3, {"networks": "alexnet,alexnet"}, "once alexnet networks"),
    (3, {"networks": {"alexnet": 1}}, "networks str dict"),
    (3, {"networks": ["alexnet", None]}, "networks None text"),
    (3, {"networks": [["alexnet"]]}, "networks text"),
    (3, {"networks": "../../etc/passwd"}, "network etc/passwd"),
    (3, {"further": "alexnet-seed"}, "network alexnet-seed"),
    (3, {"generators": "gan"}, "generator gan scenes"),
    (3, {"units": "dog"}, "unit dog"),
    (3, {"units": "red disc,dog"}, "unit dog"),
    (3, {"units": 7}, "unit 7"),
    (3, {"units": "red\x00disc"}, "unit"),
    (3, {"alphas": "1.2"}, "alphas between 1.2"),
    (3, {"alphas": "0,-0.1"}, "alphas between -0.1"),
    (3, {"alphas": "nan"}, "alphas between nan"),
    (3, {"alphas": "inf"}, "alphas between inf"),
    (3, {"alphas": ""}, "alphas at least"),
    (3, {"alphas": []}, "alphas at least"),
    (3, {"alphas": "0,0"}, "once 0 alphas"),
    (3, {"alphas": "0,0.0"}, "alphas once 0,0.0"),
    (3, {"alphas": "0:1:0"}, "alphas start:stop:step 0:1:0"),
    (3, {"alphas": "0:1:-0.1"}, "alphas start:stop:step"),
    (3, {"alphas": "0:1:1e-12"}, "alphas 0:1:1e-12 fewer"),
    (3, {"alphas": "0:inf:0.1"}, "alphas 0:inf:0.1"),
    (3, {"alphas": "nan:1:0.1"}, "alphas nan:1:0.1"),
    (3, {"alphas": "0:1"}, "alphas start:stop:step 0:1"),
    (3, {"alphas": "half"}, "alphas half"),
    (3, {"seeds": ""}, "seeds at least"),
    (3, {"seeds": []}, "seeds at least"),
    (3, {"seeds": "-1"}, "seeds -1 whole"),
    (3, {"seeds": "1.5"}, "seeds 1.5 whole"),
    (3, {"seeds": [0, float("nan")]}, "seeds nan whole"),
    (3, {"seeds": "0,0"}, "once 0 seeds"),
    (3, {"seeds": "0-2,1"}, "seeds once 0-2,1"),
    (3, {"seeds": "5-2"}, "seeds 5-2"),
    (3, {"seeds": "²"}, "seeds ² whole"),
    (3, {"seeds": "0-999999999999"}, "seeds 0-999999999999 fewer"),
    (3, {"seeds": str(2**64)}, f"seeds {2**64} 2**64"),
    (3, {"seeds": "9" * 5000}, "seeds 2**64"),
    (3, {"seed": -1}, "seed 0 -1"),
    (3, {"seed": 2**70}, "seed 2**64"),
    (3, {"seed": True}, "seed int True"),
    (3, {"seed": 0.5}, "seed int 0.5"),
    (3, {"seed": float("nan")}, "seed int nan"),
    (3, {"seed": float("inf")}, "seed int inf"),
    (3, {"generations": 0}, "generations 1 0"),
    (3, {"generations": -5}, "generations 1 -5"),
    (3, {"generations": "25"}, "generations int 25"),
    (3, {"generations": 10**12}, "generations most 1000000000000"),
    (3, {"audited": -1}, "audited 0 -1"),
    (3, {"optimizer": "adam"}, "optimizer adam cholesky_cma"),
    (3, {"control": "none"}, "control none random_magnitude"),
    (3, {"rule": "biggest"}, "rule biggest smallest"),
    (3, {"recompute": "yes"}, "recompute bool yes"),
    (3, {"recompute": 1}, "recompute bool 1"),
    (3, {"cluster": "nonsense"}, "cluster nonsense local:"),
    (3, {"cluster": "local:0"}, "cluster local:0"),
    (3, {"results": str(ROOT / "pyproject.toml")}, "results folder pyproject.toml"),
    (3, {"resuls": "x"}, "parameter resuls mean results"),
    (3, {"__class__": "x"}, "parameter __class__"),
    (1, {"fresh": -3}, "fresh 1 -3"),
    (1, {"show_dataset": "true"}, "show_dataset bool"),
    (6, {"least": float("nan")}, "least between nan"),
    (6, {"least": 5.0}, "least between 5"),
    (7, {"network": "dog"}, "network dog"),
    (7, {"network": "alexnet,resnet"}, "network alexnet,resnet"),
    (7, {"clusters": -1}, "clusters 0 -1"),
    (7, {"sample": 1}, "sample 2 1"),
    (8, {"generator": "gan"}, "generator gan"),
    (8, {"low": float("nan")}, "low 1 nan"),
    (8, {"high": float("inf")}, "high most inf"),
    (8, {"low": 0.0}, "low 1 0"),
    (8, {"low": 8.0, "high": 4.0}, "low high 8 4"),
    (9, {"learned": 5}, "learned 128 5"),
    (10, {"images": 3}, "images 20 3"),
    (10, {"images": 500, "pool": 100}, "images pool 500 100"),
    (10, {"random_sets": 0}, "random_sets 6 0"),
    (11, {"draws": 0}, "draws 1 0"),
    (11, {"recording": "mine.xlsx"}, "recording mine.xlsx .csv"),
    (11, {"recording": ""}, "recording .csv simulated"),
    (11, {"sessions": "a,a"}, "once a sessions"),
    (13, {"least_fit": float("nan")}, "least_fit nan"),
    (13, {"images_to": str(ROOT / "pyproject.toml")}, "images_to folder pyproject.toml"),
    (14, {"least_change": -1.0}, "least_change 0 -1"),
    (14, {"discs": 0}, "discs 2 0"),
    (15, {"optimizers": "adam"}, "optimizer adam"),
    (15, {"optimizers": ""}, "optimizers at least"),
    (15, {"noises": "-1"}, "noises 0 -1"),
    (15, {"noises": "nan"}, "noises nan"),
    (15, {"target": 1.5}, "target between 1.5"),
    (15, {"target": float("nan")}, "target between nan"),
):
    _shown = ", ".join(f"{name}={str(value)[:40]!r}" for name, value in _values.items())
    _rows(
        "parameters",
        parameters.ParameterError,
        (f"chapter {_number}, {_shown}", lambda site, made=(_number, _values): made, _said.split()),
    )

# ---------------------------------------------------------------- notebooks

_PARAMETERS = {
    "cell_type": "code",
    "metadata": {"tags": ["parameters"]},
    "outputs": [],
    "execution_count": None,
    "source": "seed: int = 0  # seed",
}


def _notebook(*cells: Any, **changes: Any) -> Callable[[Site], Path]:
    whole = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells), **changes}
    return lambda site: site.write("mine.ipynb", json.dumps(whole))


def _cell(**changes: Any) -> dict[str, Any]:
    return {**_PARAMETERS, **changes}


def _text(name: str, content: bytes | str) -> Callable[[Site], Path]:
    return lambda site: site.write(name, content)


_rows(
    "notebook",
    parameters.ParameterError,
    ("not there", lambda site: site.folder / "mine.ipynb", ["expected", "mine.ipynb", "no such"]),
    ("a folder", lambda site: site.folder, ["expected", "notebook", "folder"]),
    ("empty file", _text("mine.ipynb", ""), ["mine.ipynb", "notebook"]),
    ("not JSON", _text("mine.ipynb", "{nonsense"), ["mine.ipynb", "notebook"]),
    ("no notebook", _text("mine.ipynb", "[1, 2]"), ["mine.ipynb", "notebook"]),
    ("binary", _text("mine.ipynb", bytes(range(256))), ["mine.ipynb", "notebook"]),
    ("a picture as .md", _text("mine.md", b"\x89PNG\r\n\x1a\n\xff\xfe"), ["mine.md", "notebook"]),
    ("no cells", _notebook(cells=None), ["mine.ipynb", "notebook"]),
    ("no parameters cell", _notebook(), ["mine.ipynb", "tagged 'parameters'", "add one"]),
    (
        "two parameters cells",
        _notebook(_cell(), _cell()),
        ["mine.ipynb", "one cell tagged 'parameters'", "2"],
    ),
    (
        "tags are text",
        _notebook(_cell(metadata={"tags": "parameters"})),
        ["mine.ipynb", "tags", "list"],
    ),
    ("metadata is a list", _notebook(_cell(metadata=[])), ["mine.ipynb", "notebook"]),
    ("no Python", _notebook(_cell(source="seed: int = = 0")), ["mine.ipynb", "seed: int = = 0"]),
    ("open bracket", _notebook(_cell(source="seed: int = (0  # seed")), ["mine.ipynb", "seed"]),
    (
        "code in place of a value",
        _notebook(_cell(source=f"a: int = __import__('os').mkdir('{EXECUTED}')  # x")),
        ["mine.ipynb", "plain literal"],
    ),
    ("no type", _notebook(_cell(source="seed = 0  # seed")), ["mine.ipynb", "name: type = value"]),
    ("no help", _notebook(_cell(source="seed: int = 0")), ["mine.ipynb", "say after a #"]),
    (
        "type that Papermill cannot pass",
        _notebook(_cell(source="a: list = []  # x")),
        ["mine.ipynb", "a", "list", "str, int, float, bool"],
    ),
    (
        "default of another type",
        _notebook(_cell(source="a: int = 'x'  # x")),
        ["mine.ipynb", "a", "int", "'x'"],
    ),
    (
        "declared twice",
        _notebook(_cell(source="a: int = 1  # x\na: int = 2  # x")),
        ["mine.ipynb", "once", "a"],
    ),
)

_rows(
    "ledger",
    ValueError,
    ("not JSON", _text("a.ledger.json", "{"), ["expected", "a.ledger.json"]),
    ("not UTF-8", _text("a.ledger.json", b'["\xff"]'), ["expected", "a.ledger.json", "UTF-8"]),
    ("no list", _text("a.ledger.json", "{}"), ["expected", "list", "a.ledger.json"]),
    ("other keys", _text("a.ledger.json", '[{"id": 1}]'), ["keys", "line 0", "a.ledger.json"]),
)

# ---------------------------------------------------------------- recordings: tables


@functools.lru_cache
def _png(size: int = 8, value: int = 90, mode: str = "RGB", kind: str = "PNG", **how: Any) -> bytes:
    made = io.BytesIO()
    rows = np.arange(size * size).reshape(size, size) % 50 + value
    Image.fromarray(rows.astype(np.uint8)).convert(mode).save(made, format=kind, **how)
    return made.getvalue()


IMAGES = 24


def table(
    site: Site, edit: Callable[[list[list[str]]], Any] = lambda rows: None, **how: str
) -> Path:
    """A good table of two neurons and its images, edited: cell by cell, or what ``edit`` gives."""
    rng = np.random.default_rng(0)
    rows = [["path", "n1", "n2"]]
    for number in range(IMAGES):
        site.write(f"{number}.png", _png())
        rows.append([f"{number}.png", *(str(v) for v in rng.poisson(5, 2))])
    given = edit(rows)
    text = "\n".join(",".join(row) for row in rows) + "\n" if given is None else given
    return site.write(how.get("name", "mine.csv"), text)


def _put(row: int, column: int, text: str) -> Callable[[list[list[str]]], None]:
    return lambda rows: rows[row].__setitem__(column, text)


def _column(column: int, text: str) -> Callable[[list[list[str]]], None]:
    return lambda rows: [row.__setitem__(column, text) for row in rows[1:]] and None


def _joined(separator: str = ",", coding: str = "utf-8", end: str = "\n") -> Callable[..., bytes]:
    return lambda rows: (end.join(separator.join(row) for row in rows) + end).encode(coding)


def _csv(edit: Callable[[list[list[str]]], Any]) -> Callable[[Site], Path]:
    return lambda site: table(site, edit)


def _beside(text: bytes | str) -> Callable[[Site], Path]:
    """A good table, and this one of its neurons beside it."""
    return lambda site: (site.write("mine.neurons.csv", text), table(site))[1]


_rows(
    "csv",
    ValueError,
    ("empty file", _text("mine.csv", ""), ["expected", "mine.csv", "empty"]),
    ("white space only", _text("mine.csv", " \n\n"), ["expected", "mine.csv", "empty"]),
    ("header only", _text("mine.csv", "path,n1\n"), ["expected", "row", "mine.csv", "header"]),
    (
        "a folder",
        lambda site: (site.folder / "mine.csv").mkdir() or site.folder / "mine.csv",
        ["expected", "mine.csv", "file"],
    ),
    ("no column of paths", _csv(_put(0, 0, "file")), ["column 'path'", "mine.csv", "file, n1"]),
    ("paths only", _text("mine.csv", "path\na.png\n"), ["one column a neuron", "mine.csv"]),
    ("a neuron twice", _csv(_put(0, 2, "n1")), ["one name", "n1", "more than once", "mine.csv"]),
    (
        "a neuron twice but for blanks",
        _csv(_put(0, 2, " n1 ")),
        ["n1", "more than once", "mine.csv"],
    ),
    ("column path twice", _csv(_put(0, 2, "path")), ["path", "more than once", "mine.csv"]),
    ("a column without a name", _csv(_put(0, 2, "")), ["column 3", "no name", "mine.csv"]),
    ("a word for a number", _csv(_put(3, 1, "many")), ["'many'", "row 4", "n1", "mine.csv"]),
    ("a complex number", _csv(_put(3, 1, "1+2j")), ["'1+2j'", "row 4", "n1", "mine.csv"]),
    ("a decimal comma", _csv(_put(3, 1, '"1,5"')), ["'1,5'", "row 4", "n1", "mine.csv"]),
    ("infinity", _csv(_put(3, 2, "inf")), ["finite", "n2", "2.png", "mine.csv"]),
    ("minus infinity", _csv(_put(3, 2, "-inf")), ["finite", "n2", "2.png", "mine.csv"]),
    ("a number too large for a float", _csv(_put(3, 2, "1e400")), ["finite", "n2", "mine.csv"]),
    (
        "nothing but empty cells",
        _csv(lambda r: [_column(c, "")(r) for c in (1, 2)] and None),
        ["at least one response", "mine.csv"],
    ),
    (
        "constant neurons only",
        _csv(lambda r: [_column(c, "3")(r) for c in (1, 2)] and None),
        ["left out", "silent", "n1"],
    ),
    ("a row without a path", _csv(_put(5, 0, "")), ["path", "row 6", "mine.csv"]),
    (
        "a row with a cell too many",
        _csv(lambda rows: rows[4].append("7")),
        ["row 5", "4", "3", "mine.csv"],
    ),
    (
        "a row with a cell too few",
        _csv(lambda rows: rows[4].pop() and None),
        ["row 5", "2", "3", "mine.csv"],
    ),
    ("semicolons", _csv(_joined(";")), ["commas", "';'", "mine.csv"]),
    ("tabs", _csv(_joined("\t")), ["commas", "'\\t'", "mine.csv"]),
    (
        "Latin-1",
        _csv(lambda rows: rows[0].__setitem__(1, "é") or _joined(coding="latin-1")(rows)),
        ["UTF-8", "line 1", "mine.csv"],
    ),
    ("UTF-16", _csv(_joined(coding="utf-16")), ["UTF-8", "mine.csv"]),
    (
        "zero bytes inside",
        _csv(lambda rows: _joined()(rows).replace(b"5", b"\0")),
        ["mine.csv", "NUL"],
    ),
    ("an open quote", _csv(_put(3, 1, '"7')), ["mine.csv", "quote"]),
    ("an Excel file", _csv(lambda rows: b"PK\x03\x04" + bytes(range(256))), ["UTF-8", "mine.csv"]),
    ("too few images", _csv(lambda rows: rows.__delitem__(slice(5, None))), ["20 images", "got 4"]),
    ("its neurons' table lacks one", _beside("neuron,area\nn1,V4\n"), ["mine.neurons.csv", "n2"]),
    (
        "its neurons' table has one twice",
        _beside("neuron,area\nn1,V4\nn1,V1\nn2,V4\n"),
        ["mine.neurons.csv", "n1", "more than once"],
    ),
    ("its neurons' table is empty", _beside(""), ["mine.neurons.csv", "empty"]),
    (
        "its neurons' table is not UTF-8",
        _beside(b"neuron,area\nn1,\xff\nn2,V4\n"),
        ["mine.neurons.csv", "UTF-8", "line 2"],
    ),
    (
        "its neurons' table has no names",
        _beside("unit,area\nn1,V4\n"),
        ["mine.neurons.csv", "'neuron'"],
    ),
    ("another suffix", _text("mine.xlsx", b"PK"), ["mine.xlsx", ".csv, .npz, .nwb"]),
)
_rows(
    "csv",
    recordings.RecordingMissing,
    ("not there", lambda site: site.folder / "mine.csv", ["expected", "mine.csv", "no such file"]),
    (
        "an image is missing",
        _csv(_put(3, 0, "gone.png")),
        ["gone.png", "there is none", "relative"],
    ),
    (
        "a path that leads out and to nothing",
        _csv(_put(3, 0, "../../../gone.png")),
        ["gone.png", "there is none"],
    ),
    (
        "a link to nothing",
        lambda site: (
            (site.folder / "link.png").symlink_to("gone.png"),
            table(site, _put(3, 0, "link.png")),
        )[1],
        ["link.png", "there is none"],
    ),
)

# ---------------------------------------------------------------- images of a recording


def _image(content: bytes, name: str = "odd.png") -> Callable[[Site], Path]:
    """A good table but for one image."""
    return lambda site: (site.write(name, content), table(site, _put(3, 0, name)))[1]


def _animated() -> bytes:
    made = io.BytesIO()
    frames = [Image.new("L", (8, 8), value) for value in (10, 200)]
    frames[0].save(made, format="GIF", save_all=True, append_images=frames[1:])
    return made.getvalue()


def _rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    made = io.BytesIO()
    Image.new("RGB", (8, 8)).save(made, format="JPEG", exif=exif)
    return made.getvalue()


def _saved(image: Image.Image, kind: str) -> bytes:
    made = io.BytesIO()
    image.save(made, format=kind)
    return made.getvalue()


def _huge() -> bytes:
    """The head of a PNG of 60,000 x 60,000 pixels: 10 GB, had anybody unpacked it."""
    body = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = (
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (body, data)
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _zipped(member: str, asked: str, content: bytes = b"") -> Callable[[Site], Path]:
    def make(site: Site) -> Path:
        with zipfile.ZipFile(site.folder / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(member, content or _png())
        return table(site, _put(3, 0, f"images.zip/{asked}"))

    return make


def _linked(name: str, target: str) -> Callable[[Site], Path]:
    return lambda site: ((site.folder / name).symlink_to(target), table(site, _put(3, 0, name)))[1]


def _fifo(site: Site) -> Path:
    os.mkfifo(site.folder / "odd.png")
    return table(site, _put(3, 0, "odd.png"))


_rows(
    "image",
    ValueError,
    ("zero bytes", _image(b""), ["expected", "odd.png", "empty"]),
    ("text", _image(b"hello, I am a picture"), ["expected", "odd.png", "no image"]),
    ("a web page", _image(b"<!DOCTYPE html><html>"), ["expected", "odd.png", "no image"]),
    ("truncated PNG", _image(_png(64)[:-60]), ["expected", "odd.png", "truncated"]),
    ("truncated JPEG", _image(_png(64, kind="JPEG")[:-200], "odd.jpg"), ["odd.jpg", "truncated"]),
    ("flipped bits", _image(_png(64)[:60] + b"\xff\x00\xff" + _png(64)[63:]), ["odd.png"]),
    (
        "16 bits a pixel",
        _image(_saved(Image.fromarray(np.full((8, 8), 5000, np.uint16)), "PNG")),
        ["odd.png", "8 bits", "I;16"],
    ),
    (
        "floats",
        _image(_saved(Image.fromarray(np.full((8, 8), 0.5, np.float32)), "TIFF")),
        ["odd.png", "8 bits", "F"],
    ),
    ("CMYK", _image(_png(mode="CMYK", kind="JPEG")), ["odd.png", "CMYK", "RGB"]),
    (
        "transparent",
        _image(_saved(Image.new("RGBA", (8, 8), (9, 9, 9, 100)), "PNG")),
        ["odd.png", "transparent", "background"],
    ),
    ("animated", _image(_animated()), ["odd.png", "2 frames", "one"]),
    ("turned by its EXIF", _image(_rotated()), ["odd.png", "EXIF", "6", "upright"]),
    ("larger than memory", _image(_huge()), ["odd.png", "60000", "pixels"]),
    ("a folder", _csv(_put(3, 0, ".")), ["expected", "folder"]),
    ("a pipe that nobody feeds", _fifo, ["odd.png", "file"]),
    ("a link to a device", _linked("odd.png", "/dev/zero"), ["odd.png", "file"]),
    ("a link to itself", _linked("odd.png", "odd.png"), ["odd.png"]),
    (
        "in a zip that is none",
        lambda site: (
            site.write("images.zip", b"no zip"),
            table(site, _put(3, 0, "images.zip/a.png")),
        )[1],
        ["images.zip", "zip"],
    ),
    ("a zip bomb", _zipped("a.png", "a.png", bytes(80_000_000)), ["images.zip", "a.png", "80"]),
    ("a pickle", _image(pickle.dumps(Touch())), ["odd.png", "no image"]),
)
_rows(
    "image",
    recordings.RecordingMissing,
    ("not in its zip", _zipped("a.png", "b.png"), ["images.zip/b.png", "there is none"]),
    (
        "a zip's member that leads out",
        _zipped("../../escape.png", "../escape.png"),
        ["escape.png", "there is none"],
    ),
)
# ---------------------------------------------------------------- recordings: arrays


def _arrays(drop: Sequence[str] = (), **changes: Any) -> Callable[[Site], Path]:
    """A good file of arrays (two neurons), but for these."""

    def make(site: Site) -> Path:
        site.write("0.png", _png())
        values = np.random.default_rng(0).poisson(5, (IMAGES, 2)).astype(float)
        good: dict[str, Any] = {
            "responses": values,
            "paths": [f"{i}.png" for i in range(IMAGES)],
            "neurons": ["n1", "n2"],
            "pixels": np.zeros((IMAGES, 3, 8, 8), np.uint8),
        }
        arrays = {k: v for k, v in {**good, **changes}.items() if k not in drop}
        np.savez_compressed(site.folder / "mine.npz", **arrays)
        return site.folder / "mine.npz"

    return make


def _spoilt(
    make: Callable[[Site], Path], spoil: Callable[[bytes], bytes]
) -> Callable[[Site], Path]:
    def made(site: Site) -> Path:
        path = make(site)
        path.write_bytes(spoil(path.read_bytes()))
        return path

    return made


def flipped(content: bytes, place: float = 0.5) -> bytes:
    """One byte changed, at this share of the length."""
    changed = bytearray(content)
    changed[int(place * len(content))] ^= 0xFF
    return bytes(changed)


def _lying(site: Site) -> Path:
    """An array whose head claims 10**13 numbers."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f8", "fortran_order": False, "shape": (10**13, 2)}
    )
    path = _arrays(drop=["responses"])(site)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("responses.npy", head.getvalue() + bytes(64))
    return path


def _npy(site: Site) -> Path:
    made = io.BytesIO()
    np.save(made, np.zeros((IMAGES, 2)))
    return site.write("mine.npz", made.getvalue())


def _counts(shape: tuple[int, ...] = (IMAGES, 2), **put: float) -> np.ndarray:
    values = np.random.default_rng(0).poisson(5, shape).astype(float)
    for value in put.values():
        values[3, 1] = value
    return values


_rows(
    "npz",
    ValueError,
    ("empty file", _text("mine.npz", b""), ["expected", "mine.npz"]),
    ("text", _text("mine.npz", b"hello"), ["expected", "mine.npz"]),
    ("a pickle", _text("mine.npz", pickle.dumps(Touch())), ["expected", "mine.npz"]),
    ("an array under a wrong name", _npy, ["expected", "mine.npz", ".npy"]),
    (
        "pickled objects",
        _arrays(neurons=np.array([Touch(), "n2"], object)),
        ["mine.npz", "neurons", "pickled"],
    ),
    ("truncated", _spoilt(_arrays(), lambda b: b[: len(b) // 2]), ["expected", "mine.npz"]),
    ("a flipped byte", _spoilt(_arrays(), lambda b: flipped(b, 0.1)), ["mine.npz"]),
    ("a head that claims 160 terabytes", _lying, ["mine.npz", "responses"]),
    ("no responses", _arrays(drop=["responses"]), ["mine.npz", "missing: responses"]),
    ("no paths", _arrays(drop=["paths"]), ["mine.npz", "missing: paths"]),
    (
        "words for numbers",
        _arrays(responses=np.full((IMAGES, 2), "many")),
        ["mine.npz", "responses", "numbers"],
    ),
    ("complex numbers", _arrays(responses=_counts() * 1j), ["mine.npz", "responses", "numbers"]),
    (
        "dates for numbers",
        _arrays(responses=np.zeros((IMAGES, 2), "M8[s]")),
        ["mine.npz", "responses", "numbers"],
    ),
    (
        "one dimension",
        _arrays(responses=np.zeros(IMAGES)),
        ["mine.npz", "[image, neuron]", "(24,)"],
    ),
    (
        "no neurons",
        _arrays(responses=np.zeros((IMAGES, 0)), neurons=[]),
        ["mine.npz", "at least one"],
    ),
    (
        "no images",
        _arrays(responses=np.zeros((0, 2)), paths=[], drop=["pixels"]),
        ["mine.npz", "at least one"],
    ),
    ("transposed", _arrays(responses=np.zeros((2, IMAGES))), ["mine.npz", "transposed"]),
    ("infinity", _arrays(responses=_counts(a=np.inf)), ["mine.npz", "finite", "n2", "3.png"]),
    (
        "nothing but NaN",
        _arrays(responses=np.full((IMAGES, 2), np.nan)),
        ["mine.npz", "none but NaN"],
    ),
    ("a neuron twice", _arrays(neurons=["n1", "n1"]), ["mine.npz", "n1", "more than once"]),
    ("an image twice", _arrays(paths=["0.png"] * IMAGES), ["mine.npz", "0.png", "more than once"]),
    ("fewer paths than images", _arrays(paths=["a.png"]), ["mine.npz", "24", "got 1"]),
    ("paths in two dimensions", _arrays(paths=[["a.png"]] * IMAGES), ["mine.npz", "paths"]),
    ("numbers for paths", _arrays(paths=np.arange(IMAGES)), ["mine.npz", "paths", "text"]),
    ("an area too few", _arrays(area=["V4"]), ["mine.npz", "area", "got 1"]),
    ("pixels as floats", _arrays(pixels=np.zeros((IMAGES, 3, 8, 8))), ["mine.npz", "uint8"]),
    (
        "pixels of other images",
        _arrays(pixels=np.zeros((2, 3, 8, 8), np.uint8)),
        ["mine.npz", "pixels", "2"],
    ),
    (
        "channels last",
        _arrays(pixels=np.zeros((IMAGES, 8, 8, 3), np.uint8)),
        ["mine.npz", "[image, 3, height, width]"],
    ),
)

_rows(
    "image, as it is",
    recordings.RecordingError,
    ("of another size", _image(_png(9)), ["one size", "size"]),
    (
        "no paths and no pixels",
        _arrays(drop=["pixels"], paths=[""] * IMAGES, images=[f"i{n}" for n in range(IMAGES)]),
        ["path", "pixels"],
    ),
)

# ---------------------------------------------------------------- recordings: NWB


@functools.lru_cache
def _nwb_content(**how: Any) -> bytes:
    import tempfile

    from pynwb import NWBHDF5IO, NWBFile

    content = NWBFile("test", "id1", datetime(2020, 1, 1, tzinfo=UTC), session_id="s9")
    if how.get("trials", True):
        content.add_trial_column(how.get("column", "image"), "image shown")
        for number in range(IMAGES):
            content.add_trial(
                float(number), number + 0.1, **{how.get("column", "image"): f"{number}.png"}
            )
    if how.get("units", True):
        for unit in range(2):
            spikes = [n + 0.06 + 0.001 * k for n in range(IMAGES) for k in range((n + unit) % 5)]
            content.add_unit(spike_times=sorted(spikes), id=how.get("ids", (0, 1))[unit])
    with tempfile.TemporaryDirectory() as folder:
        with NWBHDF5IO(f"{folder}/a.nwb", "w") as file:
            file.write(content)
        return Path(folder, "a.nwb").read_bytes()


def _nwb(edit: Callable[[Any], object] | None = None, **how: Any) -> Callable[[Site], Path]:
    def make(site: Site) -> Path:
        import h5py

        for number in range(IMAGES):
            site.write(f"{number}.png", _png())
        path = site.write("mine.nwb", _nwb_content(**how))
        if edit is not None:
            with h5py.File(path, "a") as file:
                edit(file)
        return path

    return make


def _no_nwb(site: Site) -> Path:
    import h5py

    with h5py.File(site.folder / "mine.nwb", "w") as file:
        file["responses"] = np.zeros(3)
    return site.folder / "mine.nwb"


def _onset(file: Any) -> None:
    file["intervals/trials/start_time"][3] = np.nan


_rows(
    "nwb",
    recordings.RecordingError,
    ("empty file", _text("mine.nwb", b""), ["expected", "mine.nwb", "NWB"]),
    ("no HDF5", _text("mine.nwb", b"hello" * 100), ["expected", "mine.nwb", "NWB"]),
    ("truncated", _spoilt(_nwb(), lambda b: b[: len(b) // 2]), ["expected", "mine.nwb", "NWB"]),
    ("HDF5 but no NWB", _no_nwb, ["expected", "mine.nwb", "NWB"]),
    ("no units", _nwb(units=False), ["mine.nwb", "units", "none"]),
    ("no trials", _nwb(trials=False), ["mine.nwb", "'trials'", "none"]),
    ("no column of images", _nwb(column="picture"), ["mine.nwb", "picture", "column="]),
    (
        "a neuron twice",
        _nwb(lambda f: f["units/id"].__setitem__(1, 0)),
        ["mine.nwb", "unit0", "more than once"],
    ),
    ("an onset that is NaN", _nwb(_onset), ["mine.nwb", "start_time", "row 4"]),
    ("a table cut short", _nwb(lambda f: f.__delitem__("units/spike_times")), ["mine.nwb"]),
)

# ---------------------------------------------------------------- recordings of V4


def _session(
    responses: Any = None, members: Sequence[str] | bytes = ()
) -> Callable[[Site], list[str]]:
    def make(site: Site) -> list[str]:
        made = io.BytesIO()
        if not isinstance(responses, bytes):
            np.save(made, np.zeros((2, 3)) if responses is None else responses)
        site.write(
            "responses_s1.npy", responses if isinstance(responses, bytes) else made.getvalue()
        )
        if isinstance(members, bytes):
            site.write("images_s1.zip", members)
        else:
            with zipfile.ZipFile(site.folder / "images_s1.zip", "w") as archive:
                for name in members or ("i/1.png", "i/2.png", "i/3.png"):
                    archive.writestr(name, _png())
        return ["s1"]

    return make


_rows(
    "v4",
    ValueError,
    ("responses: text", _session(b"hello"), ["expected", "responses_s1.npy"]),
    ("responses: empty", _session(b""), ["expected", "responses_s1.npy"]),
    ("responses: a pickle", _session(pickle.dumps(Touch())), ["expected", "responses_s1.npy"]),
    (
        "responses: objects",
        _session(np.array([[Touch()]], object)),
        ["responses_s1.npy", "pickled"],
    ),
    ("responses: one dimension", _session(np.zeros(3)), ["responses_s1.npy", "(3,)"]),
    ("responses: infinite", _session(np.full((2, 3), np.inf)), ["finite", "s1"]),
    ("images: no zip", _session(None, b"hello"), ["expected", "images_s1.zip", "zip"]),
    ("images: one missing", _session(None, ["1.png", "2.png"]), ["images_s1.zip", "number 3"]),
    (
        "images: one twice",
        _session(None, ["1.png", "b/1.png"]),
        ["images_s1.zip", "each number once"],
    ),
    ("a session that leads out", lambda site: ["../../x"], ["expected", "session", "../../x"]),
    ("a session twice", lambda site: _session()(site) * 2, ["session", "s1", "once"]),
)
_rows(
    "v4",
    recordings.RecordingMissing,
    ("not there", lambda site: ["190923"], ["images_190923.zip", "SIGNSEG_DATASETS", "fetch"]),
)
_rows(
    "v4 fetch",
    recordings.RecordingError,
    ("a session that leads out", lambda site: ["../../x"], ["expected", "session", "../../x"]),
    ("a session that is a word for all", lambda site: ["*"], ["expected", "session", "*"]),
)

# ---------------------------------------------------------------- image folders


def _tiny(**changes: bytes | str | None) -> Callable[[Site], Path]:
    """Tiny ImageNet as a zip with one image a class, but for these members (None: left out)."""

    def make(site: Site) -> Path:
        from signseg_utils.zoos._tinyimagenet_classes import CLASSES

        rows = [f"{wnid},val,a.png,0,0,8,8" for wnid in CLASSES]
        members: dict[str, bytes | str | None] = {
            "boxes.csv": "wnid,split,file,x0,y0,x1,y1\n" + "\n".join(rows) + "\n",
            **{f"val/{wnid}/a.png": _png(64) for wnid in CLASSES},
        }
        for name, content in changes.items():
            found = [n for n in members if n.startswith(name.replace("__", "/"))]
            members |= dict.fromkeys(found, content)
            if content is not None and name == "boxes" and isinstance(content, str):
                first = str(members["boxes.csv"])
                whole = "wnid,split,file,x0,y0,x1,y1\n" + "\n".join(rows) + "\n"
                members["boxes.csv"] = whole.replace("0,0,8,8", first)
        (site.folder / "sets").mkdir()
        with zipfile.ZipFile(site.folder / "sets" / "tiny-imagenet-100.zip", "w") as archive:
            for name, content in members.items():
                if content is not None:
                    archive.writestr(f"tiny-imagenet-100/{name}", content)
        return site.folder / "sets"

    return make


_rows(
    "image folder",
    zoos.DatasetMissing,
    ("nothing there", lambda site: site.folder, ["expected", "Tiny ImageNet", "SIGNSEG_DATASETS"]),
    (
        "a file for the folder",
        _text("sets", "x"),
        ["expected", "Tiny ImageNet", "SIGNSEG_DATASETS"],
    ),
    ("empty zip", lambda site: _emptied(site), ["tiny-imagenet-100.zip", "val_annot", "complete"]),
    ("an image is missing", _tiny(val=None), ["expected image", "a.png", "complete"]),
    (
        "classes are missing",
        lambda site: _tiny(boxes="x")(site) and _few_classes(site),
        ["100 classes", "complete"],
    ),
)


def _few_classes(site: Site) -> Path:
    with zipfile.ZipFile(site.folder / "sets" / "tiny-imagenet-100.zip", "w") as archive:
        archive.writestr("tiny-imagenet-100/boxes.csv", "wnid,split,file,x0,y0,x1,y1\n")
    return site.folder / "sets"


_rows(
    "image folder",
    ValueError,
    (
        "no zip",
        lambda site: site.write("sets/tiny-imagenet-100.zip", b"no zip").parent,
        ["tiny-imagenet-100.zip", "zip"],
    ),
    ("boxes that are no numbers", _tiny(boxes="0,0,wide,8"), ["boxes.csv", "wide", "row 2"]),
    ("boxes that are NaN", _tiny(boxes="0,0,nan,8"), ["boxes.csv", "nan", "row 2"]),
    ("boxes without a column", _tiny(boxes="0,0,8"), ["boxes.csv", "row 2"]),
    ("boxes that are not UTF-8", _tiny(boxes=b"wnid\xff"), ["boxes.csv", "UTF-8"]),
    ("images of another size", _tiny(val=_png(8)), ["a.png", "64", "8"]),
    ("images that are text", _tiny(val=b"hello"), ["a.png", "no image"]),
    ("images of zero bytes", _tiny(val=b""), ["a.png", "empty"]),
    (
        "transparent images",
        _tiny(val=_saved(Image.new("RGBA", (64, 64), (0, 0, 0, 3)), "PNG")),
        ["a.png", "transparent"],
    ),
)


def _emptied(site: Site) -> Path:
    with zipfile.ZipFile(site.write("sets/tiny-imagenet-100.zip", b""), "w"):
        return site.folder / "sets"


# ---------------------------------------------------------------- weights


def _weights(
    edit: Callable[[dict[str, Any]], Any] | None = None,
    spoil: Callable[[bytes], bytes] | None = None,
    tensors: Callable[[dict[str, torch.Tensor]], object] | None = None,
    manifest: bytes | None = None,
) -> Callable[[Site], Path]:
    """The tiny zoo, one file of it changed: the manifest, the bytes, or tensors and their hash."""

    def make(site: Site) -> Path:
        shutil.copytree(site.zoo, site.folder / "zoo")
        file = site.folder / "zoo" / "alexnet.safetensors"
        about = json.loads(file.with_suffix(".json").read_text())
        if tensors is not None:
            held, _ = weights.load(file)
            tensors(held)
            file.write_bytes(safetensors_bytes(held))
            about["sha256"] = weights.sha256(file)
        if spoil is not None:
            file.write_bytes(spoil(file.read_bytes()))
        given = edit(about) if edit is not None else None
        text = json.dumps(about if given is None else given).encode()
        file.with_suffix(".json").write_bytes(text if manifest is None else manifest)
        return site.folder / "zoo"

    return make


def _resealed(content: bytes) -> Callable[[Site], Path]:
    """Bytes that the manifest vouches for, though they are no weights."""

    def make(site: Site) -> Path:
        import hashlib

        seal = hashlib.sha256(content).hexdigest()
        return _weights(lambda about: about.update(sha256=seal), lambda old: content)(site)

    return make


def _unlinked(suffix: str) -> Callable[[Site], Path]:
    return lambda site: (folder := _weights()(site), (folder / f"alexnet{suffix}").unlink())[0]


_rows(
    "network",
    refusals.BadFile,
    ("truncated", _weights(spoil=lambda b: b[:-10]), ["alexnet.safetensors", "sha256", "restore"]),
    ("empty", _weights(spoil=lambda b: b""), ["alexnet.safetensors", "sha256"]),
    ("a flipped byte", _weights(spoil=flipped), ["alexnet.safetensors", "sha256"]),
    ("text that its manifest vouches for", _resealed(b"hello"), ["alexnet.safetensors", "restore"]),
    (
        "a pickle that its manifest vouches for",
        _resealed(pickle.dumps(Touch())),
        ["alexnet.safetensors", "restore"],
    ),
    (
        "a head that claims 2**60 bytes",
        _resealed(struct.pack("<Q", 2**60) + b"{}"),
        ["alexnet.safetensors", "restore"],
    ),
    ("manifest: empty", _weights(manifest=b""), ["alexnet.json", "manifest"]),
    ("manifest: no JSON", _weights(manifest=b"{'a': 1}"), ["alexnet.json", "manifest"]),
    ("manifest: a list", _weights(lambda about: [about]), ["alexnet.json", "manifest"]),
    ("manifest: not UTF-8", _weights(manifest=b'{"a": "\xff"}'), ["alexnet.json", "manifest"]),
    (
        "manifest: nested a hundred thousand deep",
        _weights(manifest=b"[" * 100_000),
        ["alexnet.json", "manifest"],
    ),
    (
        "manifest: no hash",
        _weights(lambda about: about.pop("sha256") and None),
        ["alexnet", "sha256"],
    ),
    (
        "manifest: no module",
        _weights(lambda about: about.pop("module") and None),
        ["alexnet.json", "module"],
    ),
    (
        "manifest: unknown module",
        _weights(lambda about: about.update(module="os")),
        ["alexnet.json", "os", "small"],
    ),
    (
        "manifest: no architecture",
        _weights(lambda about: about.pop("config") and None),
        ["alexnet.json", "config"],
    ),
    (
        "manifest: architecture is a list",
        _weights(lambda about: about.update(config=[1])),
        ["alexnet.json", "config"],
    ),
    (
        "manifest: another field",
        _weights(lambda about: about["config"].update(depht=3)),
        ["alexnet.json", "config", "depht"],
    ),
    (
        "manifest: a field of another type",
        _weights(lambda about: about["config"].update(widths="x")),
        ["alexnet.json", "config"],
    ),
    (
        "manifest: a negative width",
        _weights(lambda about: about["config"].update(widths=[-4, 6])),
        ["alexnet.json", "config"],
    ),
    (
        "manifest: a width of 10**9",
        _weights(lambda about: about["config"].update(widths=[10**9, 10**9])),
        ["alexnet.json", "config"],
    ),
    (
        "manifest: unknown family",
        _weights(lambda about: about["config"].update(family="vit")),
        ["alexnet.json", "vit", "resnet"],
    ),
    (
        "manifest: of another network",
        _weights(lambda about: about["config"].update(features=13)),
        ["alexnet.safetensors", "shapes", "(13"],
    ),
    (
        "no readout",
        _weights(tensors=lambda t: t.pop("readout.weight")),
        ["alexnet.safetensors", "readout.weight"],
    ),
    (
        "readout of other classes",
        _weights(
            tensors=lambda t: t.update(
                {"readout.weight": torch.zeros(3, 12), "readout.bias": torch.zeros(3)}
            )
        ),
        ["alexnet.safetensors", "3 labels"],
    ),
    (
        "NaN in the weights",
        _weights(tensors=lambda t: t["readout.weight"].fill_(torch.nan)),
        ["alexnet.safetensors", "readout.weight", "finite"],
    ),
    (
        "a tensor too many",
        _weights(tensors=lambda t: t.update(more=torch.ones(1))),
        ["alexnet.safetensors", "unexpected", "more"],
    ),
)
_rows(
    "network",
    FileNotFoundError,
    ("no weights", _unlinked(".safetensors"), ["alexnet.safetensors is missing", "make zoo"]),
    ("no manifest", _unlinked(".json"), ["alexnet.json is missing", "make zoo"]),
)


def _pca(
    edit: Callable[[dict[str, Any], dict[str, torch.Tensor]], object],
) -> Callable[[Site], Path]:
    def make(site: Site) -> Path:
        path = site.folder / "pca.safetensors"
        Spectral.pink(64, components=6).save(site.folder, "pca", {})
        tensors, about = weights.load(path)
        edit(about, tensors)
        for name in ("bytes", "sha256", "code_version"):
            about.pop(name, None)
        weights.save(path, tensors, about)
        return site.folder

    return make


_rows(
    "generator",
    weights.DamagedWeights,
    ("no components", _pca(lambda about, t: t.pop("basis")), ["pca", "basis"]),
    (
        "components of another shape",
        _pca(lambda about, t: t.update(basis=torch.ones(6))),
        ["pca", "basis"],
    ),
    ("no cap", _pca(lambda about, t: [about.pop(k) for k in list(about)]), ["pca.json"]),
)
_rows(
    "generator",
    FileNotFoundError,
    ("none", lambda site: site.folder, ["pca.safetensors", "make zoo"]),
)


def _torch(content: Any, zipped: bool = True) -> Callable[[Site], Path]:
    def make(site: Site) -> Path:
        torch.save(content, site.folder / "mine.pth", _use_new_zipfile_serialization=zipped)
        return site.folder / "mine.pth"

    return make


_GOOD = {"weight": torch.ones(3, 2), "bias": torch.ones(3)}
for _door, _error in (("user's weights", weights.DamagedWeights), ("compact model", ValueError)):
    _rows(
        _door,
        _error,
        ("empty", _text("mine.pth", b""), ["expected", "mine.pth"]),
        ("text", _text("mine.pth", b"hello"), ["expected", "mine.pth"]),
        ("a web page", _text("mine.pth", b"<html>log in</html>"), ["expected", "mine.pth"]),
        ("truncated", _spoilt(_torch(_GOOD), lambda b: b[: len(b) // 2]), ["expected", "mine.pth"]),
        (
            "a pickle that runs code",
            _text("mine.pth", pickle.dumps(Touch())),
            ["expected", "mine.pth"],
        ),
        ("code, in a zip", _torch({"weight": Touch()}), ["mine.pth", "without running"]),
        (
            "code, in the old form",
            _torch({"weight": Touch()}, False),
            ["mine.pth", "without running"],
        ),
        ("a whole module", _torch(nn.Linear(2, 3)), ["mine.pth", "without running"]),
        ("a list", _torch([1, 2]), ["mine.pth", "tensors by name"]),
        ("numbers", _torch({"weight": 3.0}), ["mine.pth", "tensors by name"]),
        (
            "a folder",
            lambda site: (site.folder / "mine.pth").mkdir() or site.folder / "mine.pth",
            ["mine.pth"],
        ),
    )
_rows(
    "user's weights",
    weights.DamagedWeights,
    (
        "another shape",
        _torch({**_GOOD, "weight": torch.ones(2, 3)}),
        ["mine.pth", "(2, 3)", "(3, 2)"],
    ),
    ("a key missing", _torch({"weight": torch.ones(3, 2)}), ["mine.pth", "missing", "bias"]),
    ("not there", lambda site: site.folder / "mine.pth", ["mine.pth", "no such file"]),
    (
        "safetensors: truncated",
        _spoilt(_text("mine.safetensors", safetensors_bytes(_GOOD)), lambda b: b[:-9]),
        ["mine.safetensors"],
    ),
    ("safetensors: not there", lambda site: site.folder / "mine.safetensors", ["mine.safetensors"]),
)

# ---------------------------------------------------------------- shards and checkpoints

PROVENANCE = {"fingerprint": "abc", "unit": "red disc"}


def shard(seed: int = 0) -> xr.Dataset:
    values = np.random.default_rng(seed).normal(size=(3, 2)).astype("float32")
    return xr.Dataset({"activation": (("condition", "seed"), values)}, {"seed": [0, 1]})


def _stored(spoil: Callable[[bytes], bytes] = bytes, **about: Any) -> Callable[[Site], store.Store]:
    def make(site: Site) -> store.Store:
        place = store.Store(site.folder)
        path = place.write("a", shard(), {**PROVENANCE, **about})
        path.write_bytes(spoil(path.read_bytes()))
        return place

    return make


def _sealed(content: bytes) -> bytes:
    """Bytes that carry a true seal, though they are no shard."""
    import hashlib

    return content + b"sha256:" + hashlib.sha256(content).hexdigest().encode()


def _checkpoint(
    spoil: Callable[[bytes], bytes] = bytes, **about: Any
) -> Callable[[Site], store.Store]:
    def make(site: Site) -> store.Store:
        place = store.Store(site.folder)
        state = {"codes": torch.ones(2, 3), "generation": 3}
        path = place.write_partial("a", state, {**PROVENANCE, **about})
        path.write_bytes(spoil(path.read_bytes()))
        return place

    return make


_rows(
    "shard",
    store.DamagedShard,
    ("empty", _stored(lambda b: b""), ["'a'", "a.zarr.zip", "recompute"]),
    ("truncated", _stored(lambda b: b[: len(b) // 2]), ["'a'", "a.zarr.zip", "recompute"]),
    ("a flipped byte", _stored(flipped), ["'a'", "seal", "recompute"]),
    ("text", _stored(lambda b: b"hello"), ["'a'", "a.zarr.zip", "recompute"]),
    ("text with a seal", _stored(lambda b: _sealed(b"hello")), ["'a'", "decoded", "recompute"]),
    ("a pickle with a seal", _stored(lambda b: _sealed(pickle.dumps(Touch()))), ["'a'", "decoded"]),
    ("bytes after it", _stored(lambda b: b + b"more"), ["'a'", "recompute"]),
    (
        "a folder",
        lambda site: (site.folder / "a.zarr.zip").mkdir() or store.Store(site.folder),
        ["'a'", "a.zarr.zip"],
    ),
)
_rows(
    "shard", store.MissingShard, ("none", lambda site: store.Store(site.folder), ["'a'", "compute"])
)
_rows(
    "shard",
    store.ForeignShard,
    (
        "of another network",
        _stored(fingerprint="xyz"),
        ["'a'", "fingerprint", '"xyz"', "recompute"],
    ),
)
_rows(
    "checkpoint",
    store.DamagedShard,
    ("empty", _checkpoint(lambda b: b""), ["'a'", "checkpoint", "recompute"]),
    ("truncated", _checkpoint(lambda b: b[:-5]), ["'a'", "checkpoint"]),
    ("a flipped byte", _checkpoint(lambda b: flipped(b, 0.99)), ["'a'", "checkpoint"]),
    ("a pickle", _checkpoint(lambda b: pickle.dumps(Touch())), ["'a'", "checkpoint"]),
    (
        "safetensors of others",
        _checkpoint(lambda b: safetensors_bytes(_GOOD)),
        ["'a'", "checkpoint"],
    ),
    (
        "a folder",
        lambda site: (site.folder / f"a{store.PARTIAL}").mkdir() or store.Store(site.folder),
        ["'a'", "checkpoint"],
    ),
)
_rows(
    "checkpoint",
    store.ForeignShard,
    ("of another network", _checkpoint(fingerprint="xyz"), ["'a'", "fingerprint", '"xyz"']),
)


class FullDisk:
    """Files of this process end after some bytes, as on a full disk."""

    def __init__(self, size: int = 20_000) -> None:
        self.size = size

    def __enter__(self) -> None:
        import resource
        import signal

        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.before[1]))

    def __exit__(self, *_: object) -> None:
        import resource
        import signal

        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)
        signal.signal(signal.SIGXFSZ, self.heard)


def _full(write: Callable[[Path], object]) -> Callable[[Site], Callable[[], None]]:
    """Write once well, then once more on a full disk: the first must still be there."""

    def make(site: Site) -> Callable[[], None]:
        def fill() -> None:
            try:
                with FullDisk():
                    write(site.out)
            finally:
                left = [p.name for p in site.out.rglob("*") if p.is_file()]
                assert not left, f"half a file was left: {left}"

        return fill

    return make


_BIG = torch.arange(50_000.0)
_rows(
    "write",
    OSError,
    (
        "a shard on a full disk",
        _full(
            lambda out: store.Store(out).write(
                "a", xr.Dataset({"x": ("i", np.random.default_rng(0).normal(size=9_000))}), {}
            )
        ),
        ["a.zarr.zip", "room"],
    ),
    (
        "a checkpoint on a full disk",
        _full(lambda out: store.Store(out).write_partial("a", {"x": _BIG}, {})),
        ["a.partial", "room"],
    ),
    (
        "weights on a full disk",
        _full(lambda out: weights.save(out / "net.safetensors", {"x": _BIG}, {})),
        ["net.safetensors", "room"],
    ),
    (
        "text on a full disk",
        _full(lambda out: ledger.write_text(out / "a.txt", "x" * 90_000)),
        ["a.txt", "room"],
    ),
    (
        "images of a rig on a full disk",
        _full(
            lambda out: rig._write_png(
                out / "a.png", torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(0))
            )
        ),
        ["a.png", "room"],
    ),
    (
        "arrays on a full disk",
        _full(lambda out: _tables().write_npz(_noisy(), out / "a.npz")),
        ["a.npz", "room"],
    ),
    (
        "a table on a full disk",
        _full(lambda out: _tables().write_csv(_noisy(), out / "a.csv")),
        ["a.csv", "room"],
    ),
    (
        "a shard where a file is the folder",
        lambda site: lambda: store.Store(_in_the_way(site)).write("a", shard(), {}),
        ["a.zarr.zip", "folder"],
    ),
    (
        "text where a file is the folder",
        lambda site: lambda: ledger.write_text(_in_the_way(site) / "a.txt", "x"),
        ["a.txt", "folder"],
    ),
)
_rows(
    "write",
    ValueError,
    (
        "a key that leads out",
        lambda site: lambda: store.Store(site.out).write("../a", shard(), {}),
        ["key", "'../a'", "file name"],
    ),
)


def _in_the_way(site: Site) -> Path:
    (site.out / "file").write_text("x")
    return site.out / "file"


def _tables() -> Any:
    from signseg_utils.neurons import tables

    return tables


def _noisy() -> xr.Dataset:
    values = np.random.default_rng(0).normal(size=(IMAGES, 200))
    return recordings.recording(values, [f"{i}.png" for i in range(IMAGES)])


# ---------------------------------------------------------------- profiles


def _profile(text: bytes | str) -> Callable[[Site], Path]:
    return lambda site: (site.write("profiles/mine.yaml", text), site.folder)[1]


_CHAPTER = "03_the_ablation_sweep"
_rows(
    "profile",
    ValueError,
    ("no YAML", _profile("a: [1, 2"), ["mine.yaml", "YAML"]),
    ("not UTF-8", _profile(b"a: \xff"), ["mine.yaml", "UTF-8"]),
    ("binary", _profile(bytes(range(256))), ["mine.yaml"]),
    ("a list", _profile("- a\n- b\n"), ["mine.yaml", "chapter"]),
    ("text", _profile("hello"), ["mine.yaml", "chapter"]),
    ("empty", _profile(""), ["mine.yaml", "chapter"]),
    ("code", _profile(f"a: !!python/object/apply:os.mkdir ['{EXECUTED}']"), ["mine.yaml", "YAML"]),
    ("a chapter without a number", _profile("intro:\n  shapes: {}\n"), ["mine.yaml", "intro"]),
    ("a chapter that leads out", _profile("03_/../../x:\n  shapes: {}\n"), ["mine.yaml", "03_/"]),
    ("a chapter of text", _profile(f"{_CHAPTER}: shapes\n"), ["mine.yaml", _CHAPTER]),
    ("a zoo of a list", _profile(f"{_CHAPTER}:\n  shapes: [a]\n"), ["mine.yaml", "shapes"]),
    (
        "a zoo that does not exist",
        _profile(f"{_CHAPTER}:\n  nowhere: {{}}\n"),
        ["mine.yaml", "nowhere"],
    ),
    (
        "a chapter twice",
        _profile(f"{_CHAPTER}:\n  shapes: {{}}\n{_CHAPTER}:\n  shapes: {{}}\n"),
        ["mine.yaml", _CHAPTER, "once"],
    ),
    (
        "two chapters of one number",
        _profile(f"{_CHAPTER}:\n  shapes: {{}}\n03_x:\n  shapes: {{}}\n"),
        ["mine.yaml", "3", "once"],
    ),
    (
        "a parameter twice",
        _profile(f"{_CHAPTER}:\n  shapes: {{seed: 1, seed: 2}}\n"),
        ["mine.yaml", "seed", "once"],
    ),
    ("a name that is a number", _profile("3:\n  shapes: {}\n"), ["mine.yaml", "3"]),
    (
        "laughs by the billion",
        _profile(
            "a: &a [x, x]\n"
            + "".join(
                f"{b}: &{b} [*{a}, *{a}]\n"
                for a, b in zip("abcdefghijklmnop", "bcdefghijklmnopq", strict=True)
            )
        ),
        ["mine.yaml", "chapter"],
    ),
    (
        "a date for a value",
        _profile(f"{_CHAPTER}:\n  shapes: {{seed: 2020-01-01}}\n"),
        ["mine.yaml", "seed"],
    ),
)
_rows(
    "profile",
    KeyError,
    ("not there", lambda site: site.folder, ["expected a profile", "mine"]),
)

# ---------------------------------------------------------------- mirror folder and downloads


def _mirrored(
    name: str,
    content: bytes | None,
    hash: str | None,
    record: bytes | None = None,
    **environment: str,
) -> Callable[[Site], tuple[Any, ...]]:
    def make(site: Site) -> tuple[Any, ...]:
        (site.folder / "mirror").mkdir()
        if content is not None:
            site.write(f"mirror/{name}", content)
        if record is not None:
            (site.out / "downloads").mkdir()
            (site.out / "downloads" / f"{name}.sha256").write_bytes(record)
        return name, site.folder / "mirror", hash

    return make


_ZEROS = "sha256:" + "0" * 64
_rows(
    "mirror",
    fetch.FetchError,
    ("another file", _mirrored("a.zip", b"other", _ZEROS), ["a.zip", "published", "mirror"]),
    ("an empty file", _mirrored("a.zip", b"", _ZEROS), ["a.zip", "published", "mirror"]),
    (
        "another file than the first",
        _mirrored("a.zip", b"other", None, b"0" * 64 + b"\n"),
        ["a.zip", "recorded", "a.zip.sha256"],
    ),
    (
        "a record that is empty",
        _mirrored("a.zip", b"other", None, b""),
        ["a.zip.sha256", "recorded"],
    ),
    (
        "a record that is not text",
        _mirrored("a.zip", b"other", None, b"\xff\xfe"),
        ["a.zip.sha256", "recorded"],
    ),
    ("nothing there", _mirrored("a.zip", None, _ZEROS), ["a.zip", "not there"]),
    (
        "a folder under the name",
        lambda site: (
            (site.folder / "m" / "a.zip").mkdir(parents=True),
            ("a.zip", site.folder / "m", _ZEROS),
        )[1],
        ["a.zip", "file"],
    ),
    (
        "a file for the folder",
        lambda site: ("a.zip", site.write("m", b""), _ZEROS),
        ["a.zip", "folder"],
    ),
    (
        "a link to nothing",
        lambda site: ((site.folder / "a.zip").symlink_to("gone"), ("a.zip", site.folder, _ZEROS))[
            1
        ],
        ["a.zip", "not there"],
    ),
    (
        "a link to itself",
        lambda site: ((site.folder / "a.zip").symlink_to("a.zip"), ("a.zip", site.folder, _ZEROS))[
            1
        ],
        ["a.zip"],
    ),
    ("a name that leads out", lambda site: ("../a.zip", site.folder, _ZEROS), ["../a.zip", "name"]),
)

# ---------------------------------------------------------------- a session with a rig


def _begun(
    spoil: Callable[[bytes], bytes] = bytes, **changes: Any
) -> Callable[[Site], dict[str, Any]]:
    def make(site: Site) -> dict[str, Any]:
        begun = _rig(site.folder / "rig")
        begun.tell(np.arange(len(begun.ask().names), dtype=float))
        state = site.folder / "rig" / f"{rig.STATE}{store.PARTIAL}"
        state.write_bytes(spoil(state.read_bytes()))
        return {"folder": site.folder / "rig", **changes}

    return make


def _forged(edit: Callable[[dict[str, Any]], object]) -> Callable[[Site], dict[str, Any]]:
    """A state that is whole and claims to be this session's, but does not fit it."""

    def make(site: Site) -> dict[str, Any]:
        given = _begun()(site)
        whole = _rig(given["folder"])
        state = store.Store(given["folder"]).read_partial(rig.STATE) or {}
        edit(state)
        store.Store(given["folder"]).write_partial(rig.STATE, state, whole.identity)
        return given

    return make


def _fresh(**changes: Any) -> Callable[[Site], dict[str, Any]]:
    return lambda site: {"folder": site.out / "rig", **changes}


_rows(
    "rig",
    rig.SessionError,
    ("empty state", _begun(lambda b: b""), ["rig", "whole state", "backup"]),
    ("truncated state", _begun(lambda b: b[: len(b) // 2]), ["rig", "whole state", "backup"]),
    ("a flipped byte", _begun(lambda b: flipped(b, 0.99)), ["rig", "whole state", "backup"]),
    ("a pickle for the state", _begun(lambda b: pickle.dumps(Touch())), ["rig", "whole state"]),
    ("other seeds", _begun(seeds=(1, 3)), ["rig", "seeds", "another folder"]),
    ("other labels", _begun(labels=("a", "c")), ["rig", "labels", "another folder"]),
    ("another search", _begun(search=Search(generations=9, population=4)), ["rig", "generations"]),
    ("another generator", _begun(generator=Spectral.pink(16, components=12)), ["rig", "generator"]),
    ("a state that lacks a tensor", _forged(lambda s: s.pop("best_codes")), ["rig", "best_codes"]),
    ("a state of other shapes", _forged(lambda s: s.update(trace=torch.ones(1))), ["rig", "trace"]),
    (
        "a state that lacks the optimiser",
        _forged(lambda s: s.pop("optimizer.generation")),
        ["rig", "generation"],
    ),
    (
        "a state from the future",
        _forged(lambda s: s.update({"optimizer.generation": 99})),
        ["rig", "generation", "99"],
    ),
    ("a file for the folder", lambda site: {"folder": site.write("rig", "x")}, ["rig", "folder"]),
    ("no seeds", _fresh(seeds=(), labels=()), ["seeds", "got 0"]),
    ("a label too few", _fresh(labels=("a",)), ["label", "2", "got 1"]),
    ("a label twice", _fresh(labels=("a", "a")), ["label", "a", "more than once"]),
    ("NaN for a seed", _fresh(seeds=(1, float("nan"))), ["seeds", "nan", "whole"]),
    ("half a seed", _fresh(seeds=(1, 2.5)), ["seeds", "2.5", "whole"]),
    ("a negative seed", _fresh(seeds=(1, -2)), ["seeds", "-2"]),
    ("a seed beyond 64 bits", _fresh(seeds=(1, 2**64)), ["seeds", str(2**64)]),
    ("a word for a seed", _fresh(seeds=(1, "two")), ["seeds", "two"]),
    ("no generation", _fresh(search=Search(generations=0)), ["generation", "0"]),
    ("a population of one", _fresh(search=Search(population=1)), ["population", "1"]),
    ("a step that is NaN", _fresh(search=Search(sigma=float("nan"))), ["sigma", "nan"]),
    ("an unknown optimiser", _fresh(search=Search("adam")), ["adam", "cholesky_cma"]),
)


def _named(edit: Callable[[dict[str, Any]], object]) -> Callable[[Site], Any]:
    """Rates by name, edited."""

    def rates(batch: rig.Batch) -> dict[str, Any]:
        good: dict[str, Any] = {name: float(i) for i, name in enumerate(batch.names)}
        edit(good)
        return good

    return lambda site: rates


def _rates(content: Callable[[str], bytes | str]) -> Callable[[Site], Any]:
    """A file of rates, made from the good one."""

    def make(site: Site) -> Any:
        def rates(batch: rig.Batch) -> Path:
            lines = [f"{name},{i}.5" for i, name in enumerate(batch.names)]
            return Site(site.out, site.out, site.zoo).write(
                "rates.csv", content("name,rate\n" + "\n".join(lines) + "\n")
            )

        return rates

    return make


def _first(rates: dict[str, Any], value: Any) -> None:
    rates[next(iter(rates))] = value


_rows(
    "rig rates",
    ValueError,
    ("one image too few", lambda site: [1.0] * 7, ["8 images", "(7,)"]),
    ("one image too many", lambda site: [1.0] * 9, ["8 images", "(9,)"]),
    ("three dimensions", lambda site: np.ones((8, 2, 2)), ["[image, repeat]", "(8, 2, 2)"]),
    ("words", lambda site: ["many"] * 8, ["numbers", "many"]),
    ("rows of different lengths", lambda site: [[1.0], [1.0, 2.0]] * 4, ["[image, repeat]"]),
    ("complex numbers", lambda site: np.ones(8) * 1j, ["numbers"]),
    ("objects", lambda site: [None] * 8, ["numbers", "None"]),
    ("infinity", lambda site: [float("inf")] + [1.0] * 7, ["finite", "gen001_00_000.png"]),
    ("nothing but NaN", lambda site: [float("nan")] * 8, ["at least half", "all are NaN"]),
    ("NaN for most of a run", lambda site: [float("nan")] * 3 + [1.0] * 5, ["half", "a", "75%"]),
    (
        "a name that was not shown",
        _named(lambda r: r.update({"gen000_00_000.png": 1.0})),
        ["gen000_00_000.png", "another generation"],
    ),
    (
        "a name missing",
        _named(lambda r: r.pop("gen001_00_002.png")),
        ["gen001_00_002.png", "missing", "NaN"],
    ),
    ("a word for a rate", _named(lambda r: _first(r, "many")), ["gen001_00_000.png", "many"]),
    ("file: empty", _rates(lambda text: ""), ["rates.csv", "name and rate"]),
    ("file: header only", _rates(lambda text: "name,rate\n"), ["missing", "8"]),
    (
        "file: other columns",
        _rates(lambda text: text.replace("rate", "spikes")),
        ["rates.csv", "name and rate", "spikes"],
    ),
    (
        "file: semicolons",
        _rates(lambda text: text.replace(",", ";")),
        ["rates.csv", "name and rate"],
    ),
    (
        "file: a word",
        _rates(lambda text: text.replace("3.5", "many")),
        ["rates.csv", "many", "line 5"],
    ),
    (
        "file: infinity",
        _rates(lambda text: text.replace("3.5", "inf")),
        ["finite", "gen001_00_003.png"],
    ),
    ("file: not UTF-8", _rates(lambda text: text.encode("utf-16")), ["rates.csv", "UTF-8"]),
    ("file: zero bytes", _rates(lambda text: bytes(300)), ["rates.csv"]),
    (
        "file: a cell too many",
        _rates(lambda text: text.replace("3.5", "3,5")),
        ["rates.csv", "line 5"],
    ),
    (
        "file: a column twice",
        _rates(lambda text: text.replace("name,rate", "name,rate,rate")),
        ["rates.csv", "rate", "once"],
    ),
    ("file: a folder", lambda site: site.folder, ["rates", "file"]),
)
_rows(
    "rig rates",
    FileNotFoundError,
    ("file: not there", lambda site: site.folder / "rates.csv", ["rates.csv", "no such file"]),
)
