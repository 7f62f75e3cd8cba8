"""``signseg portable``: what ships, computed as other processors would compute it."""

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from signseg_utils.files import paths
from signseg_utils.publishing import portable
from signseg_utils.publishing.chapters import chapters


def main(words: Sequence[str]) -> int:
    """Run the matrix; returns the exit status: 1 if a cell failed, 2 for a wrong argument."""
    given = _arguments(words)
    zoos = [] if given.zoo == "all" else [z.strip() for z in given.zoo.split(",")]
    try:
        numbers = [] if given.chapters == "all" else [int(n) for n in given.chapters.split(",")]
        wanted = chapters("shipped", zoos, numbers)
        machines = portable.chosen(given.machines, given.fast)
    except (KeyError, ValueError) as error:
        print(f"error: {error.args[0]}", file=sys.stderr)
        return 2
    if given.fast:
        with ThreadPoolExecutor(given.jobs) as pool:
            audits = partial(portable.audits, zoo="" if given.zoo == "all" else given.zoo)
            found = list(pool.map(audits, machines))
        rows: dict[str, dict[str, Any]] = {}
        for machine, cells in zip(machines, found, strict=True):
            for page, cell in cells.items():
                rows.setdefault(page, {})[machine] = cell
    else:
        scratch = given.scratch or paths.repository() / "runs" / "portable"
        file = given.table or portable.table_file()
        table = portable.complete(wanted, machines, file, scratch, given.jobs)
        asked = {c.page for c in wanted}
        rows = {
            page: {machine: cell for machine, cell in row.items() if machine in machines}
            for page, row in table["pages"].items()
            if page in asked
        }
    print(portable.shown(rows))
    return int(any(c["outcome"] == "failed" for row in rows.values() for c in row.values()))


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="signseg portable",
        description=portable.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--fast", action="store_true", help="draws and audits only, no pages")
    known = ", ".join(portable.MACHINES)
    parser.add_argument("--machines", default="all", help=f"of {known}; or all")
    parser.add_argument("--zoo", default="all", help="comma-separated zoos, or all that ship")
    parser.add_argument("--chapters", default="all", help="comma-separated numbers, or all")
    parser.add_argument("--table", type=Path, help="file instead of benchmarks/results/…")
    parser.add_argument("--scratch", type=Path, help="folder for pages (runs/portable)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="side by side")
    return parser.parse_args(words)
