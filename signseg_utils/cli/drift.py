"""``signseg drift``: which ledger lines and audits differ between two published books."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from signseg_utils.publishing import drift


def main(words: Sequence[str]) -> int:
    """Compare two books; returns 1 if they differ."""
    parser = argparse.ArgumentParser(
        prog="signseg drift",
        description="Lines of the ledger and audits that differ between two published books.",
    )
    parser.add_argument("before", type=Path, help="folder of executed chapters")
    parser.add_argument("after", type=Path, help="another such folder")
    given = parser.parse_args(words)
    try:
        found = drift.compare(given.before, given.after)
        old, new = drift.versions(given.before), drift.versions(given.after)
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name in dict.fromkeys([*old, *new]):
        numbers = old.get(name, drift.ABSENT), new.get(name, drift.ABSENT)
        print(f"{name} {numbers[0]}" + (f" -> {numbers[1]}" if numbers[0] != numbers[1] else ""))
    print("".join(f"{one}\n" for one in found), end="")
    count = len(set(drift.pages(given.before)) & set(drift.pages(given.after)))
    print(f"{len(found)} differences between {count} pages that both have")
    return 1 if found else 0
