"""Chapters 2 to 8 run in zoo imagenet, on small stand-ins; nothing of it is published."""

import os
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from small_imagenet import SmallImageNet, make

from signseg_utils.chapter import ledger, parameters
from signseg_utils.publishing.chapters import notebooks_folder

QUICK = {
    "units": "tench,church",
    "generators": "deepsim",
    "alphas": "0,1",
    "seeds": "0,1",
    "generations": 3,
    "audited": 2,
    "recompute": True,
}

CHAPTERS = {
    "02_signs_in_balance": {"seeds": "1"},
    "03_the_ablation_sweep": {**QUICK, "generations": 1},
    "04_robust_networks": {**QUICK, "networks": "resnet50,robust"},
    "05_rectification": {**QUICK, "networks": "activations"},
    "06_without_labels": {**QUICK, "networks": "resnet50,selfsupervised"},
    "07_a_hundred_classes": {
        **QUICK,
        "network": "resnet50",
        "units": "tench,church,rugby ball,hay",
        "sample": 2,
    },
    "08_any_layer": {
        **QUICK,
        "networks": "alexnet,resnet50",
        "network": "resnet50",
        "generator": "deepsim",
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import jupytext

    remotes = make(SmallImageNet, tmp_path / "files")
    monkeypatch.setattr(
        "signseg_utils.zoos.imagenet.PLUGIN",
        lambda folder=None: SmallImageNet(tmp_path / "files", remotes),
    )
    for variable in ("SIGNSEG_OFFLINE", "TQDM_DISABLE"):
        monkeypatch.setenv(variable, "1")
    monkeypatch.chdir(tmp_path)
    source = notebooks_folder() / f"{name}.md"
    values = {"zoo": "imagenet", **CHAPTERS[name]}
    parameters.cast(parameters.declared(source), values)
    shell = InteractiveShell.instance()
    for cell in jupytext.read(source)["cells"]:
        if cell["cell_type"] != "code":
            continue
        shell.run_cell(cell["source"], store_history=True).raise_error()
        if "parameters" in cell["metadata"].get("tags", ()):
            assigned = "".join(f"{key} = {value!r}\n" for key, value in values.items())
            shell.run_cell(f"# Parameters\n{assigned}", store_history=True).raise_error()
    InteractiveShell.clear_instance()
    lines = ledger.read(Path(f"{name}.ledger.json"))
    assert lines and {line.zoo for line in lines} == {"imagenet"}
    assert os.environ["SIGNSEG_OFFLINE"] == "1"
