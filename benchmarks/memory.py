"""Peak memory of the closed loop against the number of runs that it carries at once.

``python -m benchmarks.memory --json FILE`` evolves 4, 32 and 256 runs, each in a process of its
own, and reports the most memory that the process held. A run needs its codes and its optimiser's
state; what networks take depends on images in one pass, not on runs.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
from collections.abc import Sequence

import torch

from benchmarks.setting import hardware, keep, measurement_parser, zoo_parts
from signseg_utils import __version__
from signseg_utils.search.evolution import Search, evolve
from signseg_utils.units.readout import concatenate


def carried(runs: int, options: argparse.Namespace) -> dict[str, float]:
    """Peak memory of this process, in MiB, before and after ``runs`` runs."""
    network, generator = zoo_parts(options.zoo, options.network, options.generator)
    search = Search(generations=options.generations)
    unit = network.readout.rows([0])
    evolve(unit, network.backbone, generator, [0], search)  # what one run takes in any case
    one = _peak()
    evolve(concatenate([unit] * runs), network.backbone, generator, range(runs), search)
    return {"runs": runs, "one_run_mib": one, "peak_mib": _peak()}


def _peak() -> float:
    scale = 2**20 if platform.system() == "Darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = measurement_parser(__doc__)
    parser.add_argument("--network", default="", help="of the zoo; default: its last one")
    parser.add_argument("--generator", default="", help="of the zoo; default: longest codes")
    parser.add_argument("--generations", type=int, default=13)
    parser.add_argument("--runs", type=int, nargs="+", default=[4, 32, 256])
    parser.add_argument("--alone", action="store_true", help="in this process; one number of runs")
    options = parser.parse_args(arguments)
    if options.alone:
        print(json.dumps(carried(options.runs[0], options)))
        return 0
    table = []
    own = ["--zoo", options.zoo, "--network", options.network, "--generator", options.generator]
    for runs in options.runs:
        words = [sys.executable, "-m", "benchmarks.memory", "--alone", "--runs", str(runs), *own]
        words += ["--generations", str(options.generations)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        table.append(json.loads(done.stdout.splitlines()[-1]))
        print("{runs} runs: {peak_mib:.0f} MiB, one run {one_run_mib:.0f} MiB".format(**table[-1]))
    found = {
        "memory": table,
        "settings": {"zoo": options.zoo, "generations": options.generations},
        "hardware": hardware("cpu"),
        "versions": {"signseg_utils": __version__, "torch": torch.__version__},
    }
    keep(found, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
