"""The walk of CONTRIBUTING.md works as it is written: its files join a checkout and are used."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from signseg_utils.chapter import ledger
from signseg_utils.files import paths

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = {
    match[1]: match[3]
    for match in re.finditer(r"^`([\w/.]+)`\n\n(`{3,})\w+\n(.*?)^\2$", TEXT, re.M | re.S)
}
WALK = TEXT[TEXT.index("## A walk") : TEXT.index("## What a chapter must hold")]
OUTSIDE = re.sub(r"^`{4}.*?^`{4}$", "", WALK, flags=re.M | re.S)  # cells of the chapter
SCRIPTS = re.findall(r"^```python\n(from signseg_utils import .*?)^```$", OUTSIDE, re.M | re.S)
COMMANDS = re.findall(r"^\$ signseg (.+)$", OUTSIDE, re.M)
ROOMS = ("networks", "generators", "optimizers", "metrics", "experiments")
TESTS = re.findall(r"`pytest (.+?)`", OUTSIDE)

# What no test of the registry asks of networks and generators.
CONTRACT = """
import torch
from signseg_utils.basics import draws

network, generator = zoo.network("gabor"), zoo.generator("grating")
codes = 3 * draws.normal((5, generator.code_size), seed=0)
images = generator(codes)
assert images.shape == (5, 3, generator.image_size, generator.image_size)
assert 0 <= images.min() < 0.4 and 0.6 < images.max() <= 1
torch.testing.assert_close(generator(codes[2:3]), images[2:3])
starts = generator.initial_codes([3, 1])
assert starts.shape == (2, generator.code_size)
assert torch.equal(starts[1:], generator.initial_codes([1]))
features = network.backbone(images)
assert features.shape == (5, network.backbone.features) and (features >= 0).all()
torch.testing.assert_close(network.backbone(images[2:3]), features[2:3])
assert network.logits(images).shape == (5, len(zoo.classes))
assert network.backbone(torch.full_like(images, 0.5)).max() < 1e-3 * features.max()  # no edges
"""
# The commands, in one process; then what they stored, and whether an audit would notice a change.
STORED = """
import shlex
from signseg_utils.basics import registry
from signseg_utils.cli import main
from signseg_utils.experiments import audits, base, modules
from signseg_utils.files.paths import results_folder

for room, name in PLUGINS:
    assert name in (modules() if room == "experiments" else registry.names(room)), name
for command in COMMANDS:
    assert main(shlex.split(command)) == 0, command
kept = {type(one).__name__: one for one in audits.shipped()}
assert set(kept) == {"OrientationTuning", "Shard"}
assert kept["Shard"].search.optimizer == "success_rule"
tuning = kept["OrientationTuning"]
(found,) = base.read([tuning], zoo, results_folder("") / tuning.home)
assert base.demand(base.audit([tuning], [found], zoo)) == found["response"].size
found["response"][3] += 0.1
try:
    base.demand(base.audit([tuning], [found], zoo))
except base.AuditError as error:
    assert "response" in str(error)
else:
    raise AssertionError("an audit agrees with a number that was changed")
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the files of the walk in it, and no results."""
    root = tmp_path_factory.mktemp("checkout")
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("signseg_utils", "tests", "notebooks/profiles"):
        shutil.copytree(ROOT / name, root / name, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", root)
    shutil.copytree(paths.data_folder() / "reported", root / "data" / "reported")
    for zoo in ("shapes", "efficientnet"):
        shutil.copytree(paths.zoo_folder(zoo), root / "data" / "zoo" / zoo)
    for name, text in FILES.items():
        path = root / name
        assert not path.exists(), f"{name} is there already; the walk needs another name"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def run(checkout: Path, *words: str) -> str:
    """What is said by Python with these words, at the root of the checkout."""
    plain = {name: value for name, value in os.environ.items() if name != "SIGNSEG_DATA"}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=checkout,
        env={**plain, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_walk_holds_one_file_of_each_kind() -> None:
    folders = [str(Path(name).parent) for name in FILES]
    assert folders == [*(f"signseg_utils/{room}" for room in ROOMS), "data/claims", "notebooks"]
    assert (len(SCRIPTS), len(TESTS)) == (2, 2)
    assert [one.split()[0] for one in COMMANDS] == ["sweep", "experiment", "audit", "publish"]


def test_the_files_are_written_as_the_house_is(checkout: Path) -> None:
    modules = [name for name in FILES if name.endswith(".py")]
    run(checkout, "-m", "ruff", "check", *modules)


def test_contracts_of_the_registry_hold(checkout: Path) -> None:
    optimizers, metrics = map(shlex.split, TESTS)
    chosen = [*optimizers[:1], "-k", f"{optimizers[2]} or colourfulness or metric", *metrics]
    said = run(checkout, "-m", "pytest", "-vv", "-p", "no:cacheprovider", *chosen)
    for name in ("success_rule", "colourfulness"):
        assert f"[{name}" in said or f"-{name}]" in said


def test_the_walk_goes_from_the_registry_to_a_page(checkout: Path) -> None:
    plugins = [(Path(name).parent.name, Path(name).stem) for name in FILES if name.endswith(".py")]
    given = f"PLUGINS, COMMANDS = {plugins!r}, {COMMANDS!r}"
    said = run(checkout, "-c", "\n".join([given, *SCRIPTS, CONTRACT, STORED]))
    assert "audit: 8 activations agree" in said
    page = checkout / "runs" / "mine" / "shapes" / "99_oblique_gratings.ipynb"
    lines = ledger.read(page.with_suffix(".ledger.json"))
    assert [line.id for line in lines] == ["G-1 alexnet", "G-1 resnet"]
    about = json.loads(page.with_suffix(".run.json").read_text())
    assert about["audit"]["outcome"] == "agrees" and about["audit"]["checked"] > 0
    assert lines[0].verdict in page.read_text(encoding="utf-8")
