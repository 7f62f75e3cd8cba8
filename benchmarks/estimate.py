"""Is the printed estimate of a sweep right?

``python -m benchmarks.estimate --json FILE`` estimates a small sweep as ``python -m
signseg_utils.experiments.sweep --estimate`` does, then runs it in a temporary folder and compares.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.setting import hardware, keep, measurement_parser
from signseg_utils import __version__, selection
from signseg_utils.experiments import base, sweep
from signseg_utils.experiments.sweep import estimating
from signseg_utils.search.evolution import Search
from signseg_utils.zoos import load_zoo


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = measurement_parser(__doc__)
    parser.add_argument("--networks", default="", help="comma separated; default: all of the zoo")
    parser.add_argument("--generators", default="decoder", help="comma separated")
    parser.add_argument("--units", default="", help="comma separated; default: the first two")
    parser.add_argument("--generations", type=int, default=25)
    options = parser.parse_args(arguments)
    units = options.units or ",".join(load_zoo(options.zoo).default_units[:2])
    asked = selection.parse(
        {
            "zoo": options.zoo,
            "networks": options.networks,
            "generators": options.generators,
            "units": units,
        }
    )
    plan = sweep.plan(
        asked.zoo,
        asked.networks,
        asked.generators,
        asked.units,
        alphas=(0.0, 0.5, 1.0),
        seeds=(0, 1),
        search=Search(generations=options.generations),
    )
    zoo = load_zoo(asked.zoo)
    expected = estimating.measured(plan, zoo)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        base.run(plan, zoo, Path(folder), speaks=False)
        seconds = time.perf_counter() - begun
        stored = sum(file.stat().st_size for file in Path(folder).glob("*.zarr.zip"))
    found: dict[str, Any] = {
        "images": sum(expected.images.values()),
        "estimated_seconds": 3600 * expected.hours(),
        "measured_seconds": seconds,
        "measured_over_estimated": seconds / (3600 * expected.hours()),
        "estimated_bytes": expected.bytes,
        "stored_bytes": stored,
        "settings": {"zoo": asked.zoo, "networks": asked.networks, "units": asked.units},
        "hardware": hardware("cpu"),
        "versions": {"signseg_utils": __version__, "torch": torch.__version__},
    }
    print(
        "{images:,} images: estimated {estimated_seconds:.1f} s, took {measured_seconds:.1f} s "
        "({measured_over_estimated:.2f} x); {estimated_bytes:,} bytes expected, {stored_bytes:,} "
        "stored".format(**found)
    )
    keep(found, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
