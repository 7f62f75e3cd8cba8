"""``signseg scoreboard``: what holds of the claims, from the ledgers of executed chapters."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from signseg_utils.basics.refusals import Refusal
from signseg_utils.files import paths
from signseg_utils.publishing import scoreboard
from signseg_utils.publishing.chapters import executed_folder


def main(words: Sequence[str]) -> int:
    """Print the main rows, or write them into a file between its markers."""
    parser = argparse.ArgumentParser(
        prog="signseg scoreboard",
        description="The main rows of the scoreboard as a Markdown table.",
    )
    parser.add_argument("--executed", type=Path, help="folder of executed chapters")
    parser.add_argument("--write", type=Path, metavar="README.md", help="file with the markers")
    given = parser.parse_args(words)
    folder = given.executed or executed_folder()
    rows = scoreboard.of_book(folder)
    if not any(row.main for row in rows):
        raise Refusal(
            f"expected ledgers of the main claims in {folder}, because the scoreboard is made of "
            "them; got none; run `make book` first"
        )
    table = scoreboard.markdown(rows)
    if given.write is None:
        print(table)
    else:
        text = given.write.read_text(encoding="utf-8")
        paths.write_text(given.write, scoreboard.between(text, table))
    return 0
