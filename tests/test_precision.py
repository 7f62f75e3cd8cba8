"""bfloat16 is used where it is fast and certified, and nowhere else."""

from pathlib import Path

import pytest

from signseg_utils import zoos
from signseg_utils.cli.sweep import main
from signseg_utils.experiments import sweep
from signseg_utils.experiments.sweep import precision
from signseg_utils.search.evolution import Search


@pytest.fixture
def plan(tiny_zoo: Path) -> list[sweep.Shard]:
    units = list(zoos.load_zoo("shapes").classes[:2])
    networks, search = ["alexnet", "resnet"], Search("sphere_cma", 2)
    return sweep.plan("shapes", networks, ["scenes"], units, search=search)


def dtypes(shards: list[sweep.Shard]) -> set[str]:
    return {shard.dtype for shard in shards}


def test_without_fast_bfloat16_nothing_changes(plan, tiny_zoo, monkeypatch):
    monkeypatch.setattr(precision, "fast_bfloat16", lambda device: False)
    shards, reasons = precision.certified(plan, zoos.load_zoo("shapes", tiny_zoo))
    assert shards == plan
    assert len(reasons) == 2 and "no fast bfloat16 on cpu" in reasons[0]


def test_only_pairs_that_keep_the_order_get_it(plan, tiny_zoo, monkeypatch):
    monkeypatch.setattr(precision, "fast_bfloat16", lambda device: True)
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    shards, reasons = precision.certified(plan, zoo, images=32)
    agreements = [float(line.split("bfloat16 ")[-1].split(",")[0]) for line in reasons]
    for network, agreement in zip(("alexnet", "resnet"), agreements, strict=True):
        own = dtypes([shard for shard in shards if shard.network == network])
        assert own == {"bfloat16" if agreement >= precision.AGREEMENT else "float32"}
    monkeypatch.setattr(precision, "AGREEMENT", 1.1)
    assert dtypes(precision.certified(plan, zoo, images=32)[0]) == {"float32"}
    monkeypatch.setattr(precision, "AGREEMENT", 0.5)
    assert dtypes(precision.certified(plan, zoo, images=32)[0]) == {"bfloat16"}


def test_command_says_what_it_chose_and_why(tiny_zoo, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(precision, "fast_bfloat16", lambda device: True)
    monkeypatch.setattr(precision, "AGREEMENT", 0.5)
    folders = ["--zoo-folder", str(tiny_zoo), "--out", str(tmp_path)]
    asked = "--zoo shapes --networks alexnet --generators scenes --units".split()
    short = "--alphas 0,1 --seeds 0 --generations 2 --dtype auto".split()
    main([*asked, "red disc", *short, *folders])
    assert "alexnet x scenes: bfloat16 (rank agreement" in capsys.readouterr().out
    (file,) = tmp_path.glob("*.zarr.zip")
    key = sweep.Shard(
        "shapes",
        "alexnet",
        "scenes",
        "red disc",
        alphas=(0.0, 1.0),
        seeds=(0,),
        search=Search(generations=2),
        dtype="bfloat16",
    ).key
    assert file.name.startswith(key)
