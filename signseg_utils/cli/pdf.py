"""``signseg pdf``: the built book as one PDF."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from signseg_utils.files import paths
from signseg_utils.publishing import pdf


def main(words: Sequence[str]) -> int:
    """Print and bind all pages of the book that was built."""
    parser = argparse.ArgumentParser(
        prog="signseg pdf",
        description="Print every page of the built book with Chromium and bind them in one PDF.",
    )
    parser.add_argument("--book", type=Path, help="checkout in which the book was built")
    parser.add_argument("--output", type=Path, help="by default book/signed_inputs.pdf in it")
    given = parser.parse_args(words)
    root = (given.book or paths.repository()).resolve()
    output = given.output or root / "book" / "signed_inputs.pdf"
    print(f"{output}, {pdf.make(root, output)} pages")
    return 0
