"""The benchmarks of the closed loop run and say what they should."""

import argparse
import json
import subprocess
import sys
from itertools import islice

import pytest
import torch

from benchmarks import time_to_activation
from benchmarks.setting import random_network
from signseg_utils.files.paths import repository
from signseg_utils.generators.spectral import Spectral
from signseg_utils.search import ascent


def test_closed_loop_benchmark(tmp_path):
    target = tmp_path / "found.json"
    command = [sys.executable, "-m", "benchmarks.closed_loop", "--random", "--json", str(target)]
    command += "--code 64 --seconds 0.5 --generations 13 --runs 2 --sizes 32".split()
    done = subprocess.run(command, cwd=repository(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(target.read_text())
    assert found["settings"]["images_per_visualisation"] == 1 + 12 * 22
    assert 0 < found["network_share"] < 1
    assert 0.9 < found["rank_agreement"] <= 1
    for name in ("engine", "pycma", "dense"):
        assert found[name]["seconds_per_visualisation"] > 0
    for name in ("pycma", "dense"):
        ratio = found[name]["seconds_per_visualisation"] / found["seconds_per_visualisation"]
        assert found[f"ratio_vs_{name}"] == ratio
    assert {"torch", "cma", "numpy"} <= set(found["versions"])
    assert found["hardware"]["threads"] >= 1
    assert "rank agreement" in done.stdout


@pytest.fixture(scope="module")
def task():
    torch.manual_seed(0)
    network = random_network()
    generator = Spectral.pink(network.backbone.image_size, 32).eval()
    options = argparse.Namespace(units=1, generations=4)
    (one,) = time_to_activation.tasks(network, generator, options)
    return one


# Those of EvoTorch, which is too large for a test's environment, only where somebody has it.
@pytest.mark.parametrize(
    "name",
    [
        name
        for name, method in time_to_activation.METHODS.items()
        if method.package != "evotorch" or time_to_activation.installed("evotorch")
    ],
)
def test_each_method_reports_a_best_activation_that_rises(name, task):
    method = time_to_activation.METHODS[name]
    assert not time_to_activation.left_out(method, 32)
    seen = list(islice(method.run(task), 4))
    images, best = zip(*seen, strict=True)
    assert sorted(set(images)) == list(images)
    assert sorted(best) == list(best) and best[-1] > best[0]


def test_an_activation_is_that_of_the_image_as_it_is(task):
    # at pages' settings an ascent looks at shifted images, which score otherwise
    climbed = list(islice(time_to_activation.METHODS["ascent_code"].run(task), 3))
    (climb,) = islice(
        ascent.iterate(
            task.row, task.network.backbone, task.generator, [task.seed], time_to_activation.VIEWED
        ),
        1,
    )
    assert climbed[0][1] == pytest.approx(float(task.score(climb.codes)[0]), abs=1e-4)


def test_the_table_says_what_is_not_installed(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(time_to_activation, "installed", lambda package: False)
    target = tmp_path / "found.json"
    words = "--random --code 24 --units 1 --generations 3".split()
    assert time_to_activation.main([*words, "--json", str(target)]) == 0
    told = capsys.readouterr().out
    assert "not installed: pip install cmaes" in told
    assert "not installed: pip install evotorch" in told
    rows = json.loads(target.read_text())["time_to_activation"]
    assert rows["dense"]["times_as_fast"] == 1 and rows["dense"]["reached"] == 1
    for name, row in rows.items():
        # the engine in precision auto, where bfloat16 is fast, is no method of its own
        asked = time_to_activation.METHODS[name.removesuffix("_auto")].package
        assert row["left_out"] == (f"not installed: pip install {asked}" if asked else "")
        assert ("searches" in row) == (not asked)


def kept(seconds, activation):
    keys = ("seconds", "processor_seconds", "images")
    found = {f"{key}_to_target": seconds for key in keys}
    found |= {f"{key}_at_budget": 8.0 for key in keys}
    return found | {"activation_at_budget": activation, "activation": activation}


def test_a_search_that_did_not_get_there_counts_as_the_slowest():
    dense = [kept(4.0, 10.0)] * 3
    found = time_to_activation.summary([kept(1.0, 11.0), kept(2.0, 10.0), kept(None, 9.0)], dense)
    assert found["reached"] == 2
    assert found["times_as_fast"] == 2 and found["seconds_to_target"] == 2
    assert found["times_as_fast_range"] == [None, 4]
    assert found["activation_at_budget_of_dense"] == 1
    missed = time_to_activation.summary([kept(1.0, 11.0), kept(None, 9), kept(None, 9)], dense)
    assert missed["reached"] == 1 and missed["times_as_fast"] is None


def test_long_codes_go_without_a_full_covariance():
    full = [m for m in time_to_activation.METHODS.values() if m.full]
    assert {method.label for method in full} == {"pycma", "cmaes CMA", "EvoTorch CMAES"}
    for method in full:
        assert time_to_activation.left_out(method, 4096).startswith("not run")


def test_the_book_shows_each_method_and_what_was_left_out(monkeypatch):
    monkeypatch.syspath_prepend(repository() / "book" / "_ext")
    import speed_tables

    (path,) = repository().glob("benchmarks/results/time_to_activation_tinyimagenet.json")
    found = json.loads(path.read_text())
    rows = found["time_to_activation"]
    cells = [speed_tables._timed(row) for row in rows.values()]
    assert {len(row) for row in cells} == {len(speed_tables.TIMES)}
    absent = {"label": "one", "left_out": "not installed: pip install one"}
    assert speed_tables._timed(absent)[:2] == ["one", "not installed: pip install one"]
    assert "2,575 images" in speed_tables._timed_on(found)
    rows["ascent_code"]["times_as_fast"] = None
    rows["ascent_code_plain"]["times_as_fast"] = 21.0
    aims = speed_tables._aims(rows)
    assert "20 x dense to its activation: not reached, missed" in aims
    assert "20 x dense to its activation: 21.00 x, met" in aims
