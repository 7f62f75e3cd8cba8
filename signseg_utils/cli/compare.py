"""``signseg compare``: a run of one's own beside the book's, claim by claim."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from signseg_utils.publishing import compare
from signseg_utils.publishing.chapters import executed_folder


def main(words: Sequence[str]) -> int:
    """Print the comparison; returns 0, whatever it says."""
    parser = argparse.ArgumentParser(
        prog="signseg compare",
        description="Verdicts and intervals of your own run beside the book's: the same claims on "
        "your networks, images or neurons. Controls are left out unless --all is given.",
    )
    parser.add_argument("mine", type=Path, help="a *.ledger.json, or a folder that holds such")
    parser.add_argument("--book", type=Path, help="executed chapters (book/executed)")
    parser.add_argument("--all", action="store_true", help="controls, too")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the comparison there, too")
    given = parser.parse_args(words)
    found = compare.compare(given.mine, given.book or executed_folder())
    shown = [one for one in found if given.all or one.mine.role != "control"]
    print("\n".join(compare.in_words(shown)).lstrip("\n"))
    asked = [one for one in shown if one.book]
    same = sum(one.verdict_shared for one in asked)
    print(f"\n{same} of {len(asked)} lines have the verdict of all the book's pages")
    if given.csv:
        compare.write(shown, given.csv)
    return 0
