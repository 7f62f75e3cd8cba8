"""The benchmark of the closed loop runs and says what it should."""

import json
import subprocess
import sys

from signseg_utils.files.paths import repository


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
